package storetest

import (
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

func testSubmitClaim(t *testing.T, db Store) {
	h := register(t, db, "a")
	h.lease(t, newJob(0))
	waiting := newJob(1)
	if l := h.submit(t, waiting, false); l != nil {
		t.Errorf("submit by a busy host: got %+v, want no lease", l)
	}
	behind := newJob(2)
	if l := h.submit(t, behind, true); l != nil {
		t.Errorf("submit while an older job waits: got %+v, want no lease", l)
	}
	wantSame(t, "claimed", claimedIDs(h.claim(t, 10)), []job.ID{waiting.ID, behind.ID})
	h.lease(t, newJob(3))

	again := newJob(4)
	h.lease(t, again)
	_, err := db.Submit(t.Context(), store.Submission{Job: again, Host: h.id, Epoch: h.epoch, Claim: true})
	wantKind(t, "submit twice", err, errs.Conflict)
}

func testClaimOrder(t *testing.T, db Store) {
	h := register(t, db, "a")
	var want []job.ID
	for _, minute := range []int{3, 1, 6, 0, 5, 2, 4} { // clocks of hosts may differ
		j := newJob(minute)
		want = append(want, j.ID)
		h.submit(t, j, false)
	}
	if got := h.claim(t, 0); len(got) > 0 {
		t.Errorf("claim of none: got %d", len(got))
	}
	first := h.claim(t, 3)
	got := append(claimedIDs(first), claimedIDs(h.claim(t, 100))...)
	wantSame(t, "order of claims", got, want)
	if got := h.claim(t, 1); len(got) > 0 {
		t.Errorf("claim with nothing waiting: got %d", len(got))
	}

	wantSame(t, "lease", first[0].Lease, job.Lease{JobID: want[0], Attempt: 1, HostID: h.id, Epoch: h.epoch})
	wantSame(t, "claimed job", first[0].Job, get(t, db, want[0]))
}

func testGiveBack(t *testing.T, db Store) {
	h := register(t, db, "a")
	var want []job.ID
	for minute := range 4 {
		j := newJob(minute)
		want = append(want, j.ID)
		h.submit(t, j, false)
	}
	claimed := h.claim(t, 3)
	runs := claimed[2].Lease
	if err := db.Started(t.Context(), []job.Lease{runs}, time.Now()); err != nil {
		t.Fatal(err)
	}
	stale := claimed[1].Lease
	stale.Epoch--
	if err := db.GiveBack(t.Context(), []job.Lease{claimed[0].Lease, stale, runs}); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, db, want[0], job.New)
	wantStatus(t, db, want[1], job.Accepted)
	wantStatus(t, db, want[2], job.Running)
	if got := get(t, db, want[0]); got.Attempt != 0 || got.HostID != "" {
		t.Errorf("job given back: got attempt %d of host %q, want neither", got.Attempt, got.HostID)
	}
	if err := db.GiveBack(t.Context(), []job.Lease{claimed[1].Lease, claimed[0].Lease}); err != nil {
		t.Fatal(err)
	}
	again := h.claim(t, 10)
	wantSame(t, "claimed again", claimedIDs(again), []job.ID{want[0], want[1], want[3]})
	if again[0].Lease.Attempt != 1 {
		t.Errorf("attempt after a give back: got %d, want 1", again[0].Lease.Attempt)
	}
}

func testGiveBackCanceled(t *testing.T, db Store) {
	h := register(t, db, "a")
	l := h.lease(t, newJob(0))
	if _, err := db.Cancel(t.Context(), l.JobID, "ann"); err != nil {
		t.Fatal(err)
	}
	if err := db.GiveBack(t.Context(), []job.Lease{l}); err != nil {
		t.Fatal(err)
	}
	got := get(t, db, l.JobID)
	if got.Status != job.Canceled || got.CanceledBy != "ann" || got.Error == nil || got.Error.Class != job.WasCanceled {
		t.Errorf("got %s by %q with error %+v, want it canceled by ann", got.Status, got.CanceledBy, got.Error)
	}
}

