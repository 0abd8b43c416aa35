package queue_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// retryable returns a job that another host may run when this one is lost.
func retryable(length string) *job.Job {
	return &job.Job{ID: job.NewID(), Request: job.Request{Description: length, Retry: &job.Retry{Attempts: 3, On: []job.Class{job.Lost}}}}
}

func submitJob(t *testing.T, f *fixture, j *job.Job) job.ID {
	t.Helper()
	if err := f.Submit(t.Context(), j); err != nil {
		t.Fatalf("Submit: %v", err)
	}
	return j.ID
}

func away(f *fixture, err error) { f.store.set(func() { f.store.away = err }) }

var unavailable = errs.Errorf(errs.Unavailable, "away")

// A host that cannot renew its right stops what others may run before they may, and
// nothing else; what it stopped is tried again when nobody took it.
func TestOnlyRetryableAttemptsStopWithTheRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 3, newMemory())
		again := submitJob(t, f, retryable("10m"))
		once := submit(t, f, "10m")
		time.Sleep(time.Second) // a heartbeat comes each two seconds: the last one is at 0
		away(f, unavailable)
		time.Sleep(6900 * time.Millisecond)
		if stops := f.runner.stopped(); len(stops) > 0 {
			t.Errorf("stopped for %v while the right holds, want none", stops)
		}
		time.Sleep(200 * time.Millisecond)
		if stops := f.runner.stopped(); !slices.Equal(stops, []pluginhost.StopReason{pluginhost.StopLeaseLost}) {
			t.Errorf("stopped for %v after the right was over, want one for its lease", stops)
		}
		time.Sleep(time.Minute)
		away(f, nil)
		time.Sleep(11 * time.Minute)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(f.store.retried, []job.ID{again}) {
			t.Errorf("retried %v, want %v", f.store.retried, again)
		}
		for _, id := range []job.ID{again, once} {
			if got := f.store.end(id).Status; got != job.Succeeded {
				t.Errorf("status = %q, want SUCCEEDED", got)
			}
		}
		if ordinals, _ := f.runner.attempts(); !slices.Equal(ordinals, []int{1, 1, 2}) {
			t.Errorf("attempts %v ran, want the first of each and one more", ordinals)
		}
	})
}

// began returns how many attempts have begun.
func (r *timed) began() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.order)
}

func (r *timed) acks() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.acked
}

func (r *timed) stopped() []pluginhost.StopReason {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.stops)
}

// Nothing is begun once the right is over, whatever it waited for, and also when
// only the machine knows how long it has slept. It is given back, uncounted.
func TestNothingIsBegunAfterTheRight(t *testing.T) {
	for name, asleep := range map[string]time.Duration{"the store was away": 0, "the machine has slept": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := serve(t, 2, newMemory())
				time.Sleep(time.Second)
				f.store.set(func() { f.store.slow = make(chan struct{}) })
				j := &job.Job{ID: job.NewID(), Request: job.Request{Description: "1s"}}
				submitted := make(chan error)
				go func() { submitted <- f.Submit(t.Context(), j) }()
				synctest.Wait()
				away(f, unavailable)
				if asleep == 0 {
					time.Sleep(8 * time.Second)
				}
				f.asleep.Store(int64(asleep))
				f.store.set(func() {
					close(f.store.slow)
					f.store.slow, f.store.away = nil, nil
				})
				if err := <-submitted; err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if n := f.runner.began(); n > 0 || !slices.Equal(f.store.givenBack(), []job.ID{j.ID}) {
					t.Errorf("%d attempts ran, given back %v; want none, and the job", n, f.store.givenBack())
				}
				time.Sleep(10 * time.Second)
				if err := f.stop(); err != nil {
					t.Fatal(err)
				}
				if got := f.store.end(j.ID).Status; got != job.Succeeded || f.runner.began() != 1 {
					t.Errorf("status = %q after %d attempts, want SUCCEEDED after one", got, f.runner.began())
				}
			})
		})
	}
}

func (m *memory) givenBack() []job.ID {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.given)
}

