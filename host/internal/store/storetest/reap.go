package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

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
