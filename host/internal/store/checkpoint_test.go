package store_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pgtest"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// No checkpoint stays behind the end of its job, however that came.
func TestCheckpointsGoWithTheirJobs(t *testing.T) {
	t.Parallel()
	for kind, c := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			db := open(t, c)
			epoch, err := db.RegisterHost(t.Context(), store.Host{ID: "a", Name: "a"}, time.Hour)
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
					e := job.End{Lease: *l, Outcome: job.Outcome{Status: status, Remains: remains}, Saved: true} // as the queue ends it
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

// A job ends while its first save is being committed: no checkpoint stays behind,
// and what is to be cleaned up knows it.
func TestEndWhileASaveIsCommitted(t *testing.T) {
	t.Parallel()
	c := store.Config{URL: pgtest.URL(t)}
	db := open(t, c)
	l := leased(t, db)
	ended := while(t, c, `
		INSERT INTO checkpoint (job_id, attempt, format, data)
		SELECT job_id, attempt, 1, 'q1'
		FROM job_lease
		WHERE job_id = $1
		FOR SHARE`, l.JobID, func() error {
		return db.End(t.Context(), job.End{Lease: l, Outcome: job.Outcome{
			Status: job.Failed, Error: &job.Error{Class: job.Lost}, Checkpoint: &job.Checkpoint{}, Remains: "it crashed",
		}})
	})
	if ended != nil {
		t.Fatal(ended)
	}
	if n := count(t, c, "SELECT count(*) FROM checkpoint"); n != 0 {
		t.Errorf("checkpoints after the end: got %d, want none", n)
	}
	due, err := db.Cleanups(t.Context(), l.HostID, l.Epoch, 10)
	if err != nil || len(due) != 1 || due[0].Checkpoint == nil || string(due[0].Checkpoint.Data) != "q1" {
		t.Errorf("to clean up: got %+v and error %v, want the job with its checkpoint", due, err)
	}
}

// The host starts again while a resume of its earlier life is being committed: it
// adopts the attempt that resumes.
func TestAdoptWhileAResumeIsCommitted(t *testing.T) {
	t.Parallel()
	c := store.Config{URL: pgtest.URL(t)}
	db := open(t, c)
	l := leased(t, db)
	var adopted []job.Claimed
	err := while(t, c, "UPDATE job_lease SET attempt = attempt + 1, started_at = now() WHERE job_id = $1", l.JobID, func() (err error) {
		epoch, err := db.RegisterHost(t.Context(), store.Host{ID: l.HostID, Name: l.HostID}, time.Hour)
		if err == nil {
			err = db.Adopt(t.Context(), l.HostID, epoch)
		}
		if err == nil {
			adopted, err = db.Leased(t.Context(), l.HostID, epoch, []job.ID{l.JobID})
		}
		return err
	})
	if err != nil || len(adopted) != 1 {
		t.Fatalf("adopted %v, error %v, want the job", adopted, err)
	}
	got := adopted[0]
	if got.Lease.Attempt != 2 || got.Job.Attempt != 2 || got.Job.Status != job.Running || got.Job.StartedAt.IsZero() {
		t.Errorf("adopted: got %+v of %+v, want the second attempt, RUNNING", got.Lease, got.Job)
	}
	if err := db.End(t.Context(), job.End{Lease: got.Lease, Outcome: job.Outcome{Status: job.Succeeded}}); err != nil {
		t.Errorf("end of what was adopted: %v", err)
	}
}

// leased submits a job that host a runs at once.
func leased(t *testing.T, db *store.DB) job.Lease {
	t.Helper()
	epoch, err := db.RegisterHost(t.Context(), store.Host{ID: "a", Name: "a"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	l, err := db.Submit(t.Context(), store.Submission{Job: &job.Job{ID: job.NewID(), CreatedAt: time.Now()}, Host: "a", Epoch: epoch, Claim: true})
	if err != nil || l == nil {
		t.Fatalf("submit: got lease %v and error %v", l, err)
	}
	return *l
}

// while runs a statement on a job in PostgreSQL and commits it only when do waits
// for that. It returns what do does.
func while(t *testing.T, c store.Config, statement string, id job.ID, do func() error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, statement, string(id)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- do() }()
	for waits := false; !waits; {
		err := tx.QueryRow(ctx, `
			SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)))
			FROM pg_sleep(0.01)`).Scan(&waits)
		if err != nil {
			t.Fatalf("nothing waits for the commit: %v", err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	return <-done
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
