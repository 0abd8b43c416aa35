package queue_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/store/memstore"
)

// other is another host of the store.
type other struct {
	f     *fixture
	id    string
	epoch int64
}

func (f *fixture) join(id string, lease time.Duration) other {
	f.t.Helper()
	epoch, err := f.store.RegisterHost(f.t.Context(), store.Host{ID: id}, lease)
	if err == nil {
		err = f.store.SetCommands(f.t.Context(), id, []string{"command"})
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return other{f, id, epoch}
}

// has gives the host a job.
func (o other) has(j *job.Job) {
	o.f.t.Helper()
	lease, err := o.f.store.Submit(o.f.t.Context(), store.Submission{Job: j, Host: o.id, Epoch: o.epoch, Claim: true})
	if err != nil || lease == nil {
		o.f.t.Fatalf("the other host got lease %v and error %v", lease, err)
	}
}

// retryable returns a job that another host may run when its own is lost.
func retryable(length string) *job.Job {
	j := newJob(length)
	j.Retry = &job.Retry{Attempts: 3, On: []job.Class{job.Lost}}
	return j
}

func submitJob(t *testing.T, f *fixture, j *job.Job) job.ID {
	t.Helper()
	if err := f.Submit(t.Context(), j); err != nil {
		t.Fatalf("Submit: %v", err)
	}
	return j.ID
}

func wantSucceeded(t *testing.T, f *fixture, ids ...job.ID) {
	t.Helper()
	for _, id := range ids {
		if got := f.job(id).Status; got != job.Succeeded {
			t.Errorf("status of %s = %q, want SUCCEEDED", id, got)
		}
	}
}

var leaseLost = []pluginhost.StopReason{pluginhost.StopLeaseLost}

// A host that cannot renew its right stops what others may run before they may, and
// nothing else; what it stopped is tried again when nobody took it.
func TestOnlyRetryableAttemptsStopWithTheRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 3)
		again := submitJob(t, f, retryable("10m"))
		once := submit(t, f, "10m")
		time.Sleep(time.Second) // a heartbeat comes each two seconds: the last one is at 0
		f.away(true)
		time.Sleep(6900 * time.Millisecond)
		if stops := f.runner.reasons(); len(stops) > 0 {
			t.Errorf("stopped for %v while the right holds, want none", stops)
		}
		time.Sleep(200 * time.Millisecond)
		if stops := f.runner.reasons(); !slices.Equal(stops, leaseLost) {
			t.Errorf("stopped for %v after the right was over, want one for its lease", stops)
		}
		time.Sleep(time.Minute)
		f.away(false)
		time.Sleep(11 * time.Minute)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		wantSucceeded(t, f, again, once)
		if ordinals, _ := f.runner.attempts(); !slices.Equal(ordinals, []int{1, 1, 2}) {
			t.Errorf("attempts %v ran, want the first of each and one more", ordinals)
		}
	})
}

// Nothing is begun once the right is over, whatever it waited for, and also when
// only the machine knows how long it has slept. It is given back, uncounted.
func TestNothingIsBegunAfterTheRight(t *testing.T) {
	for name, slept := range map[string]bool{"the store was away": false, "the machine has slept": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := serve(t, 2)
				time.Sleep(time.Second)
				release := f.hold("Submit")
				j := newJob("1s")
				submitted := make(chan error)
				go func() { submitted <- f.Submit(t.Context(), j) }()
				synctest.Wait()
				f.away(true)
				if slept {
					f.asleep.Store(int64(time.Hour))
				} else {
					time.Sleep(8 * time.Second)
				}
				release()
				if err := <-submitted; err != nil {
					t.Fatal(err)
				}
				f.away(false)
				synctest.Wait()
				if n := f.runner.began(); n > 0 {
					t.Errorf("%d attempts began, want none", n)
				}
				time.Sleep(10 * time.Second)
				if err := f.stop(); err != nil {
					t.Fatal(err)
				}
				wantSucceeded(t, f, j.ID)
				if ordinals, _ := f.runner.attempts(); !slices.Equal(ordinals, []int{1}) {
					t.Errorf("attempts %v ran, want the first: what was not begun does not count", ordinals)
				}
			})
		})
	}
}

// A host that is frozen before its first heartbeat has no more right than one that
// is frozen later.
func TestNothingIsBegunAfterTheFirstRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixtureOf(t, 1)
		f.asleep.Store(int64(9 * time.Second)) // since it was registered
		f.way.Befall(func(call string) (fault memstore.Fault) {
			if call == "Heartbeat" {
				fault.Before = memstore.Away
			}
			return fault
		})
		f.serve()
		j := newJob("1s")
		submitJob(t, f, j)
		synctest.Wait()
		if n := f.runner.began(); n > 0 {
			t.Errorf("%d attempts began, want none before a heartbeat", n)
		}
		f.away(false)
		time.Sleep(10 * time.Second)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		wantSucceeded(t, f, j.ID)
	})
}

