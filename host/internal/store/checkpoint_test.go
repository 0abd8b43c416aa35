package store_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// No checkpoint stays behind the end of its job, however that came.
func TestCheckpointsGoWithTheirJobs(t *testing.T) {
	t.Parallel()
	for kind, c := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			db := open(t, c)
			epoch, err := db.RegisterHost(t.Context(), "a", "a")
			if err != nil {
				t.Fatal(err)
			}
			for _, status := range []job.Status{job.Succeeded, job.Failed, job.Killed, job.Canceled} {
				for _, remains := range []string{"", "it crashed"} {
					j := &job.Job{ID: job.NewID(), CreatedAt: time.Now()}
					l, err := db.Submit(t.Context(), store.Submission{Job: j, Host: "a", Epoch: epoch, Claim: true})
					if err != nil || l == nil {
						t.Fatalf("submit: got lease %v and error %v", l, err)
					}
					saved := &job.Checkpoint{Format: 1, Data: []byte("q")}
					if err := db.Checkpoint(t.Context(), *l, saved); err != nil {
						t.Fatal(err)
					}
					if n := count(t, c, "SELECT count(*) FROM checkpoint"); n != 1 {
						t.Fatalf("checkpoints: got %d, want 1", n)
					}
					e := job.End{Lease: *l, Outcome: job.Outcome{Status: status, Checkpoint: saved, Remains: remains}}
					if err := db.End(t.Context(), e); err != nil {
						t.Fatal(err)
					}
					if n := count(t, c, "SELECT count(*) FROM checkpoint"); n != 0 {
						t.Errorf("checkpoints after the end as %s: got %d, want none", status, n)
					}
				}
			}
		})
	}
}

// count asks for a number behind the store's back.
func count(t *testing.T, c store.Config, query string) (n int) {
	t.Helper()
	if c.URL == "sqlite" {
		db, err := sql.Open("sqlite", filepath.Join(c.Dir, "heimdall.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	conn, err := pgx.Connect(t.Context(), c.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
