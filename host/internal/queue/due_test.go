package queue_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/store/memstore"
)

// many is a store in which jobs are due for a minute, more than one step moves.
type many struct {
	*memstore.Store
	until time.Time
}

func (m many) Due(ctx context.Context) (int, error) {
	if time.Now().After(m.until) {
		return m.Store.Due(ctx)
	}
	return store.DueStep, memstore.Slow(100 * time.Millisecond)(ctx)
}

// Claims do not wait until all jobs that are due were moved.
func TestClaimsWhileManyJobsAreDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixtureOf(t, 1)
		f.Store = many{f.way, time.Now().Add(time.Minute)}
		f.serve()
		first, next := submit(t, f, "2s"), submit(t, f, "1s")
		time.Sleep(5 * time.Second)
		wantSucceeded(t, f, first, next)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// taken is a store in which another host has jobs that are due in its hands.
type taken struct {
	*memstore.Store
	asked *atomic.Int32
}

func (s taken) NextDue(context.Context) (time.Duration, bool, error) {
	s.asked.Add(1)
	return 0, true, nil
}

// A host looks for jobs that another one moves now and then, not all the time.
func TestDueJobsOfAnotherHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixtureOf(t, 1)
		s := taken{f.way, new(atomic.Int32)}
		f.Store = s
		f.serve()
		time.Sleep(10 * time.Second)
		if n := s.asked.Load(); n < 100 || n > 220 {
			t.Errorf("looked %d times in 10s, want about 20 a second", n)
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// Deadlines pass also while jobs that are due cannot be moved.
func TestDeadlinesWhileNothingIsMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1)
		submit(t, f, "1m")
		f.way.Befall(func(call string) (fault memstore.Fault) {
			if call == "Due" {
				fault.Before = memstore.Away
			}
			return fault
		})
		j := newJob("1s")
		j.Deadline = time.Now().Add(3 * time.Second)
		submitJob(t, f, j)
		time.Sleep(10 * time.Second)
		if got := f.job(j.ID).Status; got != job.Killed {
			t.Errorf("status = %s after the deadline, want KILLED", got)
		}
		time.Sleep(time.Minute)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
