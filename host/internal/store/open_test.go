package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pgtest"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts by its backlog and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	server, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		config store.Config
		want   string
	}{
		"an unknown scheme":     {store.Config{URL: "mysql://root:s3cret@h/db"}, "neither"},
		"no URL":                {store.Config{}, "neither"},
		"a URL that is none":    {store.Config{URL: "postgres://u:s3cret@h:port/db"}, "url"},
		"a bad parameter":       {store.Config{URL: "postgres://u:s3cret@h/db?sslmode=maybe"}, "sslmode"},
		"nobody listens":        {store.Config{URL: "postgres://u:s3cret@127.0.0.1:1/jobs"}, "127.0.0.1:1/jobs: connect: connection refused"},
		"nobody answers":        {store.Config{URL: "postgres://u:s3cret@" + silent.Addr().String() + "/jobs"}, silent.Addr().String() + "/jobs: no answer in time"},
		"an unknown name":       {store.Config{URL: "postgres://u:s3cret@db.invalid/jobs"}, "db.invalid:5432/jobs"},
		"a wrong user":          {store.Config{URL: "postgres://nobody:s3cret@" + server.Host + "/postgres?sslmode=disable"}, "nobody"},
		"a folder that is none": {store.Config{URL: "sqlite", Dir: filepath.Join(file, "data")}, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			db, err := store.Open(t.Context(), c.config)
			if err == nil {
				_ = db.Close()
				t.Fatal("got a store, want an error")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\n") {
				t.Errorf("got error %q, want one line with %q and no password", err, c.want)
			}
			if took := time.Since(start); took > 9*time.Second {
				t.Errorf("took %v, want about 5 s at most", took)
			}
		})
	}
}

// databases returns the configuration of an empty database of each kind.
func databases(t testing.TB) map[string]store.Config {
	return map[string]store.Config{
		"sqlite":   {URL: "sqlite", Dir: t.TempDir()},
		"postgres": {URL: pgtest.URL(t)},
	}
}

func TestOpenRefusesNewerDatabase(t *testing.T) {
	t.Parallel()
	for kind, c := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			db, err := store.Open(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if got := db.Kind(); got != kind {
				t.Errorf("kind: got %q, want %q", got, kind)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			execute(t, c, "INSERT INTO schema_version (version_id, is_applied) VALUES (9999, TRUE)")
			if db, err = store.Open(t.Context(), c); err == nil {
				_ = db.Close()
				t.Fatal("got a store, want an error")
			}
			if !strings.Contains(err.Error(), "schema version 9999") {
				t.Errorf("got error %q, want one that names schema version 9999", err)
			}
		})
	}
}

// execute runs a statement behind the store's back.
func execute(t *testing.T, c store.Config, statement string, args ...any) {
	t.Helper()
	if c.URL == "sqlite" {
		db, err := sql.Open("sqlite", filepath.Join(c.Dir, "heimdall.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
			t.Fatal(err)
		}
		return
	}
	conn, err := pgx.Connect(t.Context(), c.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

func TestHostsOpenAtOnce(t *testing.T) {
	t.Parallel()
	c := store.Config{URL: pgtest.URL(t)}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			db, err := store.Open(t.Context(), c)
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestReopenedStoreHasItsJobs(t *testing.T) {
	t.Parallel()
	for kind, c := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			db := open(t, c)
			j := &job.Job{ID: job.NewID(), User: "ann", CreatedAt: time.Now()}
			if _, err := db.Submit(t.Context(), store.Submission{Job: j}); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			for what, err := range map[string]error{
				"submit":    second(db.Submit(t.Context(), store.Submission{Job: &job.Job{ID: job.NewID()}})),
				"read":      second(db.Job(t.Context(), j.ID)),
				"check":     db.Check(t.Context()),
				"heartbeat": second(db.Heartbeat(t.Context(), "h", 1, time.Second, store.Live)),
			} {
				if got := errs.KindOf(err); got != errs.Unavailable {
					t.Errorf("%s of a closed store: got error %v of kind %q, want %q", what, err, got, errs.Unavailable)
				}
			}
			if got, err := open(t, c).Job(t.Context(), j.ID); err != nil || got.User != "ann" {
				t.Errorf("job after reopening: got %+v and error %v", got, err)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

// TestBrokenConnections cuts the connections of a store again and again while
// jobs are submitted and ended. Each call says that the store is not available or
// has done what it says. A submission that may have been recorded all the same is
// told from one that was not.
func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	c := store.Config{URL: pgtest.URL(t)}
	name := "cut_" + string(job.NewID())
	db := open(t, store.Config{URL: c.URL + "&application_name=" + name})
	epoch, err := db.RegisterHost(t.Context(), store.Host{ID: "a", Name: "a"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var (
		all, cutter sync.WaitGroup
		stop        = make(chan struct{})
		failed      sync.Map // errors of submissions by job.ID
	)
	cutter.Go(func() {
		for range 8 {
			execute(t, c, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", name)
		}
		close(stop)
	})
	for range 8 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := submitAndEnd(t.Context(), db, epoch, &failed); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	cutter.Wait()
	all.Wait()
	if err := submitAndEnd(t.Context(), db, epoch, &failed); err != nil {
		t.Errorf("after the cuts: %v", err)
	}
	unknown := map[job.ID]bool{}
	failed.Range(func(id, err any) bool {
		unknown[id.(job.ID)] = errors.Is(err.(error), store.ErrUnknown)
		if _, read := db.Job(t.Context(), id.(job.ID)); !unknown[id.(job.ID)] && !errs.Is(read, errs.NotFound) {
			t.Errorf("job %s: submit said %v, but reading it %v", id, err, read)
		}
		return true
	})
	leases, err := db.Leases(t.Context(), "a", epoch)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leases {
		if !unknown[l.JobID] {
			t.Errorf("job %s is leased, and its submit did not say that it might be", l.JobID)
		}
	}
}

// submitAndEnd repeats what the store was not available for, and returns an error
// when what it acknowledged is not so. It notes submissions that failed.
func submitAndEnd(ctx context.Context, db *store.DB, epoch int64, failed *sync.Map) error {
	var lease *job.Lease
	for lease == nil {
		j := &job.Job{ID: job.NewID(), CreatedAt: time.Now()}
		var err error
		lease, err = db.Submit(ctx, store.Submission{Job: j, Host: "a", Epoch: epoch, Claim: true})
		if err != nil {
			failed.Store(j.ID, err)
		}
		if err == nil && lease == nil {
			return errors.New("submit: got no lease with nothing waiting")
		}
		if err != nil && !errs.Is(err, errs.Unavailable) {
			return fmt.Errorf("submit: got %w, want that the store is not available", err)
		}
	}
	end := job.End{Lease: *lease, Outcome: job.Outcome{Status: job.Succeeded}}
	for err := db.End(ctx, end); err != nil; err = db.End(ctx, end) {
		if !errs.Is(err, errs.Unavailable) {
			return fmt.Errorf("end: got %w, want that the store is not available", err)
		}
	}
	j, err := db.Job(ctx, lease.JobID)
	for errs.Is(err, errs.Unavailable) {
		j, err = db.Job(ctx, lease.JobID)
	}
	if err != nil || j.Status != job.Succeeded {
		return fmt.Errorf("an acknowledged end: got %+v and error %w", j, err)
	}
	return nil
}
