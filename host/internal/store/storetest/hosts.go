package storetest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

func (h host) beat(t testing.TB, ttl time.Duration, state store.HostState) {
	t.Helper()
	if _, err := h.db.Heartbeat(t.Context(), h.id, h.epoch, ttl, state); err != nil {
		t.Fatalf("heartbeat of %s: %v", h.id, err)
	}
}

// lapse ends the host's right to run.
func (h host) lapse(t testing.TB) {
	t.Helper()
	h.beat(t, -time.Minute, store.Live)
}

func testHeartbeat(t *testing.T, db Store) {
	h := register(t, db, "a")
	before, err := db.Clock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	clock, err := db.Heartbeat(t.Context(), h.id, h.epoch, time.Minute, store.Live)
	if err != nil || clock.Before(before) || clock.Sub(before) > time.Minute {
		t.Errorf("heartbeat: got clock %v and error %v, want one not long after %v", clock, err, before)
	}
	h.submit(t, newJob(0), false)
	h.beat(t, time.Minute, store.Draining)
	if got := h.claim(t, 1); len(got) > 0 {
		t.Errorf("claim of a host that drains: got %d, want none", len(got))
	}
	h.lapse(t)
	if got := h.claim(t, 1); len(got) > 0 {
		t.Errorf("claim of a host whose right is over: got %d, want none", len(got))
	}
	if l := h.submit(t, newJob(1), true); l != nil {
		t.Errorf("submit to a host whose right is over: got lease %+v, want the job to wait", l)
	}
	wantSame(t, "lapsed", lapsed(t, db, "reaper"), []string{"a"})
	wantSame(t, "lapsed, as it sees itself", lapsed(t, db, "a"), []string(nil))
	h.beat(t, time.Minute, store.Live)
	if got := h.claim(t, 2); len(got) != 2 {
		t.Errorf("claim of a host that is back: got %d, want 2", len(got))
	}
}

func testStopped(t *testing.T, db Store) {
	idle, busy := register(t, db, "a"), register(t, db, "b")
	l := busy.lease(t, retryable(0))
	for _, h := range []host{idle, busy} {
		if err := db.StopHost(t.Context(), h.id, h.epoch); err != nil {
			t.Fatal(err)
		}
	}
	if got := busy.claim(t, 1); len(got) > 0 {
		t.Errorf("claim of a host that has stopped: got %d, want none", len(got))
	}
	// What goes on in the plugins of a host that starts again soon is left to it.
	wantSame(t, "lapsed", lapsed(t, db, "reaper"), []string{"a"})
	if r := busy.reap(t, time.Hour); r.Again > 0 {
		t.Errorf("reap before its right is over: got %+v, want nothing", r)
	}
	busy.beat(t, -time.Minute, store.Stopped)
	if r := busy.reap(t, time.Hour); r.Again != 1 {
		t.Errorf("reap after that: got %+v, want the job to run again", r)
	}
	wantStatus(t, db, l.JobID, job.New)
	heir := register(t, db, "c")
	if _, err := db.TakeCleanups(t.Context(), heir.id, heir.epoch, -time.Second); err != nil {
		t.Fatal(err)
	}
	if n, err := db.ForgetHosts(t.Context()); err != nil || n != 0 {
		t.Errorf("forget hosts of today: got %d and error %v, want none", n, err)
	}
	busy.beat(t, -8*24*time.Hour, store.Stopped)
	if n, err := db.ForgetHosts(t.Context()); err != nil || n != 1 {
		t.Errorf("forget a host of last week: got %d and error %v, want one", n, err)
	}
	if commands := peersOf(t, db, heir.id); len(commands) > 0 {
		t.Errorf("peers: got %+v, want none", commands)
	}
}

func peersOf(t *testing.T, db Store, self string) []store.Peer {
	t.Helper()
	peers, err := db.Peers(t.Context(), self)
	if err != nil {
		t.Fatal(err)
	}
	return peers
}