func testZombie(t *testing.T, db Store) {
	old := register(t, db, "a")
	l := old.lease(t, newJob(0))
	now := register(t, db, "a")
	now.adopt(t)
	wantError(t, "end by an earlier epoch", db.End(t.Context(), ended(l, job.Succeeded)), store.ErrLeaseLost)
	for what, change := range map[string]func(*job.Lease){
		"another attempt": func(l *job.Lease) { l.Attempt++ },
		"another host":    func(l *job.Lease) { l.HostID = "b" },
		"another job":     func(l *job.Lease) { l.JobID = job.NewID() },
	} {
		other := l
		other.Epoch = now.epoch
		change(&other)
		wantError(t, "end of "+what, db.End(t.Context(), ended(other, job.Succeeded)), store.ErrLeaseLost)
	}
	wantStatus(t, db, l.JobID, job.Accepted)

	l.Epoch = now.epoch
	end(t, db, ended(l, job.Failed))
	other := l
	other.Epoch--
	wantError(t, "end after the end", db.End(t.Context(), ended(other, job.Succeeded)), store.ErrLeaseLost)
	wantStatus(t, db, l.JobID, job.Failed)
}

func testRepeatedEnd(t *testing.T, db Store) {
	h := register(t, db, "a")
	l := h.lease(t, newJob(0))
	end(t, db, ended(l, job.Failed))
	want := get(t, db, l.JobID)
	end(t, db, ended(l, job.Failed))
	end(t, db, ended(l, job.Succeeded))
	wantSame(t, "the job after repeats", get(t, db, l.JobID), want)
}

func testFenced(t *testing.T, db Store) {
	old := register(t, db, "a")
	beat := func(id string, epoch int64) error {
		_, err := db.Heartbeat(t.Context(), id, epoch, time.Second, store.Live)
		return err
	}
	if err := beat(old.id, old.epoch); err != nil {
		t.Errorf("heartbeat: %v", err)
	}
	now := register(t, db, "a")
	if now.epoch <= old.epoch {
		t.Errorf("epoch of the second start: got %d, want more than %d", now.epoch, old.epoch)
	}
	wantError(t, "heartbeat", beat(old.id, old.epoch), store.ErrFenced)
	wantError(t, "heartbeat of nobody", beat("nobody", 1), store.ErrFenced)

	j := newJob(0)
	if l := old.submit(t, j, true); l != nil {
		t.Errorf("submit: got lease %+v, want the job to wait", l)
	}
	_, err := db.Claim(t.Context(), store.Claim{Host: old.id, Epoch: old.epoch, Most: 1})
	wantError(t, "claim", err, store.ErrFenced)
	_, err = db.Claim(t.Context(), store.Claim{Host: "nobody", Epoch: 1, Most: 1})
	wantError(t, "claim of nobody", err, store.ErrFenced)
	wantError(t, "adopt", db.Adopt(t.Context(), old.id, old.epoch), store.ErrFenced)
	wantSame(t, "claimed", claimedIDs(now.claim(t, 1)), []job.ID{j.ID})
}

func testAdopt(t *testing.T, db Store) {
	old, other := register(t, db, "a"), register(t, db, "b")
	accepted, running, canceling, done, foreign := newJob(0), newJob(1), newJob(2), newJob(3), newJob(4)
	leases := map[job.ID]job.Lease{}
	for _, j := range []*job.Job{accepted, running, canceling, done} {
		leases[j.ID] = old.lease(t, j)
	}
	theirs := other.lease(t, foreign)
	reach(t, db, leases[running.ID], job.Running)
	reach(t, db, leases[canceling.ID], job.Canceling)
	end(t, db, ended(leases[done.ID], job.Succeeded))

	now := register(t, db, "a")
	adopted := now.adopt(t)
	wantSame(t, "adopted", claimedIDs(adopted), []job.ID{accepted.ID, running.ID, canceling.ID})
	wantSame(t, "adopted again, as after a lost answer", now.adopt(t), adopted)
	for i, want := range []job.Status{job.Accepted, job.Running, job.Canceling} {
		if got := adopted[i].Job.Status; got != want {
			t.Errorf("status of adopted job %d: got %s, want %s", i, got, want)
		}
		wantSame(t, "adopted lease", adopted[i].Lease, job.Lease{JobID: adopted[i].Job.ID, Attempt: 1, HostID: "a", Epoch: now.epoch})
		end(t, db, ended(adopted[i].Lease, job.Failed))
	}
	if left := now.adopt(t); len(left) > 0 {
		t.Errorf("leased after all have ended: got %d jobs, want none", len(left))
	}
	end(t, db, ended(theirs, job.Succeeded))
}

