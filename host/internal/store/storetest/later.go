package storetest

import (
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

func testDue(t *testing.T, db Store) {
	h := register(t, db, "a")
	if due, some, err := db.NextDue(t.Context()); err != nil || some {
		t.Errorf("next due with nothing: got %v, %t and error %v, want nothing", due, some, err)
	}
	after := func(d time.Duration) *job.Job {
		return change(0, func(j *job.Job) { j.StartAfter = time.Now().UTC().Truncate(time.Microsecond).Add(d) })
	}
	// The newest is due for longest, the oldest not yet.
	future, recent, longest := after(time.Hour), after(-time.Minute), after(-time.Hour)
	for _, j := range []*job.Job{future, recent, longest} {
		if l := h.submit(t, j, true); l != nil {
			t.Errorf("submit of a job that is to start later: got lease %+v, want none", l)
		}
		wantSame(t, "start_after", get(t, db, j.ID).DueAt, j.StartAfter)
		wantStatus(t, db, j.ID, job.New)
	}
	if got := h.claim(t, 16); len(got) > 0 {
		t.Errorf("claimed before they are due: got %d, want none", len(got))
	}
	h.lease(t, newJob(1)) // others do not wait for them
	if due, some, err := db.NextDue(t.Context()); err != nil || !some || due != 0 {
		t.Errorf("next due: got %v, %t and error %v, want at once", due, some, err)
	}
	if n, err := db.Due(t.Context()); err != nil || n != 2 {
		t.Errorf("due: got %d and error %v, want 2", n, err)
	}
	if n, err := db.Due(t.Context()); err != nil || n != 0 {
		t.Errorf("due again: got %d and error %v, want none", n, err)
	}
	wantSame(t, "claimed", claimedIDs(h.claim(t, 16)), []job.ID{longest.ID, recent.ID})
	if due, some, err := db.NextDue(t.Context()); err != nil || !some || due < 50*time.Minute || due > time.Hour {
		t.Errorf("next due: got %v, %t and error %v, want in an hour", due, some, err)
	}
	if c, err := db.Cancel(t.Context(), future.ID, "ann"); err != nil || c.Status != job.Canceled {
		t.Errorf("cancel: got %+v and error %v, want CANCELED", c, err)
	}
	if _, some, err := db.NextDue(t.Context()); err != nil || some {
		t.Errorf("next due after the cancel: got %t and error %v, want nothing", some, err)
	}
}

// testDueTurns has jobs of several users and priorities come due in one step: users
// take turns, each behind what waits of it already.
func testDueTurns(t *testing.T, db Store) {
	h := register(t, db, "a")
	past := time.Now().UTC().Truncate(time.Microsecond).Add(-time.Hour)
	minute := 10
	due := func(user string, priority int, after time.Duration) *job.Job {
		minute++
		return change(minute, func(j *job.Job) { j.User, j.Priority, j.StartAfter = user, priority, past.Add(after) })
	}
	first, second := ofUser(0, "ann"), ofUser(1, "ann")
	h.wait(t, first, second)
	ann2, ann1 := due("ann", 0, 3*time.Minute), due("ann", 0, time.Minute) // the younger is due for longer
	bob1, bob2 := due("bob", 0, time.Minute), due("bob", 0, time.Minute)
	high1, high2, high3 := due("ann", 10, 5*time.Minute), due("ann", 10, 6*time.Minute), due("bob", 10, 7*time.Minute)
	for _, j := range []*job.Job{ann2, ann1, bob1, bob2, high1, high2, high3} {
		h.submit(t, j, true)
	}
	if n, err := db.Due(t.Context()); err != nil || n != 7 {
		t.Fatalf("due: got %d and error %v, want 7", n, err)
	}
	wantSame(t, "claimed", claimedIDs(h.claimAll(t)),
		ids([]*job.Job{high1, high3, high2, first, bob1, second, bob2, ann1, ann2}))
}

func testExpire(t *testing.T, db Store) {
	h := register(t, db, "a")
	due := func(d time.Duration) *job.Job {
		return change(0, func(j *job.Job) { j.Deadline = time.Now().UTC().Truncate(time.Microsecond).Add(d) })
	}
	over, open, none := due(-time.Second), due(time.Hour), newJob(0)
	over.UniqueKey = "nightly"
	h.keyed(t, over, store.Key{})
	h.wait(t, open, none)
	expired, err := db.Expire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "expired", expired, []job.ID{over.ID})
	got := get(t, db, over.ID)
	if got.Status != job.Killed || got.Error == nil || got.Error.Class != job.TimedOut || got.Attempt != 0 {
		t.Errorf("expired job: got %s with error %+v in attempt %d, want KILLED with class timeout before any", got.Status, got.Error, got.Attempt)
	}
	wantSame(t, "deadline", get(t, db, open.ID).Deadline, open.Deadline)
	if expired, err := db.Expire(t.Context()); err != nil || len(expired) > 0 {
		t.Errorf("expire again: got %v and error %v, want none", expired, err)
	}
	next := newJob(1)
	next.UniqueKey = "nightly"
	h.keyed(t, next, store.Key{}) // the key is free
	wantSame(t, "claimed", claimedIDs(h.claim(t, 16)), []job.ID{open.ID, none.ID, next.ID})
}

