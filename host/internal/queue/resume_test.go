package queue_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// attempts returns the ordinals of the attempts that ran, and which of them
// resumed.
func (r *timed) attempts() (ordinals []int, resumed []bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.claims {
		ordinals = append(ordinals, c.Lease.Attempt)
		resumed = append(resumed, c.Resume)
	}
	return ordinals, resumed
}

// A job whose attempts are lost goes on from its checkpoint in the same lease and
// the same slot, and ends once.
func TestLostAttemptsAreResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixtureOf(t, 1, newMemory())
		id := job.NewID()
		f.runner.crashes = map[job.ID]int{id: 2}
		f.serve()
		if err := f.Submit(t.Context(), &job.Job{ID: id, Request: job.Request{Description: "1s"}}); err != nil {
			t.Fatal(err)
		}
		next := submit(t, f, "1s")
		time.Sleep(2500 * time.Millisecond)
		if got := f.store.end(id).Status; got != "" {
			t.Errorf("status = %q while it is resumed, want no end", got)
		}
		time.Sleep(2 * time.Second)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		for _, id := range []job.ID{id, next} {
			if got := f.store.end(id); got.Status != job.Succeeded {
				t.Errorf("end = %+v, want SUCCEEDED", got)
			}
		}
		ordinals, resumed := f.runner.attempts()
		if !slices.Equal(ordinals, []int{1, 2, 3, 1}) || !slices.Equal(resumed, []bool{false, true, true, false}) {
			t.Errorf("attempts %v ran, resumed %v, want the first job thrice and then the next", ordinals, resumed)
		}
		if c := f.runner.claims[2]; c.Checkpoint == nil || c.Checkpoint.Attempt != 1 || c.Job.Status != job.Running || c.Job.Attempt != 3 {
			t.Errorf("third attempt = %+v of %+v, want it RUNNING from the checkpoint of the first", c, c.Job)
		}
		if !slices.Equal(f.runner.carried, []int{2, 3}) || f.runner.acked != 4 || f.runner.most != 1 || f.remains != 0 {
			t.Errorf("carried to %v, %d acknowledged, %d at once, %d left something; want 2 and 3, 4, 1, 0", f.runner.carried, f.runner.acked, f.runner.most, f.remains)
		}
		if told := f.ended[id]; told.Attempt != 3 {
			t.Errorf("told = %+v, want the third attempt", told)
		}
	})
}

// Whoever asked to cancel a job that is then lost gets it CANCELED, and what it
// has left is known.
func TestCanceledJobIsNotResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixtureOf(t, 1, newMemory())
		id := job.NewID()
		f.runner.crashes = map[job.ID]int{id: 1}
		f.serve()
		if err := f.Submit(t.Context(), &job.Job{ID: id, Request: job.Request{Description: "1s"}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f.store.set(func() { f.store.wishes[id] = "bob" }) // by another host, not heeded yet
		time.Sleep(1500 * time.Millisecond)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		got := f.store.end(id)
		if got.Status != job.Canceled || !strings.HasPrefix(got.Error.Message, "canceled by bob; ") || got.Remains == "" || f.remains != 1 {
			t.Errorf("end = %+v (%v), told %d times that something remains; want it canceled by bob, once", got, got.Error, f.remains)
		}
	})
}

// A lost job waits for the store to be resumed; when the host stops before that,
// its next life decides.
func TestResumeWhileTheStoreIsAway(t *testing.T) {
	for name, back := range map[string]bool{"it comes back": true, "the host stops": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := fixtureOf(t, 1, newMemory())
				id := job.NewID()
				f.runner.crashes = map[job.ID]int{id: 1}
				f.serve()
				if err := f.Submit(t.Context(), &job.Job{ID: id, Request: job.Request{Description: "1s"}}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				f.store.set(func() { f.store.away = errs.Errorf(errs.Unavailable, "away") })
				time.Sleep(time.Minute)
				if back {
					f.store.set(func() { f.store.away = nil })
					time.Sleep(10 * time.Second)
				}
				if err := f.stop(); err != nil {
					t.Fatal(err)
				}
				want := job.Status("")
				if back {
					want = job.Succeeded
				}
				if got := f.store.end(id).Status; got != want {
					t.Errorf("status = %q, want %q", got, want)
				}
				if !back && (f.store.leased[id] == nil || f.runner.acked != 0) {
					t.Error("the lost attempt was let go of; the next life would not find it")
				}
			})
		})
	}
}

// A job that was resumed without an answer from the store, and that somebody asks to
// cancel before there is one, ends.
func TestCancelWhileTheAnswerToAResumeIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixtureOf(t, 1, newMemory())
		id := job.NewID()
		f.runner.crashes = map[job.ID]int{id: 1}
		f.serve()
		if err := f.Submit(t.Context(), &job.Job{ID: id, Request: job.Request{Description: "1s"}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f.store.set(func() { f.store.lost = true })
		time.Sleep(time.Second) // it is lost, and its resume committed
		synctest.Wait()
		if _, err := f.Cancel(t.Context(), id, "bob", pluginhost.StopUser); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := f.store.end(id); got.Status != job.Canceled {
			t.Errorf("a minute after the cancel its end = %+v, want CANCELED", got)
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// After a restart, lost jobs go on from their checkpoints; an attempt that was to
// resume and had not begun does so now, under its own number.
func TestResumeAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		f := fixtureOf(t, 1, m)
		f.runner.fates = map[job.ID]pluginhost.Fate{}
		adopt := func(attempt int, started bool, status job.Status, fate pluginhost.Fate) job.ID {
			j := &job.Job{ID: job.NewID(), Status: status, CanceledBy: "alice", Request: job.Request{Description: "5s"}}
			if started {
				j.StartedAt = time.Now().Add(-time.Minute)
			}
			m.adopted = append(m.adopted, job.Claimed{
				Job: j, Lease: job.Lease{JobID: j.ID, Attempt: attempt}, Checkpoint: &job.Checkpoint{Attempt: 1}, Resume: attempt > 1,
			})
			f.runner.fates[j.ID] = fate
			return j.ID
		}
		lost := adopt(1, true, job.Running, pluginhost.Unknown)
		unbegun := adopt(2, true, job.Running, pluginhost.Unbegun)
		known := adopt(2, true, job.Running, pluginhost.Known)
		canceled := adopt(1, true, job.Canceling, pluginhost.Unknown)
		f.serve()
		time.Sleep(20 * time.Second)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		for _, id := range []job.ID{lost, unbegun, known} {
			if got := m.end(id).Status; got != job.Succeeded {
				t.Errorf("status = %q, want SUCCEEDED", got)
			}
		}
		if got := m.end(canceled); got.Status != job.Canceled || f.remains != 1 {
			t.Errorf("end = %+v, remains %d times; want it canceled, and what it left known", got, f.remains)
		}
		if len(m.given) > 0 {
			t.Errorf("given back = %v, want none: they would begin anew", m.given)
		}
		for _, c := range f.runner.claims {
			if c.Lease.Attempt != 2 || !c.Resume {
				t.Errorf("attempt %d of %s ran, resuming %t, want only second ones that resume", c.Lease.Attempt, c.Job.ID, c.Resume)
			}
		}
		if len(f.runner.claims) != 3 {
			t.Errorf("%d attempts ran, want 3", len(f.runner.claims))
		}
	})
}