// A host that was lost and is back stops what was taken from it. A job that comes
// back to it waits until nothing of it runs any more.
func TestAttemptsWithoutLeaseAreStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixtureOf(t, 2, newMemory())
		f.runner.slow = 5 * time.Second
		f.serve()
		id := submitJob(t, f, retryable("1m"))
		synctest.Wait()
		f.store.set(func() { f.store.take(id) }) // by a reaper
		time.Sleep(2500 * time.Millisecond)
		if stops := f.runner.stopped(); !slices.Equal(stops, []pluginhost.StopReason{pluginhost.StopLeaseLost}) {
			t.Errorf("stopped for %v, want one for its lease", stops)
		}
		if n := f.runner.began(); n != 1 {
			t.Errorf("%d attempts began while the first one stops, want it alone", n)
		}
		time.Sleep(2 * time.Minute)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if ordinals, _ := f.runner.attempts(); !slices.Equal(ordinals, []int{1, 2}) || f.store.end(id).Status != job.Succeeded {
			t.Errorf("attempts %v ran to %q, want two to SUCCEEDED", ordinals, f.store.end(id).Status)
		}
		if f.runner.acks() != 2 {
			t.Errorf("%d ends were acknowledged, want 2", f.runner.acks())
		}
	})
}

// Lost hosts are reaped by one that has seen the store all the time: when the store
// itself was away, nobody could renew.
func TestOnlyAWatchfulHostReaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 2, newMemory())
		lose := func() *job.Job {
			j := retryable("1s")
			f.store.set(func() {
				f.store.lapsed = map[string][]*job.Job{"other": {j}}
				f.store.again[j.ID] = 2
			})
			return j
		}
		reaped := func() int {
			f.store.mu.Lock()
			defer f.store.mu.Unlock()
			return len(f.store.reaped)
		}
		first := lose()
		time.Sleep(9 * time.Second)
		if reaped() > 0 {
			t.Error("reaped less than a lease time after the start")
		}
		time.Sleep(4 * time.Second)
		if got := f.store.end(first.ID).Status; reaped() != 1 || got != job.Succeeded {
			t.Errorf("reaped %d times, its job is %q; want once, and it run here", reaped(), got)
		}
		away(f, unavailable)
		time.Sleep(time.Minute)
		away(f, nil)
		lose()
		time.Sleep(9 * time.Second)
		if reaped() != 1 {
			t.Error("reaped less than a lease time after the store was back")
		}
		time.Sleep(4 * time.Second)
		if reaped() != 2 {
			t.Errorf("reaped %d times, want twice", reaped())
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if f.calls == 0 {
			t.Error("nobody was told that the jobs of the lost host wait")
		}
	})
}

// A host says that it drains, and that it has stopped.
func TestStatesOfAHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1, newMemory())
		submit(t, f, "5s")
		state := func() store.HostState {
			synctest.Wait()
			f.store.mu.Lock()
			defer f.store.mu.Unlock()
			return f.store.state
		}
		if got := state(); got != store.Live {
			t.Errorf("state = %q, want live", got)
		}
		f.cancel()
		if got := state(); got != store.Draining {
			t.Errorf("state = %q, want draining at once", got)
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if got := state(); got != store.Stopped {
			t.Errorf("state = %q, want stopped", got)
		}
	})
}

// saw reads what the fixture was told.
func (f *fixture) saw(read func() any) any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return read()
}

// What other hosts say is heeded at once, and they are told what they wait for.
func TestWordOfOtherHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1, newMemory())
		id := submit(t, f, "1h")
		time.Sleep(time.Second)
		if _, err := f.store.Cancel(t.Context(), id, "bob"); err != nil {
			t.Fatal(err)
		}
		f.Queue.CancelAsked()
		synctest.Wait()
		if got := f.store.end(id).Status; got != job.Canceled {
			t.Errorf("status = %q, want CANCELED at once", got)
		}
		if told := f.saw(func() any { return slices.Clone(f.told) }); !slices.Contains(told.([]job.ID), id) {
			t.Errorf("told of the ends of %v, want %v among them", told, id)
		}
		theirs := &job.Job{ID: job.NewID(), Request: job.Request{Description: "1s"}}
		f.store.set(func() { f.store.waiting = append(f.store.waiting, theirs) })
		f.Queue.WorkWaits()
		synctest.Wait()
		if n := f.runner.began(); n != 2 {
			t.Errorf("%d attempts began, want the job of another host to begin at once", n)
		}
		waiting := submit(t, f, "1s")
		if calls := f.saw(func() any { return f.calls }); calls != 1 {
			t.Errorf("others were told %d times that a job waits, want once", calls)
		}
		f.store.set(func() { f.store.leasedTo = map[job.ID]string{waiting: "other"} })
		if _, err := f.Cancel(t.Context(), waiting, "bob", pluginhost.StopUser); err != nil || !slices.Equal(f.cancels, []job.ID{waiting}) {
			t.Errorf("Cancel of another host's job: error %v, told of %v; want %v", err, f.cancels, waiting)
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
