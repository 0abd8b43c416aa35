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

// A job whose claim was committed, but not answered, runs all the same, once.
func TestLostAnswerToAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1, newMemory())
		submit(t, f, "1s")
		waiting := submit(t, f, "1s")
		f.store.set(func() { f.store.lost = true })
		time.Sleep(10 * time.Second)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if got := f.store.end(waiting).Status; got != job.Succeeded {
			t.Errorf("status = %q, want SUCCEEDED", got)
		}
		if !slices.Equal(f.store.given, []job.ID{waiting}) || len(f.runner.order) != 2 {
			t.Errorf("given back = %v, attempts = %v, want the waiting job once in each", f.store.given, f.runner.order)
		}
	})
}

// A job whose submitter was told that its record is uncertain never runs, and
// does not stay as it is.
func TestLostAnswerToASubmit(t *testing.T) {
	for name, slots := range map[string]int{"the job was leased": 2, "the job waits": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := serve(t, slots, newMemory())
				submit(t, f, "20s")
				synctest.Wait()
				f.store.set(func() { f.store.lost = true })
				lost := &job.Job{ID: job.NewID(), Request: job.Request{Description: "1s"}}
				if err := f.Submit(t.Context(), lost); !errs.Is(err, errs.Unavailable) {
					t.Fatalf("Submit = %v, want unavailable", err)
				}
				f.store.set(func() { f.store.away = errs.Errorf(errs.Unavailable, "away") })
				time.Sleep(2 * time.Minute)
				f.store.set(func() { f.store.away = nil })
				time.Sleep(10 * time.Second)
				if err := f.stop(); err != nil {
					t.Fatal(err)
				}
				if got := f.store.end(lost.ID); got.Status != job.Canceled || !strings.Contains(got.Error.Message, "never acknowledged") {
					t.Errorf("end = %+v, want canceled as never acknowledged", got)
				}
				if slices.Contains(f.runner.order, lost.ID) {
					t.Error("the job ran")
				}
			})
		})
	}
}

// What stops an attempt also reaches one whose submission has not been answered
// yet.
func TestStopOfASubmissionUnderWay(t *testing.T) {
	for name, tt := range map[string]struct {
		stop func(f *fixture, id job.ID)
		want job.Status
	}{
		"by a cancel": {func(f *fixture, id job.ID) {
			if status, err := f.Cancel(t.Context(), id, "alice", pluginhost.StopUser); err != nil || status != job.Canceling {
				t.Errorf("Cancel = %v, %v, want CANCELING", status, err)
			}
		}, job.Canceled},
		"by the end of the drain": {func(f *fixture, _ job.ID) {
			f.cancel()
			time.Sleep(time.Minute)
		}, ""}, // it had not begun, and waits again
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := serve(t, 1, newMemory())
				f.store.slow = make(chan struct{})
				id := job.NewID()
				submitted := make(chan error)
				go func() {
					submitted <- f.Submit(t.Context(), &job.Job{ID: id, Request: job.Request{Description: "1h"}})
				}()
				synctest.Wait()
				tt.stop(f, id)
				close(f.store.slow)
				if err := <-submitted; err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				synctest.Wait()
				if got := f.store.end(id).Status; got != tt.want {
					t.Errorf("status = %q, want %q", got, tt.want)
				}
				if err := f.stop(); err != nil || time.Since(begun) != 0 {
					t.Errorf("Serve = %v after %v, want no error at once", err, time.Since(begun))
				}
			})
		})
	}
}

// A job that waits may be claimed before its submission is answered.
func TestClaimOvertakesTheAnswerToASubmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1, newMemory())
		submit(t, f, "1s")
		f.store.set(func() { f.store.slow = make(chan struct{}) })
		j := &job.Job{ID: job.NewID(), Request: job.Request{Description: "1m"}}
		submitted := make(chan error)
		go func() { submitted <- f.Submit(t.Context(), j) }()
		time.Sleep(10 * time.Second)
		close(f.store.slow)
		if err := <-submitted; err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if got := f.store.end(j.ID).Status; got != job.Succeeded {
			t.Errorf("status = %q, want SUCCEEDED", got)
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// A host that is told to stop does so, also while it cannot record what became
// of its earlier life.
func TestStopWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.adopted = []job.Claimed{{Job: &job.Job{ID: job.NewID(), Status: job.Running}}}
		m.away = errs.Errorf(errs.Unavailable, "away")
		f := serve(t, 1, m)
		time.Sleep(time.Minute)
		begun := time.Now()
		if err := f.stop(); err != nil || time.Since(begun) != 0 {
			t.Errorf("Serve = %v after %v, want no error at once", err, time.Since(begun))
		}
	})
}

// An end that the store will never take is replaced by one that says so.
func TestEndThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.refused = errs.Errorf(errs.Invalid, "result type has a NUL character")
		f := serve(t, 1, m)
		id := submit(t, f, "1s")
		time.Sleep(10 * time.Second)
		got := m.end(id)
		if got.Status != job.Failed || got.Error == nil || got.Error.Class != job.Internal || !strings.Contains(got.Error.Message, "NUL") {
			t.Errorf("end = %+v, want failed for the reason", got)
		}
		if told := f.ended[id]; told == nil || told.Status != job.Failed {
			t.Errorf("told = %+v, want the end that was recorded", told)
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// Plugins hear of the host also while the store is away: they would take it for
// dead and end what it follows.
func TestPluginsHearOfTheHostWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1, newMemory())
		counts := func() (renews, heard int) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.renews, f.heard
		}
		time.Sleep(10 * time.Second)
		before, early := counts()
		f.store.set(func() { f.store.away = errs.Errorf(errs.Unavailable, "away") })
		time.Sleep(time.Minute)
		after, heard := counts()
		if before == 0 || early > 0 || after > before+1 || heard < 25 {
			t.Errorf("%d renewals and %d signs of life, then %d and %d in a minute without store; want no renewal, and signs all the time", before, early, after, heard)
		}
		f.store.set(func() { f.store.away = nil })
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// A job is marked as running once its plugin has begun, and later when the store
// is away by then.
func TestMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 2, newMemory())
		f.runner.begins = 10 * time.Second // until then it waits for its plugin
		id := submit(t, f, "1h")
		time.Sleep(9 * time.Second)
		marked := func() []job.ID {
			f.store.mu.Lock()
			defer f.store.mu.Unlock()
			return slices.Clone(f.store.started)
		}
		if got := marked(); len(got) > 0 {
			t.Errorf("marked as running = %v before its plugin has begun, want nothing", got)
		}
		f.store.set(func() { f.store.away = errs.Errorf(errs.Unavailable, "away") })
		time.Sleep(time.Minute)
		f.store.set(func() { f.store.away = nil })
		time.Sleep(2 * time.Second)
		if got := marked(); !slices.Equal(got, []job.ID{id}) {
			t.Errorf("marked as running = %v, want %v", got, id)
		}
		close(f.hurry)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
