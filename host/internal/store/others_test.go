package store_test

import (
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pgtest"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// While another host's claim is open, what it has not taken can be claimed, also of
// the same command.
func TestAnOpenClaimHidesNothing(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	db := open(t, store.Config{URL: address})
	epoch, err := db.RegisterHost(t.Context(), store.Host{ID: "a", Name: "a"}, time.Hour)
	if err == nil {
		err = db.SetCommands(t.Context(), "a", []string{"ping-1"})
	}
	if err != nil {
		t.Fatal(err)
	}
	const jobs, taken = 10, 3
	for range jobs {
		j := &job.Job{ID: job.NewID(), CreatedAt: time.Now(), Pair: job.Pair{CommandID: "ping-1"}}
		if _, err := db.Submit(t.Context(), store.Submission{Job: j, Host: "a", Epoch: epoch}); err != nil {
			t.Fatal(err)
		}
	}
	other, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(t.Context())
	tx, err := other.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "DELETE FROM job_ready WHERE job_id IN (SELECT job_id FROM job_ready LIMIT $1)", taken); err != nil {
		t.Fatal(err)
	}
	claimed, err := db.Claim(t.Context(), store.Claim{Host: "a", Epoch: epoch, Most: jobs})
	if err != nil || len(claimed) != jobs-taken {
		t.Errorf("claimed %d jobs, error %v, want the %d that are free", len(claimed), err, jobs-taken)
	}
}

// However many ask at once, a host has as many connections as it was told, and a few
// that are kept for single purposes.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	const most = 6 + 6
	u, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	name := "bounded-" + strings.TrimPrefix(q.Get("search_path"), "test_")
	q.Set("application_name", name)
	q.Set("pool_max_conns", "6")
	u.RawQuery = q.Encode()
	db := open(t, store.Config{URL: u.String()})
	epoch, err := db.RegisterHost(t.Context(), store.Host{ID: "a", Name: "a"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	watch, err := pgx.Connect(t.Context(), pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close(t.Context())

	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			if err := submitAndEnd(t.Context(), db, epoch, new(sync.Map)); err != nil {
				t.Error(err)
			}
			if _, err := db.Jobs(t.Context(), job.Filter{Limit: 1}); err != nil {
				t.Error(err)
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for looks := 0; ; looks++ {
		var n int
		if err := watch.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", name).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > most {
			t.Fatalf("%d connections at once, want at most %d", n, most)
		}
		select {
		case <-done:
			if n == 0 {
				t.Error("no connection was seen: nothing was looked at")
			}
			return
		default:
		}
	}
}
