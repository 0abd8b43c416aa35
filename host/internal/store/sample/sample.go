// Package sample fills a store with jobs that have ended, quickly, as a year of use
// might leave them: for measurements, and for tests of what many jobs cost.
package sample

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/heimdall-run/heimdall/host/internal/store"
)

// step is how many jobs one statement makes.
const step = 50_000

// Jobs are of 20 users, the first of whom have many more of them than the last; of
// 50 names, each of which is of one of 10 commands; of 7 versions and 4 clusters.
// Of 1000, 950 succeed, 30 fail, 10 are killed and 10 canceled; none of "user-00"
// fails. All have the tag of one of 8 teams, one in 20 "nightly", one in 1000
// "incident". One in 10,000 is of the user "rare". Each begins a millisecond after
// the one before, and runs for up to a minute.
const (
	user = `CASE WHEN i % 10000 = 77 THEN 'rare' ELSE 'user-' || substr('0' || ` + userNumber + `, length('0' || ` + userNumber + `) - 1) END`
	// Squares make the lower numbers frequent.
	userNumber = `CAST(` + chance1 + ` * ` + chance1 + ` / 50000 AS text)`
	name       = `'report-' || CAST(` + chance2 + ` % 50 AS text) || '-daily'`
	command    = `'command-' || CAST(` + chance2 + ` % 10 AS text)`
	cluster    = `'cluster-' || CAST(` + chance3 + ` % 4 AS text)`
	version    = `'1.' || CAST(` + chance4 + ` % 7 AS text) || '.0'`
	status     = `CASE
		WHEN ` + chance5 + ` < 30 AND ` + chance1 + ` * ` + chance1 + ` / 50000 > 0 THEN 'FAILED'
		WHEN ` + chance5 + ` BETWEEN 30 AND 39 THEN 'KILLED'
		WHEN ` + chance5 + ` BETWEEN 40 AND 49 THEN 'CANCELED'
		ELSE 'SUCCEEDED' END`
	team     = `'team:' || CAST(` + chance6 + ` % 8 AS text)`
	nightly  = chance7 + ` % 20 = 3`
	incident = chance7 + ` = 5`
)

// Numbers from 0 to 999 that look as if they were of chance, each for itself.
const (
	chance1 = `((i * 1103515245 + 12345) % 2147483647 / 1777 % 1000)`
	chance2 = `((i * 1664525001 + 54321) % 2147483629 / 1999 % 1000)`
	chance3 = `((i * 1220703125 + 33331) % 2147483587 / 2111 % 1000)`
	chance4 = `((i * 1812433253 + 77777) % 2147483579 / 1873 % 1000)`
	chance5 = `((i * 1566083941 + 99991) % 2147483563 / 1931 % 1000)`
	chance6 = `((i * 1390208809 + 10007) % 2147483549 / 2003 % 1000)`
	chance7 = `((i * 1289706101 + 20011) % 2147483543 / 1789 % 1000)`
)

// dialect is how a database writes what depends on the number i of a job.
type dialect struct {
	series string // the numbers from $1 to $2, as i
	id     string
	at     string // the time %s milliseconds after it began
	json   string // %s as JSON that is indexed
	bytes  string // the type
}

func dialects() map[bool]dialect {
	const milli = "(1750000000000 + i)"
	return map[bool]dialect{
		true: {
			series: "WITH RECURSIVE numbers (i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM numbers WHERE i < $2)",
			id:     "printf('%08x-%04x-7000-8000-%012x', " + milli + " >> 16, " + milli + " & 65535, (i * 2654435761) % 281474976710656)",
			at:     "((" + milli + " + %s) * 1000)",
			json:   "%s",
			bytes:  "blob",
		},
		false: {
			series: "WITH numbers (i) AS (SELECT generate_series($1::bigint, $2::bigint))",
			id:     "CAST(lpad(to_hex(" + milli + "), 12, '0') || '70008000' || lpad(to_hex((i * 2654435761) % 281474976710656), 12, '0') AS uuid)",
			at:     "to_timestamp((" + milli + " + %s) / 1000.0)",
			json:   "CAST(%s AS jsonb)",
			bytes:  "bytea",
		},
	}
}

// Fill adds jobs to an empty store that no one else uses, until there are n. It may
// be called again with a greater n.
func Fill(ctx context.Context, c store.Config, n int) (err error) {
	db, err := store.Open(ctx, c) // makes the tables
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	lite := c.URL == "sqlite"
	driver, target := "pgx", c.URL
	if lite {
		driver, target = "sqlite", "file:"+filepath.Join(c.Dir, "heimdall.db")+"?_pragma=synchronous(OFF)&_pragma=cache_size(-262144)"
	}
	conn, err := sql.Open(driver, target)
	if err != nil {
		return err
	}
	conn.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, conn.Close()) }()
	var begun int
	if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM job").Scan(&begun); err != nil {
		return err
	}
	for from := begun; from < n; from += step {
		if err := add(ctx, conn, dialects()[lite], from, min(from+step, n)-1); err != nil {
			return fmt.Errorf("add jobs from number %d: %w", from, err)
		}
	}
	if lite {
		_, err = conn.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
		return err
	}
	_, err = conn.ExecContext(ctx, "VACUUM (ANALYZE)")
	return err
}

// add adds the jobs of some numbers.
func add(ctx context.Context, conn *sql.DB, d dialect, first, last int) error {
	begun, ended := fmt.Sprintf(d.at, "0"), fmt.Sprintf(d.at, "(i * 7907) % 60000")
	for _, into := range []string{
		`INSERT INTO job (id, username, name, version, description, context, command_criteria, cluster_criteria, tags,
			timeout, command_id, command_name, cluster_id, cluster_name, is_sync, resolution, created_at)
		` + d.series + `
		SELECT ` + d.id + `, ` + user + `, ` + name + `, ` + version + `, '', '{"arguments":["one","two"]}', '["type:shell"]', '[["type:localhost"]]',
			` + fmt.Sprintf(d.json, `('["' || `+team+` || '"' || CASE WHEN `+nightly+` THEN ',"nightly"' ELSE '' END || CASE WHEN `+incident+` THEN ',"incident"' ELSE '' END || ']')`) + `,
			0, ` + command + `, ` + command + `, ` + cluster + `, ` + cluster + `, false, '{"revision":"0123456789abcdef","seed":"1234567890","pairs":1}', ` + begun + `
		FROM numbers`,
		`INSERT INTO job_tag (tag, job_id)
		` + d.series + `
		SELECT ` + team + `, ` + d.id + ` FROM numbers
		UNION ALL SELECT 'nightly', ` + d.id + ` FROM numbers WHERE ` + nightly + `
		UNION ALL SELECT 'incident', ` + d.id + ` FROM numbers WHERE ` + incident,
		`INSERT INTO job_end (job_id, attempt, status, result_type, result_rows, result_bytes, result_inline, ended_at)
		` + d.series + `
		SELECT ` + d.id + `, 1, ` + status + `, 'text/plain', 0, 5, CAST('hello' AS ` + d.bytes + `), ` + ended + ` FROM numbers`,
		`INSERT INTO attempt (job_id, attempt, host_id, epoch, build, stdout, stderr, stdout_bytes, stderr_bytes, started_at, ended_at)
		` + d.series + `
		SELECT ` + d.id + `, 1, 'host', 1, 'build', '', '', 0, 0, ` + begun + `, ` + ended + ` FROM numbers`,
	} {
		if _, err := conn.ExecContext(ctx, into, first, last); err != nil {
			return err
		}
	}
	return nil
}