// A host that was lost and is back stops what was taken from it. A job that comes
// back to it waits until nothing of it runs any more.
func TestAttemptsWithoutLeaseAreStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixtureOf(t, 2)
		f.runner.slow = 5 * time.Second
		f.serve()
		id := submitJob(t, f, retryable("1m"))
		time.Sleep(time.Second)
		if _, err := f.store.Heartbeat(t.Context(), host, epoch, -time.Second, store.Live); err != nil {
			t.Fatal(err)
		}
		if r, err := f.store.Reap(t.Context(), "other", host, "", time.Hour); err != nil || r.Again != 1 {
			t.Fatalf("reaped %+v, error %v; want the job", r, err)
		}
		time.Sleep(2 * time.Second)
		if stops := f.runner.reasons(); !slices.Equal(stops, leaseLost) {
			t.Errorf("stopped for %v, want one for its lease", stops)
		}
		if n := f.runner.began(); n != 1 {
			t.Errorf("%d attempts began while the first one stops, want it alone", n)
		}
		time.Sleep(2 * time.Minute)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		wantSucceeded(t, f, id)
		if ordinals, _ := f.runner.attempts(); !slices.Equal(ordinals, []int{1, 2}) {
			t.Errorf("attempts %v ran, want two", ordinals)
		}
	})
}

// Lost hosts are reaped by one that has seen the store all the time: when the store
// itself was away, nobody could renew.
func TestOnlyAWatchfulHostReaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 2)
		first, second := retryable("1s"), retryable("1s")
		f.join("a", time.Second).has(first)
		time.Sleep(9 * time.Second)
		if got := f.job(first.ID).HostID; got != "a" {
			t.Errorf("host = %q less than a lease time after the start, want a", got)
		}
		time.Sleep(4 * time.Second)
		if got := f.job(first.ID); got.Status != job.Succeeded || got.HostID != host || got.Attempt != 2 {
			t.Errorf("%s on %q, attempt %d; want it run here as the second", got.Status, got.HostID, got.Attempt)
		}
		f.away(true)
		time.Sleep(time.Minute)
		f.join("b", time.Second).has(second)
		f.away(false)
		time.Sleep(9 * time.Second)
		if got := f.job(second.ID).HostID; got != "b" {
			t.Errorf("host = %q less than a lease time after the store was back, want b", got)
		}
		time.Sleep(6 * time.Second)
		wantSucceeded(t, f, second.ID)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// What another host has left is resumed by the same rules, and what may not run
// twice waits for its owner and then ends.
func TestJobsOfALostHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 2)
		gone := f.join("gone", time.Second)
		saved, once := newJob("1s"), newJob("1s")
		gone.has(saved)
		gone.has(once)
		lease := job.Lease{JobID: saved.ID, Attempt: 1, HostID: "gone", Epoch: gone.epoch}
		if err := f.store.Checkpoint(t.Context(), lease, &job.Checkpoint{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		wantSucceeded(t, f, saved.ID)
		if ordinals, resumed := f.runner.attempts(); !slices.Equal(ordinals, []int{2}) || !slices.Equal(resumed, []bool{true}) {
			t.Errorf("attempts %v ran, resumed %v; want the second to resume", ordinals, resumed)
		}
		if got := f.job(once.ID).Status; got != job.Accepted {
			t.Errorf("status = %q, want it to wait for its owner", got)
		}
		time.Sleep(15*time.Minute + 5*time.Second)
		if got := f.job(once.ID); got.Status != job.Failed || got.Error.Class != job.Lost {
			t.Errorf("%s with error %+v, want it failed as lost", got.Status, got.Error)
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.calls == 0 || !slices.Contains(f.told, once.ID) {
			t.Errorf("others were told %d times that jobs wait, and of the ends of %v; want both", f.calls, f.told)
		}
	})
}

// A host says that it drains, and that it has stopped.
func TestStatesOfAHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1)
		submit(t, f, "5s")
		want := func(want store.HostState) {
			t.Helper()
			synctest.Wait()
			hosts, _, err := f.store.Hosts(t.Context())
			if err != nil || len(hosts) != 1 || hosts[0].State != want {
				t.Errorf("hosts = %+v, error %v; want this one %s", hosts, err, want)
			}
		}
		want(store.Live)
		f.cancel()
		want(store.Draining)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		want(store.Stopped)
	})
}

// What other hosts say is heeded at once, and they are told what they wait for.
func TestWordOfOtherHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1)
		id := submit(t, f, "1h")
		time.Sleep(time.Second)
		if _, err := f.store.Cancel(t.Context(), id, "bob"); err != nil {
			t.Fatal(err)
		}
		f.CancelAsked()
		synctest.Wait()
		if got := f.job(id).Status; got != job.Canceled {
			t.Errorf("status = %q, want CANCELED at once", got)
		}
		theirs := newJob("1s")
		o := f.join("other", time.Hour)
		if _, err := f.store.Submit(t.Context(), store.Submission{Job: theirs, Host: o.id, Epoch: o.epoch}); err != nil {
			t.Fatal(err)
		}
		f.WorkWaits()
		synctest.Wait()
		if n := f.runner.began(); n != 2 {
			t.Errorf("%d attempts began, want the job of another host to begin at once", n)
		}
		submit(t, f, "1s") // there is no slot for it
		running := newJob("1h")
		if claimed, err := f.store.Claim(t.Context(), store.Claim{Host: o.id, Epoch: o.epoch, Most: 1}); err != nil || len(claimed) != 1 {
			t.Fatalf("the other host claimed %v, error %v", claimed, err)
		}
		o.has(running)
		if status, err := f.Cancel(t.Context(), running.ID, "bob", pluginhost.StopUser); err != nil || status != job.Canceling {
			t.Errorf("Cancel = %v, %v, want CANCELING", status, err)
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.calls != 1 || !slices.Contains(f.told, id) || !slices.Equal(f.cancels, []job.ID{running.ID}) {
			t.Errorf("others were told %d times that a job waits, of the ends of %v, of cancels of %v; want once, the first job, and theirs", f.calls, f.told, f.cancels)
		}
	})
}
