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
	"github.com/heimdall-run/heimdall/host/internal/store/memstore"
)

// A job whose claim was committed, but not answered, runs all the same, once.
func TestLostAnswerToAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1)
		submit(t, f, "1s")
		waiting := submit(t, f, "1s")
		synctest.Wait()
		f.lose("Claim")
		time.Sleep(10 * time.Second)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if got := f.job(waiting).Status; got != job.Succeeded {
			t.Errorf("status = %q, want SUCCEEDED", got)
		}
		if n := len(f.runner.order); n != 2 {
			t.Errorf("%d attempts ran, want one of each job", n)
		}
	})
}

// A job whose submitter was told that its record is uncertain never runs, and
// does not stay as it is.
func TestLostAnswerToASubmit(t *testing.T) {
	for name, slots := range map[string]int{"the job was leased": 2, "the job waits": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := serve(t, slots)
				submit(t, f, "20s")
				synctest.Wait()
				f.lose("Submit")
				lost := newJob("1s")
				if err := f.Submit(t.Context(), lost); !errs.Is(err, errs.Unavailable) {
					t.Fatalf("Submit = %v, want unavailable", err)
				}
				f.away(true)
				time.Sleep(2 * time.Minute)
				f.away(false)
				time.Sleep(10 * time.Second)
				if err := f.stop(); err != nil {
					t.Fatal(err)
				}
				if got := f.job(lost.ID); got.Status != job.Canceled || !strings.Contains(got.Error.Message, "never acknowledged") {
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
		}, job.New}, // it had not begun
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := serve(t, 1)
				release := f.hold("Submit")
				j := newJob("1h")
				submitted := make(chan error)
				go func() {
					submitted <- f.Submit(t.Context(), j)
				}()
				synctest.Wait()
				tt.stop(f, j.ID)
				release()
				if err := <-submitted; err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				synctest.Wait()
				if got := f.job(j.ID).Status; got != tt.want {
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
		f := serve(t, 1)
		submit(t, f, "1s")
		release := f.hold("Submit")
		j := newJob("1m")
		submitted := make(chan error)
		go func() { submitted <- f.Submit(t.Context(), j) }()
		time.Sleep(10 * time.Second)
		release()
		if err := <-submitted; err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if got := f.job(j.ID).Status; got != job.Succeeded {
			t.Errorf("status = %q, want SUCCEEDED", got)
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// What an earlier life ran is taken over however often an answer to that is lost.
func TestLostAnswersToATakeOver(t *testing.T) {
	for _, call := range []string{"Adopt", "Leases", "Leased"} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := fixtureOf(t, 2)
				known := f.leave(left{status: job.Running, fate: pluginhost.Known})
				unbegun := f.leave(left{status: job.Accepted, fate: pluginhost.Unbegun})
				f.lose(call)
				f.serve()
				time.Sleep(time.Minute)
				if err := f.stop(); err != nil {
					t.Fatal(err)
				}
				for what, id := range map[string]job.ID{"the job that a plugin knows": known, "the job that had not begun": unbegun} {
					if got := f.job(id); got.Status != job.Succeeded {
						t.Errorf("%s: %s with error %+v, want SUCCEEDED", what, got.Status, got.Error)
					}
				}
			})
		})
	}
}

// A job that had begun and that no plugin knows is lost, also where nothing says that
// a plugin is gone: the folder that would say so may be gone as well.
func TestBegunAndUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixtureOf(t, 1)
		id := f.leave(left{status: job.Running, fate: pluginhost.Unbegun})
		f.serve()
		time.Sleep(time.Minute)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if got := f.job(id); got.Status != job.Failed || got.Error.Class != job.Lost {
			t.Errorf("%s with error %+v, want FAILED as lost", got.Status, got.Error)
		}
	})
}

// A host that is told to stop does so, also while it cannot record what became
// of its earlier life.
func TestStopWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixtureOf(t, 1)
		f.leave(left{status: job.Running})
		f.way.Befall(func(call string) (fault memstore.Fault) {
			if call != "Adopt" {
				fault.Before = memstore.Away
			}
			return fault
		})
		f.serve()
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
		f := fixtureOf(t, 1)
		f.runner.result = &job.Result{ContentType: "a\x00b"}
		f.serve()
		id := submit(t, f, "1s")
		time.Sleep(10 * time.Second)
		got := f.job(id)
		if got.Status != job.Failed || got.Error == nil || got.Error.Class != job.Internal || !strings.Contains(got.Error.Message, "is not text") {
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
		f := serve(t, 1)
		counts := func() (renews, heard int) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.renews, f.heard
		}
		time.Sleep(10 * time.Second)
		before, early := counts()
		f.away(true)
		time.Sleep(time.Minute)
		after, heard := counts()
		if before == 0 || early > 0 || after > before+1 || heard < 25 {
			t.Errorf("%d renewals and %d signs of life, then %d and %d in a minute without store; want no renewal, and signs all the time", before, early, after, heard)
		}
		f.away(false)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// A job is marked as running once its plugin has begun, and later when the store
// is away by then.
func TestMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 2)
		f.runner.begins = 10 * time.Second // until then it waits for its plugin
		id := submit(t, f, "1h")
		time.Sleep(9 * time.Second)
		if got := f.job(id).Status; got != job.Accepted {
			t.Errorf("status = %s before its plugin has begun, want ACCEPTED", got)
		}
		f.away(true)
		time.Sleep(time.Minute)
		f.away(false)
		time.Sleep(2 * time.Second)
		if got := f.job(id).Status; got != job.Running {
			t.Errorf("status = %s, want RUNNING", got)
		}
		close(f.hurry)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
