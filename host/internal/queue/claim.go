package queue

import (
	"context"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/store"
)

// claim takes waiting jobs whenever slots are free, until ctx is done.
func (q *Queue) claim(ctx context.Context) {
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	compare := time.NewTicker(q.Lease / beats)
	defer compare.Stop()
	q.measure()
	q.look()
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.wake:
		case <-q.due:
			q.turnOver(ctx)
		case <-poll.C:
			q.measure()
			q.turnOver(ctx)
		case <-compare.C:
			q.settle(ctx)
		}
		for q.claimSome(ctx) {
		}
	}
}

// claimSome claims as many jobs as there are free slots and reports whether more
// may be waiting that fit.
func (q *Queue) claimSome(ctx context.Context) bool {
	if q.full.Load() {
		return false
	}
	n := q.slots.take(mostClaims)
	if n == 0 || ctx.Err() != nil || q.left() <= 0 || !q.withdraw(ctx) {
		q.slots.give(n)
		return false
	}
	q.more.Store(false) // a submission from here on sets it again
	claimed, err := q.Store.Claim(context.WithoutCancel(ctx), store.Claim{Host: q.Host, Epoch: q.Epoch, Most: n, Lanes: q.lanes.Load()})
	if err != nil {
		q.Log.Warn("waiting jobs could not be claimed", "error", err)
	}
	q.slots.give(n - len(claimed))
	q.limit.claimed(claimed)
	for _, c := range claimed {
		if c.Lease.Attempt == 1 {
			q.Observer.Waited(c.Job, time.Since(latest(c.Job.CreatedAt, c.Job.StartAfter)))
		}
		run := q.start
		if c.Resume {
			run = q.takeOver
		}
		q.begin(q.hold(c.Job.ID), c, run) // the queue drains only after the last claim
	}
	full := len(claimed) == n || q.lanes.Load() && len(claimed) > 0
	if full {
		q.more.Store(true)
	}
	return full
}

// latest returns the later of two times.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// measure looks whether there is room for more jobs.
func (q *Queue) measure() {
	if q.Room == nil {
		return
	}
	err := q.Room()
	if full := err != nil; q.full.Swap(full) == full {
		return
	}
	signal(q.astir)
	if err != nil {
		q.Log.Error("no more jobs are begun here until there is room; those that run go on", "error", err)
		return
	}
	q.Log.Info("there is room again, and jobs are begun")
	q.more.Store(true)
}

// look makes the claim loop look for waiting jobs.
func (q *Queue) look() { signal(q.wake) }
