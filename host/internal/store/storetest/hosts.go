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

// reap takes all that a lost host has.
func (h host) reap(t testing.TB, lostAfter time.Duration) (all store.Reaped) {
	t.Helper()
	for after := job.ID(""); ; after = all.Next {
		r, err := h.db.Reap(t.Context(), "reaper", h.id, after, lostAfter)
		if err != nil {
			t.Fatalf("reap %s: %v", h.id, err)
		}
		all.Host, all.Again, all.Kept, all.Next = r.Host, all.Again+r.Again, all.Kept+r.Kept, r.Next
		all.Ended = append(all.Ended, r.Ended...)
		if r.Next == "" {
			return all
		}
	}
}

func lapsed(t *testing.T, db Store, self string) []string {
	t.Helper()
	hosts, err := db.Lapsed(t.Context(), self)
	if err != nil {
		t.Fatal(err)
	}
	return hosts
}

// retryable returns a job that runs elsewhere when its host is lost.
func retryable(minute int) *job.Job {
	j := newJob(minute)
	j.Retry = &job.Retry{Attempts: 2, On: []job.Class{job.Lost}}
	return j
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

func testReap(t *testing.T, db Store) {
	h, other := register(t, db, "a"), register(t, db, "b")
	begun, accepted := h.lease(t, retryable(0)), h.lease(t, retryable(1))
	canceled := h.lease(t, retryable(2))
	spent := retryable(3)
	spent.Retry.Attempts = 1
	plain, done := h.lease(t, spent), h.lease(t, newJob(4))
	foreign := other.lease(t, retryable(5))
	reach(t, db, begun, job.Running)
	reach(t, db, canceled, job.Canceling)
	end(t, db, ended(done, job.Succeeded))

	if r := h.reap(t, time.Hour); r.Host != "" || r.Again+r.Kept+len(r.Ended) > 0 {
		t.Errorf("reap of a live host: got %+v, want nothing", r)
	}
	h.lapse(t)
	if r, err := db.Reap(t.Context(), h.id, h.id, "", time.Hour); err != nil || r.Host != "" {
		t.Errorf("reap of oneself: got %+v and error %v, want nothing", r, err)
	}
	wantSame(t, "reaped", h.reap(t, time.Hour), store.Reaped{Host: "a.example", Again: 2, Ended: []job.ID{canceled.JobID}, Kept: 1})
	wantSame(t, "reaped again", h.reap(t, time.Hour), store.Reaped{Host: "a.example", Kept: 1})
	wantSame(t, "lapsed", lapsed(t, db, "reaper"), []string{"a"})

	for id, want := range map[job.ID]job.Status{
		begun.JobID: job.New, accepted.JobID: job.New, canceled.JobID: job.Canceled, plain.JobID: job.Accepted, foreign.JobID: job.Accepted,
	} {
		wantStatus(t, db, id, want)
	}
	if got := get(t, db, canceled.JobID); got.CanceledBy != "operator" || got.Error.Class != job.WasCanceled {
		t.Errorf("canceled by %q with error %+v, want operator and a cancel", got.CanceledBy, got.Error)
	}
	wantError(t, "a late end", db.End(t.Context(), ended(begun, job.Succeeded)), store.ErrLeaseLost)
	again := other.claim(t, 10)
	wantSame(t, "claimed elsewhere", claimedIDs(again), []job.ID{begun.JobID, accepted.JobID})
	if c := again[0]; c.Lease.Attempt != 2 || c.Retries != 1 || c.Resume {
		t.Errorf("claimed elsewhere: got attempt %d after %d retries, resume %t; want the second, anew", c.Lease.Attempt, c.Retries, c.Resume)
	}
	other.lapse(t)
	if r := other.reap(t, time.Hour); r.Again != 1 || r.Kept != 2 {
		t.Errorf("reap of the second host: got %+v, want one job to run again and two, whose attempts are used up, to wait", r)
	}
}

func testReapResume(t *testing.T, db Store) {
	h, other := register(t, db, "a"), register(t, db, "b")
	saved, canceled := h.lease(t, newJob(0)), h.lease(t, newJob(1))
	kept := &job.Checkpoint{Attempt: 1, Format: 3, Data: []byte("query 7"), Outputs: []job.Output{{Key: "Link", Value: "x", Kind: "link"}}}
	for _, l := range []job.Lease{saved, canceled} {
		if err := db.Checkpoint(t.Context(), l, kept); err != nil {
			t.Fatal(err)
		}
	}
	reach(t, db, saved, job.Running)
	reach(t, db, canceled, job.Canceling)
	h.lapse(t)
	wantSame(t, "reaped", h.reap(t, time.Hour), store.Reaped{Host: "a.example", Again: 1, Kept: 1})
	wantError(t, "a late checkpoint", db.Checkpoint(t.Context(), saved, kept), store.ErrLeaseLost)
	claimed := other.claim(t, 10)
	if len(claimed) != 1 || !claimed[0].Resume || claimed[0].Lease.Attempt != 2 || claimed[0].Retries != 0 {
		t.Fatalf("claimed: got %+v, want the second attempt to resume, and no retry", claimed)
	}
	wantSame(t, "its checkpoint", claimed[0].Checkpoint, kept)
	if err := db.GiveBack(t.Context(), []job.Lease{claimed[0].Lease}); err != nil {
		t.Fatal(err)
	}
	if claimed = other.claim(t, 10); len(claimed) != 1 || !claimed[0].Resume || claimed[0].Checkpoint == nil {
		t.Fatalf("claimed after it was given back: got %+v, want it to resume", claimed)
	}
	end(t, db, ended(claimed[0].Lease, job.Succeeded))
	wantSame(t, "reaped later", h.reap(t, -time.Second), store.Reaped{Host: "a.example", Ended: []job.ID{canceled.JobID}})
	wantStatus(t, db, canceled.JobID, job.Canceled)
}

func testOwnerGone(t *testing.T, db Store) {
	h := register(t, db, "a")
	running, late, unique := h.lease(t, newJob(0)), h.lease(t, newJob(1)), newJob(2)
	unique.UniqueKey = "daily"
	if _, err := db.SubmitKeyed(t.Context(), store.Submission{Job: unique, Host: h.id, Epoch: h.epoch}, store.Key{}); err != nil {
		t.Fatal(err)
	}
	h.claim(t, 1)
	reach(t, db, running, job.Running)
	h.lapse(t)
	wantSame(t, "reaped", h.reap(t, time.Hour), store.Reaped{Host: "a.example", Kept: 3})
	end(t, db, ended(late, job.Succeeded)) // it was only late
	r := h.reap(t, -time.Second)
	if len(r.Ended) != 2 || r.Kept != 0 {
		t.Errorf("reaped: got %+v, want two jobs ended", r)
	}
	got := get(t, db, running.JobID)
	if got.Status != job.Failed || got.Error.Class != job.Lost || got.Attempt != 1 || got.HostID != h.id {
		t.Errorf("got %s with error %+v, attempt %d of %s; want it failed as lost, the first of the host", got.Status, got.Error, got.Attempt, got.HostID)
	}
	wantStatus(t, db, late.JobID, job.Succeeded)
	wantSame(t, "lapsed", lapsed(t, db, "reaper"), []string(nil))
	again := newJob(3)
	again.UniqueKey = "daily"
	if _, err := db.SubmitKeyed(t.Context(), store.Submission{Job: again, Host: h.id, Epoch: h.epoch}, store.Key{}); err != nil {
		t.Errorf("the unique key of a lost job: got %v, want it free", err)
	}
	wantError(t, "end after the end", db.End(t.Context(), ended(running, job.Succeeded)), store.ErrLeaseLost)
}

func testBack(t *testing.T, db Store) {
	h := register(t, db, "a")
	gone, kept := h.lease(t, retryable(0)), h.lease(t, newJob(1))
	h.lapse(t)
	h.reap(t, time.Hour)
	h.beat(t, time.Hour, store.Live)
	leases, err := db.Leases(t.Context(), h.id, h.epoch)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "its leases", leases, []job.Lease{kept})
	wantSame(t, "lapsed", lapsed(t, db, "reaper"), []string(nil))
	end(t, db, ended(kept, job.Succeeded))
	if got := h.claim(t, 1); len(got) != 1 || got[0].Job.ID != gone.JobID || got[0].Lease.Attempt != 2 {
		t.Errorf("claimed by the host that is back: got %+v, want the second attempt of %s", got, gone.JobID)
	}
}

