package storetest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

func save(t testing.TB, db Store, l job.Lease, c *job.Checkpoint) {
	t.Helper()
	if err := db.Checkpoint(t.Context(), l, c); err != nil {
		t.Fatalf("checkpoint of %s: %v", l.JobID, err)
	}
}

// again starts the host once more and returns what it adopts.
func (h host) again(t testing.TB) (host, []job.Claimed) {
	t.Helper()
	next := register(t, h.db, h.id)
	return next, next.adopt(t)
}

// adopt returns what the host has leases of once it has those of its earlier epochs.
func (h host) adopt(t testing.TB) []job.Claimed {
	t.Helper()
	leased, err := adopt(t.Context(), h.db, h.id, h.epoch)
	if err != nil {
		t.Fatalf("adopt: %v", err)
	}
	return leased
}

func adopt(ctx context.Context, db Store, host string, epoch int64) ([]job.Claimed, error) {
	if err := db.Adopt(ctx, host, epoch); err != nil {
		return nil, err
	}
	leases, err := db.Leases(ctx, host, epoch)
	if err != nil {
		return nil, err
	}
	ids := []job.ID{job.NewID()} // no job
	for _, l := range leases {
		ids = append(ids, l.JobID)
	}
	return db.Leased(ctx, host, epoch, ids)
}

// others returns leases that differ from one in a single thing.
func others(l job.Lease) map[string]job.Lease {
	leases := map[string]job.Lease{}
	for what, change := range map[string]func(*job.Lease){
		"another epoch":   func(l *job.Lease) { l.Epoch-- },
		"another attempt": func(l *job.Lease) { l.Attempt++ },
		"another host":    func(l *job.Lease) { l.HostID = "b" },
		"another job":     func(l *job.Lease) { l.JobID = job.NewID() },
	} {
		other := l
		change(&other)
		leases[what] = other
	}
	return leases
}

func testCheckpoint(t *testing.T, db Store) {
	h := register(t, db, "a")
	l := h.lease(t, newJob(0))
	plain := h.lease(t, newJob(1))
	save(t, db, l, &job.Checkpoint{Format: 1, Data: []byte("first"), Outputs: []job.Output{{Key: "a"}}, Usage: map[string]float64{"rows": 1}})
	want := &job.Checkpoint{
		Attempt: 1, Format: 7, Data: bytes.Repeat([]byte{0, 255}, job.MaxCheckpoint/2),
		Outputs: []job.Output{{Key: "query", Value: "https://example.org/q1", Kind: "link"}},
		Usage:   map[string]float64{"rows": 2.5},
	}
	save(t, db, l, want)
	for what, other := range others(l) {
		wantError(t, "checkpoint by "+what, db.Checkpoint(t.Context(), other, &job.Checkpoint{Data: []byte("zombie")}), store.ErrLeaseLost)
	}
	wantKind(t, "too large", db.Checkpoint(t.Context(), l, &job.Checkpoint{Data: make([]byte, job.MaxCheckpoint+1)}), errs.Invalid)

	next, adopted := h.again(t)
	wantSame(t, "adopted", claimedIDs(adopted), []job.ID{l.JobID, plain.JobID})
	wantSame(t, "checkpoint", adopted[0].Checkpoint, want)
	if got := adopted[1].Checkpoint; got != nil {
		t.Errorf("checkpoint of a job that saved none: got %+v, want none", got)
	}
	wantError(t, "checkpoint by an earlier life", db.Checkpoint(t.Context(), l, &job.Checkpoint{Data: []byte("zombie")}), store.ErrLeaseLost)

	save(t, db, adopted[0].Lease, &job.Checkpoint{}) // nothing but that there is one
	_, adopted = next.again(t)
	if c := adopted[0].Checkpoint; c == nil || c.Format != 0 || len(c.Data) > 0 || c.Outputs != nil || c.Usage != nil {
		t.Errorf("empty checkpoint: got %+v, want it to be there and empty", c)
	}

	e := ended(adopted[0].Lease, job.Succeeded)
	e.Checkpoint = want
	end(t, db, e)
	wantError(t, "checkpoint of an ended job", db.Checkpoint(t.Context(), adopted[0].Lease, want), store.ErrLeaseLost)
}