func testHosts(t *testing.T, db Store) {
	a, b, c := register(t, db, "a"), register(t, db, "b"), register(t, db, "c")
	plugins := map[string][]string{"ping": {"0.1.0", "0.2.0"}}
	if err := db.SetPlugins(t.Context(), a.id, "r1", plugins); err != nil {
		t.Fatal(err)
	}
	if err := db.SetCommands(t.Context(), a.id, []string{"sql-1", "ping-1"}); err != nil {
		t.Fatal(err)
	}
	a.lease(t, newJob(0))
	c.lapse(t)
	wantSame(t, "peers of b", peersOf(t, db, b.id), []store.Peer{
		{ID: "a", Name: "a.example", Revision: "r1", Commands: []string{"ping-1", "sql-1"}},
	})
	wantSame(t, "peers of a", peersOf(t, db, a.id), []store.Peer{{ID: "b", Name: "b.example", Commands: []string{"ping-1"}}})
	b.beat(t, time.Minute, store.Draining)
	wantSame(t, "peers of a while b drains", peersOf(t, db, a.id), []store.Peer(nil))

	hosts, clock, err := db.Hosts(t.Context())
	if err != nil || len(hosts) != 3 {
		t.Fatalf("hosts: got %d and error %v, want 3", len(hosts), err)
	}
	states := []store.HostState{hosts[0].State, hosts[1].State, hosts[2].State}
	wantSame(t, "states", states, []store.HostState{store.Live, store.Draining, store.Lost})
	got := hosts[0]
	wantSame(t, "plugins", got.Plugins, plugins)
	if got.Running != 1 || got.Revision != "r1" || got.LeaseUntil.Before(clock) || got.StartedAt.IsZero() || !got.LostAt.IsZero() {
		t.Errorf("host: got %+v at %v, want one job, its revision, a lease and a start", got, clock)
	}
}

func testTakeCleanups(t *testing.T, db Store) {
	h, able, other := register(t, db, "a"), register(t, db, "b"), register(t, db, "c")
	if err := db.SetCommands(t.Context(), other.id, nil); err != nil {
		t.Fatal(err)
	}
	e := ended(h.lease(t, newJob(0)), job.Failed)
	e.Remains = "it was lost"
	end(t, db, e)
	take := func(by host, lostAfter time.Duration, want int64) {
		t.Helper()
		if n, err := db.TakeCleanups(t.Context(), by.id, by.epoch, lostAfter); err != nil || n != want {
			t.Errorf("taken by %s: got %d and error %v, want %d", by.id, n, err, want)
		}
	}
	take(able, -time.Second, 0)
	h.lapse(t)
	h.reap(t, time.Hour)
	take(able, time.Hour, 0)
	take(other, -time.Second, 0)
	stale := able
	stale.epoch--
	take(stale, -time.Second, 0)
	take(able, -time.Second, 1)
	take(able, -time.Second, 0)
	due, err := db.Cleanups(t.Context(), able.id, able.epoch, 10)
	if err != nil || len(due) != 1 || due[0].Job.ID != e.JobID {
		t.Errorf("left to clean up: got %+v and error %v, want what the lost host left", due, err)
	}
}

func testNotices(t *testing.T, db Store) {
	if d, ok := db.(*store.DB); ok && d.Kind() == "sqlite" { // one host has it
		if err := db.Notify(t.Context(), store.Notice{Kind: store.WorkWaits, From: "a"}); err != nil {
			t.Errorf("notify: %v", err)
		}
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	heard, ready := make(chan store.Notice, 10), make(chan bool)
	var listening sync.WaitGroup
	listening.Go(func() {
		if err := db.Listen(ctx, "b", func() { close(ready) }, func(n store.Notice) { heard <- n }); err != nil {
			t.Errorf("listen: %v", err)
		}
	})
	<-ready
	var jobs []job.ID
	for range 450 {
		jobs = append(jobs, job.NewID())
	}
	err := db.Notify(ctx,
		store.Notice{Kind: store.WorkWaits, From: "b"},               // its own
		store.Notice{Kind: store.CancelAsks, From: "a", To: "other"}, // for somebody else
		store.Notice{Kind: store.WorkWaits, From: "a"},
		store.Notice{Kind: store.JobsEnded, From: "a", To: "b", Jobs: jobs},
	)
	if err != nil {
		t.Fatal(err)
	}
	next := func() store.Notice {
		select {
		case n := <-heard:
			return n
		case <-ctx.Done():
			t.Fatal("a notice was not heard in 30s")
			return store.Notice{}
		}
	}
	wantSame(t, "first notice", next(), store.Notice{Kind: store.WorkWaits, From: "a"})
	var got []job.ID
	for len(got) < len(jobs) {
		got = slices.Concat(got, next().Jobs)
	}
	wantSame(t, "jobs", got, jobs)
	cancel()
	listening.Wait()
}