func testReapSteps(t *testing.T, db Store) {
	h, other := register(t, db, "a"), register(t, db, "b")
	const jobs = 250
	for minute := range jobs {
		j := newJob(minute)
		if minute%5 > 0 {
			j.Retry = &job.Retry{Attempts: 2, On: []job.Class{job.Lost}}
		}
		h.lease(t, j)
	}
	h.lapse(t)
	if r := h.reap(t, time.Hour); r.Again != jobs*4/5 || r.Kept != jobs/5 {
		t.Errorf("reaped: got %d again, %d kept; want %d and %d", r.Again, r.Kept, jobs*4/5, jobs/5)
	}
	if got := len(other.claim(t, jobs)); got != jobs*4/5 {
		t.Errorf("claimed: got %d, want %d", got, jobs*4/5)
	}
}

// testReapRace has a host claim, end and come back while two others reap it: each
// job ends once, or has one lease, or waits.
func testReapRace(t *testing.T, db Store) {
	h := register(t, db, "a")
	const jobs = 60
	var all []job.ID
	for minute := range jobs {
		j := retryable(minute)
		j.Retry.Attempts = 100
		all = append(all, j.ID)
		h.submit(t, j, false)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var work sync.WaitGroup
	for _, reaper := range []string{"r1", "r2"} {
		work.Go(func() {
			for ctx.Err() == nil {
				if _, err := db.Reap(ctx, reaper, h.id, "", time.Hour); err != nil && ctx.Err() == nil {
					t.Errorf("reap: %v", err)
					return
				}
			}
		})
	}
	work.Go(func() {
		defer cancel()
		done := map[job.ID]bool{}
		for round := 0; len(done) < jobs && ctx.Err() == nil; round++ {
			ttl, state := time.Hour, store.Live
			if round%3 == 2 {
				ttl = -time.Minute
			}
			if _, err := db.Heartbeat(ctx, h.id, h.epoch, ttl, state); err != nil {
				t.Errorf("heartbeat: %v", err)
				return
			}
			claimed, err := db.Claim(ctx, store.Claim{Host: h.id, Epoch: h.epoch, Most: 5})
			if err != nil {
				t.Errorf("claim: %v", err)
				return
			}
			for i, c := range claimed {
				if i%2 == 0 {
					continue
				}
				err := db.End(ctx, ended(c.Lease, job.Succeeded))
				if err == nil {
					if done[c.Job.ID] {
						t.Errorf("job %s ended twice", c.Job.ID)
					}
					done[c.Job.ID] = true
				}
			}
			if len(done) > jobs/2 { // the rest is enough
				return
			}
		}
	})
	work.Wait()
	h.lapse(t)
	h.reap(t, time.Hour)
	for _, id := range all {
		if got := get(t, db, id).Status; got != job.New && got != job.Succeeded {
			t.Errorf("status of %s: got %s, want NEW or SUCCEEDED", id, got)
		}
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
