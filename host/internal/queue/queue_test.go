package queue_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

func TestSlotsBoundWhatRunsAndOrderIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 3)
		var ids []job.ID
		for range 20 {
			ids = append(ids, submit(t, f, "1s"))
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if f.runner.most != 3 {
			t.Errorf("%d attempts ran at once, want 3", f.runner.most)
		}
		if n := f.succeeded(); n != 20 || len(f.ended) != 20 || f.runner.acked != 20 {
			t.Errorf("ends recorded, told, acknowledged = %d, %d, %d, want 20 each", n, len(f.ended), f.runner.acked)
		}
		for i := range ids { // three start at the same moment, in any order
			if got := slices.Index(f.runner.order, ids[i]); got/3 != i/3 && i >= 3 && abs(got-i) > 2 {
				t.Errorf("job %d ran as number %d", i, got)
			}
		}
	})
}

func abs(n int) int { return max(n, -n) }

func TestOnlyLongJobsAreMarkedRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 2)
		short, long := submit(t, f, "100ms"), submit(t, f, "300ms")
		time.Sleep(time.Second)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if marked := f.job(short).StartedAt; !marked.IsZero() {
			t.Errorf("the short job is marked as running since %v, want no mark", marked)
		}
		if f.job(long).StartedAt.IsZero() {
			t.Error("the long job is not marked as running")
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1)
		running := submit(t, f, "1h")
		synctest.Wait()
		if status, err := f.Cancel(t.Context(), running, "alice", pluginhost.StopUser); err != nil || status != job.Canceling {
			t.Fatalf("Cancel = %v, %v, want CANCELING", status, err)
		}
		synctest.Wait()
		if got := f.job(running); got.Status != job.Canceled || got.Error.Message != "canceled by alice" {
			t.Errorf("end = %+v, want canceled by alice", got)
		}
		// A wish that reaches the store without passing this queue is heeded by
		// the next heartbeat.
		other := submit(t, f, "1h")
		synctest.Wait()
		if _, err := f.store.Cancel(t.Context(), other, "bob"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if got := f.job(other); got.Status != job.Canceled || got.Error.Message != "canceled by bob" {
			t.Errorf("end = %+v, want canceled by bob", got)
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDrain(t *testing.T) {
	tests := map[string]struct {
		length string
		hurry  bool
		want   job.Status
		within time.Duration
	}{
		"a job that ends in time goes on": {"20s", false, job.Succeeded, 20 * time.Second},
		"a longer one is killed":          {"1h", false, job.Killed, 30 * time.Second},
		"at once, when it must be":        {"1h", true, job.Killed, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := serve(t, 1)
				running, waiting := submit(t, f, tt.length), submit(t, f, "1s")
				synctest.Wait()
				if tt.hurry {
					close(f.hurry)
				}
				begun := time.Now()
				if err := f.stop(); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun); took != tt.within {
					t.Errorf("stopping took %v, want %v", took, tt.within)
				}
				if got := f.job(running).Status; got != tt.want {
					t.Errorf("status = %s, want %s", got, tt.want)
				}
				if got := f.job(waiting).Status; got != job.New {
					t.Errorf("the waiting job is %s, want it to wait on", got)
				}
				err := f.Submit(t.Context(), newJob("1s"))
				if !errs.Is(err, errs.Unavailable) {
					t.Errorf("Submit after the end = %v, want unavailable", err)
				}
			})
		})
	}
}

// A job that this host took and only others can run waits again, as if it had never been
// claimed. It is not taken and left again and again at once.
func TestWhatOnlyOthersCanRunIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1)
		f.runner.foreign = 3
		begun := time.Now()
		id := submit(t, f, "1s")
		for f.job(id).Status != job.Succeeded {
			if j := f.job(id); j.Status.Final() || time.Since(begun) > time.Minute {
				t.Fatalf("the job is %s (%v) after %v, want that it runs at last", j.Status, j.Error, time.Since(begun))
			}
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(begun); took < 1300*time.Millisecond {
			t.Errorf("taken and left three times and run within %v, want a pause each time", took)
		}
		if j := f.job(id); j.Attempt != 1 || f.runner.began() != 4 {
			t.Errorf("it ran as attempt %d, the runner was asked %d times, want 1 and 4", j.Attempt, f.runner.began())
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNoSubmissionIsTakenWhileTheHostDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 2)
		running := submit(t, f, "20s")
		synctest.Wait()
		f.cancel()
		synctest.Wait()
		plain, keyed, unique := newJob("1s"), newJob("1s"), newJob("1s")
		unique.UniqueKey = "nightly"
		err := f.Submit(t.Context(), plain)
		_, keyedErr := f.SubmitKeyed(t.Context(), keyed, store.Key{Text: "order 17", Digest: []byte{1}})
		_, uniqueErr := f.SubmitKeyed(t.Context(), unique, store.Key{})
		for what, c := range map[string]struct {
			id  job.ID
			err error
		}{"a plain job": {plain.ID, err}, "one with an idempotency key": {keyed.ID, keyedErr}, "one with a unique key": {unique.ID, uniqueErr}} {
			e, ok := errors.AsType[*errs.Error](c.err)
			if !ok || e.Kind != errs.Unavailable || e.Message != "this host is stopping and takes no jobs" || e.Retry <= 0 {
				t.Errorf("%s: got error %v, want it refused because the host stops, and when to come again", what, c.err)
			}
			if _, err := f.store.Job(t.Context(), c.id); !errs.Is(err, errs.NotFound) {
				t.Errorf("%s: the store says %v, want that there is none", what, err)
			}
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if got := f.job(running).Status; got != job.Succeeded {
			t.Errorf("status = %s of the job that ran, want SUCCEEDED", got)
		}
	})
}

