package queue_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/store/memstore"
)

// saved leaves a job with a checkpoint behind by a host that is gone.
func (f *fixture) saved(length string) *job.Job {
	f.t.Helper()
	gone := f.join("gone", time.Second)
	j := newJob(length)
	gone.has(j)
	lease := job.Lease{JobID: j.ID, Attempt: 1, HostID: gone.id, Epoch: gone.epoch}
	if err := f.store.Checkpoint(f.t.Context(), lease, &job.Checkpoint{Attempt: 1}); err != nil {
		f.t.Fatal(err)
	}
	return j
}

// What goes on from a checkpoint stops with the right, as others may go on with it;
// where nobody did, it goes on here.
func TestResumedAttemptsStopWithTheRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1)
		j := f.saved("1m")
		time.Sleep(15 * time.Second)
		if got := f.job(j.ID); got.Attempt != 2 || got.HostID != host {
			t.Fatalf("attempt %d on %q, want the second here", got.Attempt, got.HostID)
		}
		f.away(true)
		time.Sleep(10 * time.Second)
		if stops := f.runner.reasons(); !slices.Equal(stops, leaseLost) {
			t.Errorf("stopped for %v after the right was over, want one for its lease", stops)
		}
		time.Sleep(time.Minute)
		f.away(false)
		time.Sleep(2 * time.Minute)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		wantSucceeded(t, f, j.ID)
		if ordinals, resumed := f.runner.attempts(); !slices.Equal(ordinals, []int{2, 3}) || !slices.Equal(resumed, []bool{true, true}) {
			t.Errorf("attempts %v ran, resumed %v; want the second and the third, both to resume", ordinals, resumed)
		}
	})
}

// What is to go on from a checkpoint and waits for the right does not when the job
// was taken meanwhile.
func TestNothingIsResumedThatWasTaken(t *testing.T) {
	for name, isTaken := range map[string]bool{"it was taken": true, "it was not": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := serve(t, 1)
				o := f.join("other", time.Hour)
				j := f.saved("20s")
				answer := make(chan struct{})
				here := func() bool { got := f.job(j.ID); return got.HostID == host && got.Attempt == 2 }
				f.way.Befall(func(call string) (fault memstore.Fault) {
					if call == "Claim" {
						fault.After = func(ctx context.Context) error {
							if here() {
								return memstore.Until(answer)(ctx)
							}
							return nil
						}
					}
					return fault
				})
				time.Sleep(15 * time.Second)
				if !here() {
					t.Fatalf("job = %+v, want it claimed here", f.job(j.ID))
				}
				f.away(true)
				time.Sleep(9 * time.Second)
				close(answer)
				time.Sleep(time.Second)
				if isTaken {
					if _, err := f.store.Heartbeat(t.Context(), host, epoch, -time.Second, store.Live); err != nil {
						t.Fatal(err)
					}
					if r, err := f.store.Reap(t.Context(), o.id, host, "", time.Hour); err != nil || r.Again != 1 {
						t.Fatalf("reaped %+v, error %v; want the job", r, err)
					}
					if got, err := f.store.Claim(t.Context(), store.Claim{Host: o.id, Epoch: o.epoch, Most: 1}); err != nil || len(got) != 1 {
						t.Fatalf("the other host claimed %v, error %v; want the job", got, err)
					}
				}
				f.way.Befall(func(call string) (fault memstore.Fault) {
					if call == "Leases" { // the right is back before this is
						fault.Before = memstore.Away
					}
					return fault
				})
				time.Sleep(5 * time.Second)
				f.away(false)
				time.Sleep(10 * time.Second)
				f.runner.mu.Lock()
				starts := f.runner.starts
				f.runner.mu.Unlock()
				if want := map[bool]int{true: 0, false: 1}[isTaken]; starts != want {
					t.Errorf("%d attempts began, want %d", starts, want)
				}
				leases, err := f.store.Leases(t.Context(), o.id, o.epoch)
				if want := map[bool]int{true: 1, false: 0}[isTaken]; err != nil || len(leases) != want {
					t.Errorf("leases of the other host = %v, error %v; want %d", leases, err, want)
				}
				time.Sleep(30 * time.Second)
				if err := f.stop(); err != nil {
					t.Fatal(err)
				}
				if !isTaken {
					wantSucceeded(t, f, j.ID)
				}
			})
		})
	}
}
