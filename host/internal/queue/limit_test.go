package queue_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pgtest"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/queue"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// TestLimits refuses jobs while too many wait, on both databases.
func TestLimits(t *testing.T) {
	for name, c := range map[string]store.Config{
		"sqlite":   {URL: "sqlite", Dir: t.TempDir()},
		"postgres": {URL: pgtest.URL(t)},
	} {
		t.Run(name, func(t *testing.T) {
			db, err := store.Open(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			epoch, err := db.RegisterHost(t.Context(), store.Host{ID: host}, time.Hour)
			if err == nil {
				err = db.SetCommands(t.Context(), host, []string{"c"})
			}
			if err != nil {
				t.Fatal(err)
			}
			hurry := make(chan struct{})
			q := queue.New(queue.Config{
				Store: db, Runner: &timed{}, Host: host, Epoch: epoch, Slots: 2, MaxWaiting: 5, MaxWaitingPerUser: 3,
				Lease: 10 * time.Second, LostAfter: 15 * time.Minute, Drain: time.Second, Grace: time.Second, Hurry: hurry, Log: hclog.NewNullLogger(),
				Renew: func(int64, time.Duration) {}, Fenced: func() {}, Resumed: func() {}, Ended: func(*job.Job) {}, Remains: func() {},
			})
			ctx, cancel := context.WithCancel(context.Background())
			served := make(chan error, 1)
			go func() { served <- q.Serve(ctx) }()
			defer func() {
				close(hurry)
				cancel()
				if err := <-served; err != nil {
					t.Errorf("Serve: %v", err)
				}
			}()
			submit := func(user, key, length string) (job.ID, error) {
				j := &job.Job{
					ID: job.NewID(), User: user, Request: job.Request{Description: length, UniqueKey: key},
					Pair: job.Pair{CommandID: "c", ClusterID: "k"},
				}
				if key != "" {
					_, err := q.SubmitKeyed(t.Context(), j, store.Key{})
					return j.ID, err
				}
				return j.ID, q.Submit(t.Context(), j)
			}
			accept := func(user, key, length string) job.ID {
				t.Helper()
				id, err := submit(user, key, length)
				if err != nil {
					t.Fatalf("submit of %s: %v", user, err)
				}
				return id
			}
			refuse := func(user, key string) {
				t.Helper()
				_, err := submit(user, key, "1h")
				if e, ok := err.(*errs.Error); !ok || e.Kind != errs.Limited || e.Retry <= 0 { //nolint:errorlint // it is not wrapped
					t.Errorf("submit of %s: got error %v, want it limited, and when to come again", user, err)
				}
			}
			for range 20 { // what runs at once does not wait, however many there are
				id := accept("ann", "", "1ms")
				until(t, db, id, job.Succeeded)
			}
			running := accept("ann", "", "1h")
			accept("ann", "", "1h")
			until(t, db, running, job.Running)
			var waiting []job.ID
			for i := range 3 {
				waiting = append(waiting, accept("ann", []string{"", "once"}[i%2], "1h"))
			}
			refuse("ann", "")
			refuse("ann", "another")
			accept("bob", "", "1h")
			accept("cat", "", "1h")
			refuse("dan", "") // five wait

			// What ends, or is canceled, makes room: the store is looked at.
			if _, err := q.Cancel(t.Context(), waiting[0], "ann", pluginhost.StopUser); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				if _, err := submit("ann", "", "1h"); err == nil {
					break
				} else if time.Now().After(deadline) || !errs.Is(err, errs.Limited) {
					t.Fatalf("submit after one was canceled: %v", err)
				}
			}
		})
	}
}

// until waits for the status of a job.
func until(t *testing.T, db *store.DB, id job.ID, want job.Status) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		j, err := db.Job(t.Context(), id)
		if err == nil && j.Status == want {
			return
		}
		got = fmt.Sprint(j, err)
	}
	t.Fatalf("job: got %s, want it %s", got, want)
}
