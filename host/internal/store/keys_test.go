package store_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pgtest"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// TestKeysAreForgotten lets the time of a key pass by changing its row.
func TestKeysAreForgotten(t *testing.T) {
	dir, url := t.TempDir(), pgtest.URL(t)
	for _, c := range []struct {
		name, driver, source, pass string
		config                     store.Config
	}{
		{"sqlite", "sqlite", filepath.Join(dir, "heimdall.db"), "UPDATE idempotency SET expires_at = expires_at - $1 * 1000000", store.Config{URL: "sqlite", Dir: dir}},
		{"postgres", "pgx", url, "UPDATE idempotency SET expires_at = expires_at - $1 * interval '1 second'", store.Config{URL: url}},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := open(t, c.config)
			raw, err := sql.Open(c.driver, c.source)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = raw.Close() }()
			pass := func(d time.Duration) {
				t.Helper()
				if _, err := raw.ExecContext(t.Context(), c.pass, int64(d/time.Second)); err != nil {
					t.Fatal(err)
				}
			}
			submit := func(digest byte) (job.ID, job.ID, error) {
				t.Helper()
				j := &job.Job{ID: job.NewID(), User: "ann", Pair: job.Pair{CommandID: "c", ClusterID: "k"}}
				id, err := db.SubmitKeyed(t.Context(), store.Submission{Job: j}, store.Key{Text: "order 17", Digest: []byte{digest}})
				return j.ID, id, err
			}
			first, _, err := submit(1)
			if err != nil {
				t.Fatal(err)
			}
			pass(24*time.Hour - time.Minute)
			if n, err := db.ForgetKeys(t.Context()); err != nil || n != 0 {
				t.Errorf("forgotten before a day: got %d and error %v, want none", n, err)
			}
			if _, got, err := submit(1); err != nil || got != first {
				t.Errorf("repeat before a day: got %s and error %v, want %s", got, err, first)
			}
			if _, _, err := submit(2); !errs.Is(err, errs.Conflict) {
				t.Errorf("another request before a day: got error %v, want a conflict", err)
			}
			pass(time.Minute)
			if own, got, err := submit(2); err != nil || got != own {
				t.Errorf("another request after a day: got %s and error %v, want a job of its own, %s", got, err, own)
			}
			pass(24 * time.Hour)
			if n, err := db.ForgetKeys(t.Context()); err != nil || n != 1 {
				t.Errorf("forgotten after a day: got %d and error %v, want 1", n, err)
			}
		})
	}
}
