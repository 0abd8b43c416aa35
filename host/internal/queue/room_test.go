package queue_test

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Without room nothing is begun, by a submission or by a claim; what runs goes on.
// When there is room again, what waits runs.
func TestNothingIsBegunWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixtureOf(t, 3)
		var full atomic.Bool
		f.Room = func() error {
			if full.Load() {
				return errors.New("the disk is full")
			}
			return nil
		}
		f.serve()
		runs := submit(t, f, "10s")
		full.Store(true)
		time.Sleep(2 * time.Second)
		waits := submit(t, f, "1s")
		if w, err := f.store.Waiting(t.Context(), waits); err != nil || w == nil || w.Reason != job.NoRoom {
			t.Errorf("it waits: got %+v and error %v, want for room", w, err)
		}
		time.Sleep(time.Minute)
		if got := f.job(runs).Status; got != job.Succeeded {
			t.Errorf("the running job is %q, want SUCCEEDED", got)
		}
		synctest.Wait()
		if !slices.Equal(f.runner.order, []job.ID{runs}) {
			t.Errorf("ran %v, want only %v", f.runner.order, runs)
		}
		full.Store(false)
		time.Sleep(5 * time.Second)
		if hosts, _, err := f.store.Hosts(t.Context()); err != nil || hosts[0].State != store.Live {
			t.Errorf("with room again: got %+v and error %v, want it live", hosts, err)
		}
		if got := f.job(waits).Status; got != job.Succeeded {
			t.Errorf("the waiting job is %q, want SUCCEEDED", got)
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