func TestTheHostStopsOnlyOnceKeyedSubmissionsAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1)
		release := f.hold("SubmitKeyed")
		j := newJob("1s")
		j.UniqueKey = "nightly"
		answered := make(chan error, 1)
		go func() {
			_, err := f.SubmitKeyed(t.Context(), j, store.Key{})
			answered <- err
		}()
		stopped := make(chan error, 1)
		synctest.Wait()
		go func() { stopped <- f.stop() }()
		synctest.Wait()
		select {
		case err := <-stopped:
			release()
			<-answered
			t.Fatalf("the host stopped (error %v) before the submission was answered", err)
		default:
		}
		release()
		if err := <-answered; err != nil {
			t.Errorf("SubmitKeyed: got error %v, want none", err)
		}
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
	})
}

func TestEndIsRecordedOnceTheStoreIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1)
		id := submit(t, f, "1s")
		synctest.Wait()
		f.away(true)
		time.Sleep(time.Minute)
		if err := f.Submit(t.Context(), newJob("1s")); !errs.Is(err, errs.Unavailable) {
			t.Errorf("Submit = %v, want unavailable", err)
		}
		if len(f.ended) != 0 {
			t.Error("an end was told that is not recorded")
		}
		f.away(false)
		time.Sleep(10 * time.Second)
		if got := f.job(id).Status; got != job.Succeeded {
			t.Errorf("status = %q, want SUCCEEDED", got)
		}
		next := submit(t, f, "1s") // the slots of failed submissions are free again
		time.Sleep(2 * time.Second)
		if got := f.job(next).Status; got != job.Succeeded {
			t.Errorf("status of the next = %q, want SUCCEEDED", got)
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// A host that another life of it has taken over from stops, and leaves alone what
// its jobs do outside: that is the other's now.
func TestFencedHostStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1)
		submit(t, f, "1h")
		synctest.Wait()
		f.register()
		time.Sleep(3 * time.Second)
		if err := f.stop(); !errors.Is(err, store.ErrFenced) {
			t.Errorf("Serve = %v, want fenced", err)
		}
		if !slices.Equal(f.runner.stops, []pluginhost.StopReason{pluginhost.StopLeaseLost}) || f.fenced != 1 {
			t.Errorf("stopped for %q, told %d times that it is fenced; want once that the lease is lost", f.runner.stops, f.fenced)
		}
	})
}

// What an earlier life ran goes on where a plugin knows it, beyond the slots if
// it must be; waits again where it never began; and is lost otherwise.
func TestWhatAnEarlierLifeRan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixtureOf(t, 1)
		lost, canceled := f.leave(left{status: job.Running, fate: pluginhost.Unknown}), f.leave(left{status: job.Canceling, fate: pluginhost.Unknown})
		unbegun := f.leave(left{status: job.Accepted, fate: pluginhost.Unbegun})
		known := []job.ID{f.leave(left{status: job.Running, fate: pluginhost.Known}), f.leave(left{status: job.Accepted, fate: pluginhost.Known})}
		f.serve()
		time.Sleep(time.Second)
		synctest.Wait()
		if got := f.job(lost); got.Status != job.Failed || got.Error.Class != job.Lost {
			t.Errorf("end = %+v, want failed as lost", got)
		}
		if got := f.job(canceled); got.Status != job.Canceled {
			t.Errorf("end = %+v, want canceled", got)
		}
		f.runner.mu.Lock()
		most := f.runner.most
		f.runner.mu.Unlock()
		if most != 2 || f.resumed != 1 {
			t.Errorf("%d attempts run, resumed %d times, want the two that are known, and once", most, f.resumed)
		}
		time.Sleep(20 * time.Second) // the one that waits again has its slot after those
		for _, id := range append(known, unbegun) {
			if got := f.job(id).Status; got != job.Succeeded {
				t.Errorf("status = %q, want SUCCEEDED", got)
			}
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if len(f.runner.order) != 3 {
			t.Errorf("%d attempts ran, want each once", len(f.runner.order))
		}
	})
}

// A job that goes on while the host restarts is left at once and has no end.
func TestDetach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 2)
		long := newJob("1h")
		long.Name = "detach"
		if err := f.Submit(t.Context(), long); err != nil {
			t.Fatal(err)
		}
		short := submit(t, f, "3s")
		synctest.Wait()
		begun := time.Now()
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("stopping took %v, want as long as the other job", took)
		}
		if got := f.job(long.ID).Status; got != job.Accepted {
			t.Errorf("the job that goes on is %s, want its lease to stay", got)
		}
		if got := f.job(short).Status; got != job.Succeeded {
			t.Errorf("the other job is %q, want SUCCEEDED", got)
		}
	})
}

// Many submitters beside few slots: every job ends once.
func TestManySubmitters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 7)
		var all sync.WaitGroup
		for i := range 500 {
			all.Go(func() { submit(t, f, fmt.Sprint(i%13, "ms")) })
		}
		all.Wait()
		time.Sleep(time.Minute)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if n := f.succeeded(); n != 500 || f.runner.most > 7 {
			t.Errorf("%d jobs succeeded with %d at once, want 500 with at most 7", n, f.runner.most)
		}
	})
}