func testLeases(t *testing.T, db Store) {
	h, other := register(t, db, "a"), register(t, db, "b")
	first, second, done := h.lease(t, newJob(0)), h.lease(t, newJob(1)), h.lease(t, newJob(2))
	other.lease(t, newJob(3))
	h.submit(t, newJob(4), false)
	end(t, db, ended(done, job.Succeeded))
	reach(t, db, second, job.Canceling)
	leases := func(h host) []job.Lease {
		t.Helper()
		leases, err := db.Leases(t.Context(), h.id, h.epoch)
		if err != nil {
			t.Fatal(err)
		}
		return leases
	}
	wantSame(t, "leases", leases(h), []job.Lease{first, second})
	wantSame(t, "leases of the next epoch", leases(register(t, db, "a")), []job.Lease(nil))
}

func testCancel(t *testing.T, db Store) {
	h := register(t, db, "a")
	cancel := func(id job.ID, by string) store.Cancellation {
		t.Helper()
		c, err := db.Cancel(t.Context(), id, by)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	waiting := newJob(0)
	h.submit(t, waiting, false)
	wantSame(t, "cancel a waiting job", cancel(waiting.ID, "ann"), store.Cancellation{Status: job.Canceled, Waited: true})
	wantSame(t, "cancel it again", cancel(waiting.ID, "bob"), store.Cancellation{Status: job.Canceled})
	got := get(t, db, waiting.ID)
	wantSame(t, "error", got.Error, &job.Error{Class: job.WasCanceled, Message: "canceled by ann"})
	if got.CanceledBy != "ann" || got.EndedAt.IsZero() || got.Attempt != 0 {
		t.Errorf("got canceled by %q at %v, attempt %d; want ann, a time, 0", got.CanceledBy, got.EndedAt, got.Attempt)
	}

	l := h.lease(t, newJob(1))
	reach(t, db, l, job.Running)
	want := store.Cancellation{Status: job.Canceling, Host: h.id, Attempt: 1}
	wantSame(t, "cancel a running job", cancel(l.JobID, "ann"), want)
	wantSame(t, "cancel it again", cancel(l.JobID, "bob"), want)
	if got := get(t, db, l.JobID); got.Status != job.Canceling || got.CanceledBy != "ann" {
		t.Errorf("got %s by %q, want CANCELING by ann", got.Status, got.CanceledBy)
	}
	wishes, err := db.Canceling(t.Context(), h.id, h.epoch)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "wishes", wishes, []store.CancelWish{{Lease: l, By: "ann"}})
	end(t, db, ended(l, job.Canceled))
	if got := get(t, db, l.JobID); got.CanceledBy != "ann" {
		t.Errorf("canceled by: got %q, want ann", got.CanceledBy)
	}

	late := h.lease(t, newJob(2))
	cancel(late.JobID, "ann")
	end(t, db, ended(late, job.Succeeded))
	wantSame(t, "cancel an ended job", cancel(late.JobID, "ann"), store.Cancellation{Status: job.Succeeded})
	if got := get(t, db, late.JobID); got.CanceledBy != "" {
		t.Errorf("a job that succeeded all the same: got canceled by %q, want nobody", got.CanceledBy)
	}
	if wishes, err := db.Canceling(t.Context(), h.id, h.epoch); err != nil || len(wishes) > 0 {
		t.Errorf("wishes at the end: got %v and error %v, want none", wishes, err)
	}
}
