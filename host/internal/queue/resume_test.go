package queue_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
		f := fixtureOf(t, 1)
		f.runner.crashes = 2
		f.serve()
		id := submit(t, f, "1s")
		next := submit(t, f, "1s")
		time.Sleep(2500 * time.Millisecond)
		if got := f.job(id).Status; got != job.Running {
			t.Errorf("status = %s while it is resumed, want RUNNING", got)
		}
		time.Sleep(2 * time.Second)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		for _, id := range []job.ID{id, next} {
			if got := f.job(id); got.Status != job.Succeeded {
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
		if want := []string{"1 resumed", "2 resumed", "3 SUCCEEDED", "1 SUCCEEDED"}; !slices.Equal(f.fates, want) {
			t.Errorf("the observer heard of %q, want %q", f.fates, want)
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
		f := fixtureOf(t, 1)
		f.runner.crashes = 1
		f.serve()
		id := submit(t, f, "1s")
		synctest.Wait()
		if _, err := f.store.Cancel(t.Context(), id, "bob"); err != nil { // by another host, not heeded yet
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		got := f.job(id)
		left, err := f.store.Cleanups(t.Context(), host, epoch, 10)
		if got.Status != job.Canceled || !strings.HasPrefix(got.Error.Message, "canceled by bob; ") || len(left) != 1 || f.remains != 1 {
			t.Errorf("end = %+v (%v), %d cleanups and error %v, told %d times that something remains; want it canceled by bob, once each", got, got.Error, len(left), err, f.remains)
		}
	})
}

// A lost job waits for the store to be resumed; when the host stops before that,
// its next life decides.
func TestResumeWhileTheStoreIsAway(t *testing.T) {
	for name, back := range map[string]bool{"it comes back": true, "the host stops": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := fixtureOf(t, 1)
				f.runner.crashes = 1
				f.serve()
				id := submit(t, f, "1s")
				synctest.Wait()
				f.away(true)
				time.Sleep(time.Minute)
				if back {
					f.away(false)
					time.Sleep(10 * time.Second)
				}
				if err := f.stop(); err != nil {
					t.Fatal(err)
				}
				want := job.Accepted // its lease stays
				if back {
					want = job.Succeeded
				}
				if got := f.job(id).Status; got != want {
					t.Errorf("status = %q, want %q", got, want)
				}
				if !back && f.runner.acked != 0 {
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
		f := fixtureOf(t, 1)
		f.runner.crashes = 1
		f.serve()
		id := submit(t, f, "1s")
		synctest.Wait()
		f.lose("Resume")
		time.Sleep(time.Second) // it is lost, and its resume committed
		synctest.Wait()
		if _, err := f.Cancel(t.Context(), id, "bob", pluginhost.StopUser); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := f.job(id); got.Status != job.Canceled {
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
		f := fixtureOf(t, 1)
		lost := f.leave(left{status: job.Running, saved: true, fate: pluginhost.Unknown})
		unbegun := f.leave(left{status: job.Running, saved: true, attempt: 2, fate: pluginhost.Unbegun})
		known := f.leave(left{status: job.Running, saved: true, attempt: 2, fate: pluginhost.Known})
		canceled := f.leave(left{status: job.Canceling, saved: true, fate: pluginhost.Unknown})
		f.serve()
		time.Sleep(20 * time.Second)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		for _, id := range []job.ID{lost, unbegun, known} {
			if got := f.job(id).Status; got != job.Succeeded {
				t.Errorf("status = %q, want SUCCEEDED", got)
			}
		}
		if got := f.job(canceled); got.Status != job.Canceled || f.remains != 1 {
			t.Errorf("end = %+v, remains %d times; want it canceled, and what it left known", got, f.remains)
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

// A host that is stopped while it takes over still does that, as the store answers:
// else its plugins would keep what is recorded long since, and go on.
func TestStopWhileItTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixtureOf(t, 1)
		id := f.leave(left{status: job.Running, fate: pluginhost.Known})
		release := f.hold("Adopt")
		f.serve()
		f.cancel()
		synctest.Wait()
		release()
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if got := f.job(id).Status; f.resumed != 1 || got != job.Succeeded {
			t.Errorf("what was left was taken over %d times, and the job is %q; want once, and SUCCEEDED in the time of the drain", f.resumed, got)
		}
	})
}
