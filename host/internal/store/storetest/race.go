package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

func testConcurrentClaims(t *testing.T, db Store) {
	const jobs, claimers = 300, 6
	h := register(t, db, "submitter")
	var all sync.WaitGroup
	for i := range jobs {
		all.Go(func() { h.submit(t, newJob(i), false) })
	}
	all.Wait()
	var (
		mu     sync.Mutex
		owners = map[job.ID]string{}
	)
	for i := range claimers {
		claimer := register(t, db, fmt.Sprintf("claimer-%d", i))
		all.Go(func() {
			for {
				claimed, err := db.Claim(t.Context(), store.Claim{Host: claimer.id, Epoch: claimer.epoch, Most: 7})
				if err != nil || len(claimed) == 0 {
					if err != nil {
						t.Errorf("claim: %v", err)
					}
					return
				}
				mu.Lock()
				for _, c := range claimed {
					if before, twice := owners[c.Job.ID]; twice {
						t.Errorf("job %s was claimed by %s and by %s", c.Job.ID, before, claimer.id)
					}
					owners[c.Job.ID] = claimer.id
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	// A claimer passes over rows that another has locked, so it may have left
	// early; none is lost.
	for _, c := range h.claim(t, jobs) {
		owners[c.Job.ID] = h.id
	}
	if len(owners) != jobs {
		t.Errorf("claimed jobs: got %d, want %d", len(owners), jobs)
	}
}

// testCancelRaces cancels jobs while they are claimed, given back and ended. A
// cancel that said CANCELED is final, and one that said CANCELING is never
// forgotten.
func testCancelRaces(t *testing.T, db Store) {
	const rounds = 60
	h := register(t, db, "a")
	for i := range rounds {
		j := newJob(i)
		h.submit(t, j, false)
		var (
			race   sync.WaitGroup
			answer store.Cancellation
			ended  bool
		)
		race.Go(func() {
			var err error
			if answer, err = db.Cancel(t.Context(), j.ID, "ann"); err != nil {
				t.Errorf("cancel: %v", err)
			}
		})
		race.Go(func() { ended = claimAndEnd(t, h, i%2 == 0) })
		race.Wait()
		got := get(t, db, j.ID)
		switch answer.Status {
		case job.Canceled:
			if ended || got.Status != job.Canceled {
				t.Errorf("cancel said CANCELED: got %s, ended by its host: %t", got.Status, ended)
			}
		case job.Canceling:
			if got.Status != job.Canceled && got.Status != job.Canceling && !(ended && got.Status == job.Succeeded) {
				t.Errorf("cancel said CANCELING: got %s, ended by its host: %t", got.Status, ended)
			}
		case job.Succeeded:
			if !ended || got.Status != job.Succeeded {
				t.Errorf("cancel said SUCCEEDED: got %s, ended by its host: %t", got.Status, ended)
			}
		default:
			t.Errorf("cancel said %s", answer.Status)
		}
	}
}

// claimAndEnd claims what waits and ends it, perhaps after giving it back once.
// It reports whether it recorded an end.
func claimAndEnd(t *testing.T, h host, back bool) bool {
	claimed := h.claim(t, 1)
	if len(claimed) == 0 {
		return false
	}
	if back {
		if err := h.db.GiveBack(t.Context(), []job.Lease{claimed[0].Lease}); err != nil {
			t.Errorf("give back: %v", err)
		}
		if claimed = h.claim(t, 1); len(claimed) == 0 {
			return false
		}
	}
	if err := h.db.End(t.Context(), ended(claimed[0].Lease, job.Succeeded)); err != nil {
		t.Errorf("end: %v", err)
	}
	return true
}

// testAdoptRace starts a host again while its earlier epoch still submits and
// claims: whatever that got is adopted.
func testAdoptRace(t *testing.T, db Store) {
	const rounds, callers = 8, 8
	for round := range rounds {
		old := register(t, db, "a")
		begun := make(chan struct{}, callers)
		restarted := make(chan struct{})
		var all sync.WaitGroup
		for c := range callers {
			all.Go(func() {
				for i := 0; ; i++ {
					old.submit(t, newJob(round*1000+i), c%2 == 0)
					if _, err := db.Claim(t.Context(), store.Claim{Host: old.id, Epoch: old.epoch, Most: 1}); err != nil && !errors.Is(err, store.ErrFenced) {
						t.Errorf("claim: %v", err)
					}
					if i == 0 {
						begun <- struct{}{}
					}
					select {
					case <-restarted:
						return
					default:
					}
				}
			})
		}
		<-begun
		now := register(t, db, "a")
		adopted := claimedIDs(now.adopt(t))
		close(restarted)
		all.Wait()
		wantSame(t, "adopted once the earlier epoch does nothing more", claimedIDs(now.adopt(t)), adopted)
	}
}

func testCombined(t *testing.T, db Store) {
	const callers, each = 64, 8
	h := register(t, db, "a")
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := range each {
				j := newJob(c*each + i)
				j.Name = fmt.Sprintf("job %d of %d", i, c)
				l := h.lease(t, j)
				if got := get(t, db, j.ID); got.Name != j.Name || got.Status != job.Accepted {
					t.Errorf("read after submit: got %q %s, want %q ACCEPTED", got.Name, got.Status, j.Name)
				}
				e := ended(l, job.Succeeded)
				e.Result = &job.Result{ContentType: "text/plain", Inline: []byte(j.Name)}
				end(t, db, e)
				if got := get(t, db, j.ID); got.Status != job.Succeeded || string(got.Result.Inline) != j.Name {
					t.Errorf("read after end: got %s with result %q, want SUCCEEDED with %q", got.Status, got.Result.Inline, j.Name)
				}
			}
		})
	}
	all.Wait()
}

func testBadMember(t *testing.T, db Store) {
	h := register(t, db, "a")
	twice := newJob(0)
	end(t, db, ended(h.lease(t, twice), job.Succeeded))
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			j := newJob(i)
			if i%8 == 3 {
				_, err := db.Submit(t.Context(), store.Submission{Job: twice, Host: h.id, Epoch: h.epoch, Claim: true})
				wantKind(t, "submit a known id", err, errs.Conflict)
				return
			}
			l := h.lease(t, j)
			if i%8 == 5 {
				l.Attempt++
				wantError(t, "end of no lease", db.End(t.Context(), ended(l, job.Succeeded)), store.ErrLeaseLost)
				l.Attempt--
			}
			end(t, db, ended(l, job.Succeeded))
		})
	}
	all.Wait()
	wantStatus(t, db, twice.ID, job.Succeeded)
}

func testCallerLeaves(t *testing.T, db Store) {
	h := register(t, db, "a")
	gone, leave := context.WithCancel(t.Context())
	leave()
	_, err := db.Submit(gone, store.Submission{Job: newJob(0), Host: h.id, Epoch: h.epoch})
	wantError(t, "submit", err, context.Canceled)
	_, err = db.Job(gone, job.NewID())
	wantError(t, "read", err, context.Canceled)

	// Whoever leaves while it is written leaves nothing half done.
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			ctx, leave := context.WithCancel(t.Context())
			j := newJob(i)
			all.Go(leave)
			_, err := db.Submit(ctx, store.Submission{Job: j, Host: h.id, Epoch: h.epoch, Claim: true})
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("submit: got %v, want nothing or that the caller left", err)
			}
		})
	}
	all.Wait()
	if _, err := db.Jobs(t.Context(), job.Filter{Limit: 100}); err != nil {
		t.Error(err)
	}
}
