package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A connection is cut before what it writes is done, or after it is done and
// before anybody hears of it.
func TestCut(t *testing.T) {
	t.Parallel()
	scratch, err := os.MkdirTemp("", "chaos")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(scratch) })
	if err := os.Chmod(scratch, 0o711); err != nil {
		t.Fatal(err)
	}
	server, err := newPostgres(t.Context(), filepath.Join(scratch, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.close(); err != nil {
			t.Error(err)
		}
	})
	between, err := newProxy(server.address.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(between.close)
	connect := func() *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), server.url(between.address()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return conn
	}
	observer := connect()
	if _, err := observer.Exec(t.Context(), "CREATE TABLE cell (name text PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}

	const insert = "INSERT INTO cell VALUES ($1)"
	for name, tt := range map[string]struct {
		after bool
		text  string
		write func(c *pgx.Conn, name string) error
		done  bool
	}{
		"a statement, before it": {write: func(c *pgx.Conn, name string) error {
			_, err := c.Exec(t.Context(), insert, name)
			return err
		}},
		"a statement, after it": {after: true, done: true, write: func(c *pgx.Conn, name string) error {
			_, err := c.Exec(t.Context(), insert, name)
			return err
		}},
		"a batch, after it": {after: true, done: true, text: "unnest", write: func(c *pgx.Conn, name string) error {
			var batch pgx.Batch
			batch.Queue("SELECT 1")
			batch.Queue("INSERT INTO cell SELECT * FROM unnest($1::text[])", []string{name})
			return c.SendBatch(t.Context(), &batch).Close()
		}},
		"a transaction, at its first statement": {write: func(c *pgx.Conn, name string) error {
			return inTransaction(t, c, insert, name)
		}},
		"a transaction, after it": {after: true, done: true, write: func(c *pgx.Conn, name string) error {
			return inTransaction(t, c, insert, name)
		}},
		"not what changes nothing": {after: true, done: true, write: func(c *pgx.Conn, name string) error {
			if _, err := c.Exec(t.Context(), "DELETE FROM cell WHERE name = 'nobody'"); err != nil {
				t.Errorf("DELETE of nothing = %v, want no cut", err)
			}
			_, err := c.Exec(t.Context(), insert, name)
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect()
			wish := between.wish(tt.after, tt.text)
			if err := tt.write(c, name); err == nil {
				t.Error("the write had an answer, want its connection cut")
			}
			if _, err := between.wait(t.Context(), wish, cutTime); err != nil {
				t.Error(err)
			}
			var n int
			if err := observer.QueryRow(t.Context(), "SELECT count(*) FROM cell WHERE name = $1", name).Scan(&n); err != nil {
				t.Fatal(err)
			}
			if done := n == 1; done != tt.done {
				t.Errorf("it was written: %v, want %v", done, tt.done)
			}
		})
	}
}

func inTransaction(t *testing.T, c *pgx.Conn, statement string, args ...any) error {
	t.Helper()
	tx, err := c.Begin(t.Context())
	if err != nil {
		return err
	}
	if _, err := tx.Exec(t.Context(), statement, args...); err != nil {
		return err
	}
	return tx.Commit(t.Context())
}
