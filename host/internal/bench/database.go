package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// serverVariable names the environment variable with the URL of the PostgreSQL
// that may be filled.
const serverVariable = "HEIMDALL_TEST_POSTGRES"

// database is an empty one, for what shall not be disturbed by what was measured
// before.
type database struct {
	url    string // as the host's store.url has it
	name   string // of PostgreSQL's database; "": SQLite, which lies in the folder of its host
	server *pgx.Conn
}

func (b *bench) database(kind string) (*database, error) {
	if kind == "sqlite" {
		return &database{url: "sqlite"}, nil
	}
	text := os.Getenv(serverVariable)
	u, err := url.Parse(text)
	if err != nil || text == "" {
		return nil, errors.New(serverVariable + " is not set to a URL; run make bench")
	}
	d := &database{name: "bench_" + strings.ToLower(rand.Text())}
	if d.server, err = pgx.Connect(b.ctx, text); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", serverVariable, err)
	}
	u.Path = "/" + d.name
	d.url = u.String()
	if _, err := d.server.Exec(b.ctx, "CREATE DATABASE "+d.name); err != nil {
		return nil, errors.Join(fmt.Errorf("make a database in %s: %w", serverVariable, err), d.server.Close(b.ctx))
	}
	return d, nil
}

// end drops the database at the end of a function that returns err.
func (d *database) end(err *error) {
	if d.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, dropped := d.server.Exec(ctx, "DROP DATABASE IF EXISTS "+d.name+" WITH (FORCE)")
	*err = errors.Join(*err, dropped, d.server.Close(ctx))
}

// processes returns the process of the server, whose children serve connections.
func (d *database) processes(ctx context.Context) ([]int, error) {
	if d.server == nil {
		return nil, nil
	}
	var pid int
	if err := d.server.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		return nil, err
	}
	parent, err := parentOf(pid)
	if err != nil {
		return nil, fmt.Errorf("find the processes of PostgreSQL, which must run on this machine: %w", err)
	}
	return []int{parent}, nil
}

// copyJobs makes n more jobs of each of those named, in whatever tables have rows
// of them, a tenth of a second older each. It knows no more of the tables than
// that their jobs are job.id and job_id, so that it goes on to do when columns
// come.
func (d *database) copyJobs(ctx context.Context, ids []string, n int) (err error) {
	conn, err := pgx.Connect(ctx, d.url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	rows, err := conn.Query(ctx, `
		SELECT table_name, string_agg(quote_ident(column_name), ', '), string_agg(
			CASE
			WHEN (table_name, column_name) = ('job', 'id') OR column_name = 'job_id' THEN 'new.id'
			WHEN column_name = 'tags' THEN 'replace(t.tags::text, old.id::text, new.id::text)::' || udt_name
			WHEN data_type LIKE 'timestamp%' THEN 't.' || quote_ident(column_name) || ' - new.age'
			ELSE 't.' || quote_ident(column_name)
			END, ', '), bool_or(column_name = 'job_id')
		FROM information_schema.columns
		WHERE table_schema = current_schema() AND is_generated = 'NEVER' AND is_identity = 'NO'
			AND COALESCE(column_default, '') NOT LIKE 'nextval%'
		GROUP BY table_name
		HAVING table_name = 'job' OR bool_or(column_name = 'job_id')`)
	if err != nil {
		return err
	}
	type table struct {
		name, columns, values string
		byJob                 bool
	}
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t table, err error) {
		err = row.Scan(&t.name, &t.columns, &t.values, &t.byJob)
		return t, err
	})
	if err != nil {
		return err
	}
	for _, t := range tables {
		key := "id"
		if t.byJob {
			key = "job_id"
		}
		// The ids are of the seventh version, of the time that the job is made to be of.
		_, err := conn.Exec(ctx, `
			INSERT INTO `+t.name+` (`+t.columns+`)
			SELECT `+t.values+`
			FROM unnest($1::uuid[]) WITH ORDINALITY AS old (id, nth)
			CROSS JOIN generate_series(1, $2::integer) AS i
			CROSS JOIN LATERAL (SELECT i * interval '100 milliseconds' AS age, (
				lpad(to_hex((extract(epoch FROM $3::timestamptz) * 1000)::bigint - i * 100), 12, '0')
				|| '7' || left(md5(i::text), 3) || '8' || left(md5(old.nth || ' ' || i), 15))::uuid AS id) AS new
			JOIN `+t.name+` t ON t.`+key+` = old.id`, ids, n, time.Now())
		if err != nil {
			return fmt.Errorf("copy jobs in table %s: %w", t.name, err)
		}
	}
	for _, statement := range []string{"VACUUM (ANALYZE)", "CHECKPOINT"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// waiting returns how many jobs neither run nor have ended.
func (d *database) waiting(ctx context.Context) (n int, err error) {
	conn, err := pgx.Connect(ctx, d.url)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	err = conn.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM job) - (SELECT count(*) FROM job_lease) - (SELECT count(*) FROM job_end)`).Scan(&n)
	return n, err
}
