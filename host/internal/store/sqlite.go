package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// liteClock is the clock of the database, in microseconds.
const liteClock = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"

// lite is the backend on SQLite: one connection writes, in group commits; others
// read.
type lite struct {
	writer *sql.DB
	reader *sql.DB
	conn   *sql.Conn
	stmts  map[string]*sql.Stmt // of conn; used by the one writer only
	writes combiner[func(transaction) error, struct{}]
}

func openSQLite(ctx context.Context, c Config) (*DB, error) {
	if err := os.MkdirAll(c.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("make the folder of the database: %w", err)
	}
	path, err := filepath.Abs(filepath.Join(c.Dir, "heimdall.db"))
	if err != nil {
		return nil, fmt.Errorf("find the folder of the database: %w", err)
	}
	// It holds what callers wrote and what they were answered: only the host's
	// user may read it. SQLite gives its other files the same mode.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	// One that came back from a backup may have another mode.
	if err := errors.Join(file.Chmod(0o600), file.Close()); err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	s := &lite{stmts: map[string]*sql.Stmt{}}
	s.writes = combiner[func(transaction) error, struct{}]{
		flush: s.flush,
		size:  func(func(transaction) error) int { return 0 },
		told:  combinedBy(c.Observer, commits),
	}
	if err := s.open(ctx, path, c); err != nil {
		_ = s.close()
		return nil, fmt.Errorf("open the database %s: %w", path, err)
	}
	return &DB{
		backend: s,
		read:    s.reader,
		lists:   s.reader,
		text: dialect{
			clock:   liteClock,
			until:   liteClock + " + $3",
			idsOf:   "SELECT value FROM json_each($1)",
			tagsOf:  "SELECT t.value, j.id FROM job j CROSS JOIN json_each(j.tags) t",
			oneOf:   " = %s",
			textsOf: "SELECT value FROM json_each($1)",

			entriesOf:      liteEntries,
			declarationsOf: liteDeclarations,
			reportsOf:      liteReports,
			jobsOf:         "SELECT value ->> 'n' AS n, value ->> 'id' AS id, value ->> 'attempt' AS attempt, value ->> 'retries' AS retries FROM json_each($1)",
		},
	}, nil
}

func (s *lite) open(ctx context.Context, path string, c Config) (err error) {
	if s.writer, err = sql.Open("sqlite", dsn(path,
		"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(5000)", "wal_autocheckpoint(4000)",
		"journal_size_limit(67108864)", "cache_size(-16384)")); err != nil {
		return err
	}
	s.writer.SetMaxOpenConns(1)
	if err := migrate(ctx, "sqlite", s.writer, c.Log); err != nil {
		return err
	}
	if s.conn, err = s.writer.Conn(ctx); err != nil {
		return err
	}
	if s.reader, err = sql.Open("sqlite", dsn(path,
		"busy_timeout(5000)", "query_only(1)", "case_sensitive_like(1)")); err != nil {
		return err
	}
	s.reader.SetMaxOpenConns(2 * max(2, runtime.NumCPU()))
	s.reader.SetMaxIdleConns(2 * max(2, runtime.NumCPU()))
	return s.reader.PingContext(ctx)
}

// dsn names a file and the pragmas of each connection to it. Times are written as
// microseconds.
func dsn(path string, pragmas ...string) string {
	q := url.Values{
		"_pragma":              pragmas,
		"_time_integer_format": {"unix_micro"},
		"_txlock":              {"immediate"},
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// Kind returns "sqlite".
func (s *lite) Kind() string { return "sqlite" }

func (s *lite) close() error {
	s.writes.close()
	var all []error
	for _, stmt := range s.stmts {
		all = append(all, stmt.Close())
	}
	if s.conn != nil {
		all = append(all, s.conn.Close())
	}
	if s.reader != nil {
		all = append(all, s.reader.Close())
	}
	if s.writer != nil {
		all = append(all, s.writer.Close())
	}
	return errors.Join(all...)
}

func (s *lite) write(ctx context.Context, fn func(context.Context, transaction) error) error {
	return s.do(ctx, func(t transaction) error { return fn(context.Background(), t) })
}

// aside is write: one connection writes, and group commits are short.
func (s *lite) aside(ctx context.Context, fn func(context.Context, transaction) error) error {
	return s.write(ctx, fn)
}

// listen hears nothing: there is no other host.
func (s *lite) listen(ctx context.Context, _ func(), _ func(string)) error {
	<-ctx.Done()
	return nil
}

func (s *lite) notify(context.Context, []string) error { return nil }

// do runs fn in the next group commit. A disk that does not answer cannot be told to
// stop: what is not done in time may be done later.
func (s *lite) do(ctx context.Context, fn func(transaction) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, writeTimeout, errSlow)
	defer cancel()
	_, err := s.writes.do(ctx, fn)
	return s.fault(err)
}

// flush writes a group in one transaction. A member that fails undoes what it did
// and nothing else.
func (s *lite) flush(batch []*call[func(transaction) error, struct{}]) {
	if err := s.group(batch); err != nil {
		// The connection gives up a transaction that is still open; there is
		// none when the database gave it up by itself.
		_, _ = s.conn.ExecContext(context.Background(), "ROLLBACK")
		for _, k := range batch {
			k.err = err
		}
	}
}

func (s *lite) group(batch []*call[func(transaction) error, struct{}]) error {
	t := liteTx{s}
	if err := t.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for _, k := range batch {
		if err := t.exec("SAVEPOINT member"); err != nil {
			return err
		}
		if k.err = k.in(t); k.err != nil {
			if err := t.exec("ROLLBACK TO member"); err != nil {
				return err
			}
		}
		if err := t.exec("RELEASE member"); err != nil {
			return err
		}
	}
	return t.exec("COMMIT")
}

// liteTx is the transaction of the writer. It prepares each statement once.
type liteTx struct{ s *lite }

func (t liteTx) prepared(query string) (*sql.Stmt, error) {
	if stmt, ok := t.s.stmts[query]; ok {
		return stmt, nil
	}
	stmt, err := t.s.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	t.s.stmts[query] = stmt
	return stmt, nil
}

func (t liteTx) exec(query string) error {
	_, err := t.ExecContext(context.Background(), query)
	return err
}

// ExecContext runs a statement.
func (t liteTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	stmt, err := t.prepared(query)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

// QueryContext runs a query.
func (t liteTx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := t.prepared(query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// QueryRowContext runs a query for one row.
func (t liteTx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	stmt, err := t.prepared(query)
	if err != nil {
		return t.s.conn.QueryRowContext(ctx, query, args...) // fails likewise
	}
	return stmt.QueryRowContext(ctx, args...)
}