func testResume(t *testing.T, db Store) {
	h := register(t, db, "a")
	j := newJob(0)
	l := h.lease(t, j)
	save(t, db, l, &job.Checkpoint{Format: 2, Data: []byte("q1")})
	e := ended(l, job.Failed)
	e.Build, e.StartedAt = "0123", time.Date(2026, 5, 17, 9, 30, 0, 0, time.UTC)
	e.Outputs = []job.Output{{Key: "late", Value: "shown after the save"}}
	for what, other := range others(l) {
		stale := e
		stale.Lease = other
		_, _, err := db.Resume(t.Context(), stale)
		wantError(t, "resume by "+what, err, store.ErrLeaseLost)
	}
	wantStatus(t, db, j.ID, job.Accepted)

	want := l
	want.Attempt = 2
	for range 2 { // the answer to the first may have been lost
		got, by, err := db.Resume(t.Context(), e)
		if err != nil || by != "" {
			t.Fatalf("resume: got %q and error %v", by, err)
		}
		wantSame(t, "lease", got, want)
	}
	got := get(t, db, j.ID)
	if got.Status != job.Running || got.Attempt != 2 || !got.StartedAt.Equal(e.StartedAt) {
		t.Errorf("job: got %s in attempt %d since %v, want it RUNNING in the second since the first began", got.Status, got.Attempt, got.StartedAt)
	}
	wantError(t, "end by the lost attempt", db.End(t.Context(), e), store.ErrLeaseLost)
	wantError(t, "checkpoint by the lost attempt", db.Checkpoint(t.Context(), l, &job.Checkpoint{}), store.ErrLeaseLost)
	if err := db.GiveBack(t.Context(), []job.Lease{want}); err != nil { // it must not begin anew
		t.Fatal(err)
	}
	wantStatus(t, db, j.ID, job.Running)

	next, adopted := h.again(t)
	if c := adopted[0].Checkpoint; adopted[0].Lease.Attempt != 2 || c == nil || c.Attempt != 1 || string(c.Data) != "q1" {
		t.Errorf("adopted: got %+v with checkpoint %+v, want the second attempt with that of the first", adopted[0].Lease, c)
	} else {
		wantSame(t, "outputs of the checkpoint", c.Outputs, e.Outputs)
	}
	want.Epoch = next.epoch
	end(t, db, ended(want, job.Succeeded))
	if got := get(t, db, j.ID); got.Status != job.Succeeded || got.Attempt != 2 {
		t.Errorf("job: got %s in attempt %d, want it SUCCEEDED in the second", got.Status, got.Attempt)
	}
	_, _, err := db.Resume(t.Context(), e)
	wantError(t, "resume of an ended job", err, store.ErrLeaseLost)
}

func testResumeCanceled(t *testing.T, db Store) {
	h := register(t, db, "a")
	l := h.lease(t, newJob(0))
	if _, err := db.Cancel(t.Context(), l.JobID, "ann"); err != nil {
		t.Fatal(err)
	}
	got, by, err := db.Resume(t.Context(), ended(l, job.Failed))
	if err != nil || by != "ann" || got != l {
		t.Errorf("resume: got %+v canceled by %q and error %v, want the same lease canceled by ann", got, by, err)
	}
	end(t, db, ended(l, job.Canceled))
	wantStatus(t, db, l.JobID, job.Canceled)
}