func testRetry(t *testing.T, db Store) {
	h := register(t, db, "a")
	j := newJob(0)
	j.Retry = &job.Retry{Attempts: 3, Backoff: time.Second, On: []job.Class{job.WorkFailed}}
	l := h.lease(t, j)
	save(t, db, l, &job.Checkpoint{Format: 1})
	e := ended(l, job.Failed)
	e.Build, e.Checkpoint = "0123", &job.Checkpoint{Format: 1}
	for what, other := range others(l) {
		stale := e
		stale.Lease = other
		_, err := db.Retry(t.Context(), stale, time.Now())
		wantError(t, "retry by "+what, err, store.ErrLeaseLost)
	}
	wantStatus(t, db, j.ID, job.Accepted)

	at := time.Now().UTC().Add(-time.Second).Truncate(time.Microsecond)
	for range 2 { // the answer to the first may have been lost
		if by, err := db.Retry(t.Context(), e, at); err != nil || by != "" {
			t.Fatalf("retry: got %q and error %v", by, err)
		}
	}
	got := get(t, db, j.ID)
	if got.Status != job.New || got.Attempt != 1 || got.Retries != 1 || !got.DueAt.Equal(at) {
		t.Errorf("job: got %s after attempt %d and %d retries, due %v; want NEW after 1 and 1, due %v", got.Status, got.Attempt, got.Retries, got.DueAt, at)
	}
	wantSame(t, "policy", got.Retry, j.Retry)
	wantError(t, "end by the attempt before", db.End(t.Context(), e), store.ErrLeaseLost)

	if n, err := db.Due(t.Context()); err != nil || n != 1 {
		t.Fatalf("due: got %d and error %v, want 1", n, err)
	}
	claimed := h.claim(t, 16)
	if len(claimed) != 1 {
		t.Fatalf("claimed: got %d, want the job", len(claimed))
	}
	again := claimed[0]
	if again.Lease.Attempt != 2 || again.Retries != 1 || again.Resume {
		t.Errorf("claimed: got attempt %d after %d retries, resume %t; want a second one that begins anew", again.Lease.Attempt, again.Retries, again.Resume)
	}
	if by, err := db.Retry(t.Context(), e, at); err != nil || by != "" { // a repeat, late
		t.Errorf("retry of the attempt before: got %q and error %v, want nothing to happen", by, err)
	}
	wantStatus(t, db, j.ID, job.Accepted)
	next, adopted := h.again(t)
	if len(adopted) != 1 || adopted[0].Checkpoint != nil || adopted[0].Retries != 1 {
		t.Fatalf("adopted: got %+v, want the second attempt without a checkpoint", adopted)
	}
	last := adopted[0].Lease
	end(t, db, ended(last, job.Succeeded))
	if got := get(t, db, j.ID); got.Status != job.Succeeded || got.Attempt != 2 {
		t.Errorf("job: got %s in attempt %d, want it SUCCEEDED in the second", got.Status, got.Attempt)
	}
	_, err := db.Retry(t.Context(), ended(job.Lease{JobID: j.ID, Attempt: 2, HostID: next.id, Epoch: next.epoch + 1}, job.Failed), at)
	wantError(t, "retry of an ended job", err, store.ErrLeaseLost)
}

func testRetryCanceled(t *testing.T, db Store) {
	h := register(t, db, "a")
	l := h.lease(t, newJob(0))
	if _, err := db.Cancel(t.Context(), l.JobID, "ann"); err != nil {
		t.Fatal(err)
	}
	if by, err := db.Retry(t.Context(), ended(l, job.Failed), time.Now()); err != nil || by != "ann" {
		t.Errorf("retry of a job that is to be canceled: got %q and error %v, want ann", by, err)
	}
	wantStatus(t, db, l.JobID, job.Canceling)
	end(t, db, ended(l, job.Canceled))

	// While it waits for another attempt, a cancel ends it at once.
	l = h.lease(t, newJob(1))
	if by, err := db.Retry(t.Context(), ended(l, job.Failed), time.Now().Add(time.Hour)); err != nil || by != "" {
		t.Fatalf("retry: got %q and error %v", by, err)
	}
	if c, err := db.Cancel(t.Context(), l.JobID, "ann"); err != nil || c.Status != job.Canceled {
		t.Errorf("cancel between attempts: got %+v and error %v, want CANCELED", c, err)
	}
	if got := get(t, db, l.JobID); got.Attempt != 1 || got.CanceledBy != "ann" || got.HostID != h.id {
		t.Errorf("job: got attempt %d on %q canceled by %q, want 1 on %s by ann", got.Attempt, got.HostID, got.CanceledBy, h.id)
	}
}

// testRetryRace cancels jobs while their attempts are retried: each wish is heeded.
func testRetryRace(t *testing.T, db Store) {
	h := register(t, db, "a")
	for i := range 40 {
		l := h.lease(t, newJob(i))
		var by string
		together(
			func() {
				var err error
				if by, err = db.Retry(t.Context(), ended(l, job.Failed), time.Now().Add(time.Hour)); err != nil {
					t.Errorf("retry: %v", err)
				}
			},
			func() {
				if _, err := db.Cancel(t.Context(), l.JobID, "ann"); err != nil {
					t.Errorf("cancel: %v", err)
				}
			},
		)
		want := job.Canceled
		if by != "" { // the host has to end it
			want = job.Canceling
		}
		wantStatus(t, db, l.JobID, want)
		if by != "" {
			end(t, db, ended(l, job.Canceled))
		}
	}
}
