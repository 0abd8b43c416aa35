package queue_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store/memstore"
)

// A job that was given back without an answer may have been claimed here anew by the
// time that is known: that lease stays. One that was not given back is found.
func TestLostAnswerToAReturn(t *testing.T) {
	for name, written := range map[string]bool{"it was written": true, "it was not": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := serve(t, 1)
				time.Sleep(time.Second)
				release := f.hold("Submit")
				j := newJob("20s")
				submitted := make(chan error)
				go func() { submitted <- f.Submit(t.Context(), j) }()
				synctest.Wait()
				f.away(true)
				time.Sleep(8 * time.Second) // the right is over: it is not begun
				answer, asked := make(chan struct{}), 0
				lost := func(ctx context.Context) error {
					_ = memstore.Until(answer)(ctx)
					return memstore.Lost(ctx)
				}
				f.way.Befall(func(call string) (fault memstore.Fault) {
					if call != "GiveBack" {
						return fault
					}
					if asked++; asked > 1 {
						return fault
					}
					if written {
						fault.After = lost
					} else {
						fault.Before = lost
					}
					return fault
				})
				release()
				if err := <-submitted; err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Second) // the right is back, and what waits is claimed
				close(answer)
				time.Sleep(5 * time.Second)
				leases, err := f.store.Leases(t.Context(), host, epoch)
				if err != nil || len(leases) != 1 || leases[0].JobID != j.ID || f.runner.began() != 1 {
					t.Errorf("leases %v, error %v, %d attempts began; want the one lease of the job that runs", leases, err, f.runner.began())
				}
				time.Sleep(20 * time.Second)
				if err := f.stop(); err != nil {
					t.Fatal(err)
				}
				wantSucceeded(t, f, j.ID)
				if n := f.runner.began(); n != 1 {
					t.Errorf("%d attempts began, want one", n)
				}
			})
		})
	}
}

// A job that is to be retried and that somebody asks to cancel says so once, however
// often its end is tried.
func TestCanceledInsteadOfRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixtureOf(t, 1)
		f.runner.crashes = 1
		f.runner.crash = func(c job.Claimed) job.Outcome {
			return job.Outcome{Status: job.Failed, Error: &job.Error{Class: job.Lost, Message: "lost"}}
		}
		f.serve()
		j := retryable("1s")
		submitJob(t, f, j)
		synctest.Wait()
		if _, err := f.store.Cancel(t.Context(), j.ID, "bob"); err != nil { // by another host, not heeded yet
			t.Fatal(err)
		}
		f.way.Befall(func(call string) (fault memstore.Fault) {
			if call == "End" {
				fault.Before = memstore.Away
			}
			return fault
		})
		time.Sleep(30 * time.Second)
		f.away(false)
		time.Sleep(10 * time.Second)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if got := f.job(j.ID); got.Status != job.Canceled || got.Error.Message != "canceled by bob; lost" {
			t.Errorf("%s with error %+v, want it canceled by bob, said once", got.Status, got.Error)
		}
	})
}