func testCleanup(t *testing.T, db Store) {
	h := register(t, db, "a")
	cleanups := func() map[job.ID]job.Cleanup {
		t.Helper()
		due, err := db.Cleanups(t.Context(), h.id, h.epoch, 10)
		if err != nil {
			t.Fatal(err)
		}
		found := map[job.ID]job.Cleanup{}
		for _, c := range due {
			found[c.Job.ID] = c
		}
		return found
	}
	saved, bare, clean, zombie := h.lease(t, newJob(0)), h.lease(t, newJob(1)), h.lease(t, newJob(2)), h.lease(t, newJob(3))
	for _, l := range []job.Lease{saved, clean} {
		save(t, db, l, &job.Checkpoint{Format: 3, Data: []byte("table t")})
	}
	for _, l := range []job.Lease{saved, bare, clean, zombie} {
		e := ended(l, job.Failed)
		e.Checkpoint = &job.Checkpoint{}
		if l != clean {
			e.Remains = "the process crashed: \x00\xff"
		}
		if l == zombie {
			e.Epoch--
			wantError(t, "end by a zombie", db.End(t.Context(), e), store.ErrLeaseLost)
			continue
		}
		end(t, db, e)
		end(t, db, e) // the answer may have been lost
	}

	got := cleanups()
	if len(got) != 2 {
		t.Fatalf("to clean up: got %d, want the two whose remains are unknown", len(got))
	}
	c := got[saved.JobID]
	if c.Attempt != 1 || c.Reason != "the process crashed: \uFFFD\uFFFD" || c.Job.Pair.CommandID != "ping-1" || c.Since.IsZero() {
		t.Errorf("cleanup: got %+v of job %+v", c, c.Job)
	}
	wantSame(t, "checkpoint", c.Checkpoint, &job.Checkpoint{Format: 3, Data: []byte("table t")})
	if c := got[bare.JobID]; c.Checkpoint != nil {
		t.Errorf("cleanup without a checkpoint: got %+v", c.Checkpoint)
	}
	if due, err := db.Cleanups(t.Context(), "b", h.epoch, 10); err != nil || len(due) > 0 {
		t.Errorf("cleanups of another host: got %d and error %v, want none", len(due), err)
	}
	if due, err := db.Cleanups(t.Context(), h.id, h.epoch, 1); err != nil || len(due) != 1 {
		t.Errorf("one cleanup: got %d and error %v", len(due), err)
	}

	postponed := got[bare.JobID]
	postponed.Tries = 2
	if err := db.Postpone(t.Context(), h.id, h.epoch, postponed, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := db.Cleaned(t.Context(), h.id, h.epoch, c); err != nil {
		t.Fatal(err)
	}
	if got := cleanups(); len(got) > 0 {
		t.Errorf("due: got %d, want none: one is done and the other postponed", len(got))
	}
	if err := db.Postpone(t.Context(), h.id, h.epoch, postponed, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	c = cleanups()[bare.JobID]
	if c.Tries != 2 {
		t.Errorf("tries: got %d, want 2", c.Tries)
	}

	next := register(t, db, h.id)
	if due := cleanups(); len(due) > 0 {
		t.Errorf("cleanups of a life that is over: got %d, want none", len(due))
	}
	wantError(t, "postponed by a life that is over", db.Postpone(t.Context(), h.id, h.epoch, c, time.Now()), store.ErrFenced)
	wantError(t, "cleaned by a life that is over", db.Cleaned(t.Context(), h.id, h.epoch, c), store.ErrFenced)
	h = next
	wantSame(t, "cleanup in the next life", cleanups()[bare.JobID], c)
}

// testCleanupOfEach has two attempts of a job leave something: each is cleaned up
// after with its own checkpoint.
func testCleanupOfEach(t *testing.T, db Store) {
	h := register(t, db, "a")
	j := newJob(0)
	first := ended(h.lease(t, j), job.Failed)
	first.Remains = "it crashed before it saved"
	if _, err := db.Retry(t.Context(), first, time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Due(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := ended(h.claim(t, 1)[0].Lease, job.Failed)
	save(t, db, second.Lease, &job.Checkpoint{Format: 3, Data: []byte("table t")})
	second.Checkpoint, second.Remains = &job.Checkpoint{}, "it crashed later"
	end(t, db, second)
	due, err := db.Cleanups(t.Context(), h.id, h.epoch, 10)
	if err != nil {
		t.Fatal(err)
	}
	got := map[int]*job.Checkpoint{}
	for _, c := range due {
		got[c.Attempt] = c.Checkpoint
	}
	wantSame(t, "checkpoints", got, map[int]*job.Checkpoint{1: nil, 2: {Format: 3, Data: []byte("table t")}})
}

// testCheckpointRace adopts a lease while an earlier life saves checkpoints with
// it: what was adopted is the last of them.
func testCheckpointRace(t *testing.T, db Store) {
	for range 5 {
		h := register(t, db, "a")
		l := h.lease(t, newJob(0))
		save(t, db, l, &job.Checkpoint{Format: 1})
		var writers sync.WaitGroup
		begun := make(chan struct{}, 4)
		for range 4 {
			writers.Go(func() {
				for n := int32(2); ; n++ {
					err := db.Checkpoint(t.Context(), l, &job.Checkpoint{Format: n})
					if errors.Is(err, store.ErrLeaseLost) {
						return
					}
					if err != nil {
						t.Errorf("checkpoint: %v", err)
						return
					}
					if n == 2 {
						begun <- struct{}{}
					}
				}
			})
		}
		<-begun
		next, adopted := h.again(t)
		writers.Wait()
		_, later := next.again(t)
		wantSame(t, "checkpoint after the adoption", later[0].Checkpoint, adopted[0].Checkpoint)
		end(t, db, ended(later[0].Lease, job.Succeeded))
	}
}
