package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/heimdall-run/heimdall/sdk/client"
)

const (
	sqlRows   = 5_000_000
	sqlRounds = 3
)

// sqlTable is of the types that people have.
const sqlTable = `CREATE TABLE big AS
	SELECT n AS id, n * 7 AS quantity, md5(n::text) AS hash, (n % 100000)::numeric(12,2) / 4 AS price,
		timestamptz '2026-01-01' + n * interval '1 second' AS at, n % 2 = 0 AS even, n::float8 / 3 AS share
	FROM generate_series(1, $1) n`

// sqlConfig is the configuration of a host with a command for the database.
func sqlConfig(url string) string {
	return fmt.Sprintf(`
[[commands]]
name = "sql"
plugin = "postgres"
tags = ["type:sql"]
[[clusters]]
name = "database"
[clusters.context]
connection_string = %q
`, url)
}

// sql compares a select of many rows, as a job whose result is kept, with what COPY by
// psql to a file takes of the same rows.
func (b *bench) sql() (err error) {
	psql, err := findPsql()
	if err != nil {
		return err
	}
	d, err := b.database("postgres")
	if err != nil {
		return err
	}
	defer d.end(&err)
	conn, err := pgx.Connect(b.ctx, d.url)
	if err != nil {
		return err
	}
	defer conn.Close(b.ctx)
	if _, err := conn.Exec(b.ctx, sqlTable, pgx.QueryExecModeExec, sqlRows); err != nil {
		return err
	}
	if _, err := conn.Exec(b.ctx, "VACUUM ANALYZE big"); err != nil {
		return err
	}
	s, err := b.serve(deployment{config: sqlConfig(d.url), data: filepath.Join(b.scratch, "sql"), store: "sqlite", plugins: b.plugins()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	c, err := client.New(s.address, "bench")
	if err != nil {
		return err
	}
	pid, err := pluginOf(b, c, "postgres")
	if err != nil {
		return err
	}
	peak := watchMemory(func() (float64, error) { return anonymous(pid) })
	defer peak.stop()

	var copies, jobs, ratios []float64
	for range sqlRounds {
		copied, err := b.copyRows(psql, d.url)
		if err != nil {
			return err
		}
		took, err := b.selectRows(c)
		if err != nil {
			return err
		}
		copies, jobs, ratios = append(copies, sqlRows/copied.Seconds()), append(jobs, sqlRows/took.Seconds()), append(ratios, copied.Seconds()/took.Seconds())
	}
	most, err := peak.stop()
	if err != nil {
		return err
	}
	b.add(Figure{Name: fmt.Sprintf("COPY of %d rows by psql to a file", sqlRows), Value: middle(copies), Unit: "rows/s"})
	b.add(Figure{Name: "a job with the same rows as its result", Value: middle(jobs), Unit: "rows/s", Against: "that", Ratio: middle(ratios), Goal: "at least 0.4"})
	b.add(Figure{Name: "RssAnon of the plugin, at most", Value: most / (1 << 20), Unit: "MiB", Goal: "under 150"})
	return nil
}

// findPsql returns the program psql: beside the server's, where Debian has it, or of
// the path.
func findPsql() (string, error) {
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/psql"); len(found) > 0 {
		return slices.Max(found), nil
	}
	return exec.LookPath("psql")
}

// copyRows copies the rows to a file, as people do that have a password.
func (b *bench) copyRows(psql, url string) (time.Duration, error) {
	file := filepath.Join(b.scratch, "rows")
	defer os.Remove(file)
	begun := time.Now()
	output, err := exec.CommandContext(b.ctx, psql, url, "-qX", "-c", `\copy (SELECT * FROM big) TO `+file).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %s", psql, err, output)
	}
	return time.Since(begun), nil
}

// selectRows runs the job.
func (b *bench) selectRows(c *client.Client) (time.Duration, error) {
	begun := time.Now()
	j, err := c.Submit(b.ctx, client.Submission{
		CommandCriteria: []string{"type:sql"}, Context: []byte(`{"query": "SELECT * FROM big"}`), Wait: 10 * time.Minute,
	})
	if err == nil && j.Status != client.StatusSucceeded {
		err = fmt.Errorf("job %s is %s: %s", j.ID, j.Status, j.Error)
	}
	return time.Since(begun), err
}

// pluginOf returns the process that serves a plugin.
func pluginOf(b *bench, c *client.Client, name string) (int, error) {
	p, err := c.Plugin(b.ctx, name)
	if err != nil {
		return 0, err
	}
	for _, build := range p.Builds {
		if build.PID > 0 {
			return build.PID, nil
		}
	}
	return 0, fmt.Errorf("the host has no plugin %s that runs", name)
}
