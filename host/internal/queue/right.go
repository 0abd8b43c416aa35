package queue

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// right is the host's right to run jobs, which lasts as long as its lease without
// the last beat. After it others may take the jobs. Its times are those of the
// queue's clock.
type right struct {
	renewed chan struct{}

	mu    sync.Mutex
	until time.Duration
	last  time.Duration // when the renewal was asked for
	since time.Duration // since when the store was seen without interruption
	sees  bool          // it is seen
	skew  time.Duration // what the clock of the store is ahead of this host's
}

// renew extends the right by a renewal that was asked for at that time: the store
// counts from later on.
func (r *right) renew(asked, lease time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.sees || asked-r.last > lease/2 { // nobody looked in between
		r.sees, r.since = true, asked
	}
	r.last = asked
	r.until = max(r.until, asked+lease-lease/beats)
	signal(r.renewed)
}

// interrupted notes that the store does not answer.
func (r *right) interrupted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sees = false
}

// compare notes what the clock of the store said between two times.
func (r *right) compare(clock, sent, came time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skew = Skew(clock, sent, came)
}

// Skew returns by how much a clock is ahead of this host's at least, when it was
// read between two times; less than 0 when it is behind.
func Skew(clock, sent, came time.Time) time.Duration {
	sent, came = sent.Round(0), came.Round(0) // the clocks on the wall
	switch {
	case clock.Before(sent):
		return clock.Sub(sent)
	case clock.After(came):
		return clock.Sub(came)
	}
	return 0
}

// Skew returns by how much the clock of the store was ahead of this host's when
// it was last heard of.
func (q *Queue) Skew() time.Duration {
	q.right.mu.Lock()
	defer q.right.mu.Unlock()
	return q.right.skew
}

// left returns how long the host may still run jobs.
func (q *Queue) left() time.Duration {
	if q.Alone {
		return q.LostAfter
	}
	q.right.mu.Lock()
	defer q.right.mu.Unlock()
	return q.right.until - q.Clock()
}

// watchful reports whether the host has seen the store without interruption for a
// lease time: a host that did not renew its right in that time is lost, and the
// store was not away for it and everybody else.
func (q *Queue) watchful() bool {
	q.right.mu.Lock()
	defer q.right.mu.Unlock()
	return q.right.sees && q.Clock()-q.right.since >= q.Lease
}

// guard stops what others may run as soon as the right to run is over.
func (q *Queue) guard(ctx context.Context) {
	timer := time.NewTimer(q.left())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.right.renewed:
		case <-timer.C:
		}
		left := q.left()
		if left <= 0 {
			q.lapse()
			left = math.MaxInt64 // until it is renewed
		}
		timer.Reset(left)
	}
}

// lapse stops the attempts that another host may run: their time is over. What may
// not run elsewhere goes on. One that has saved its first checkpoint in this attempt
// stops by itself, as the sdk has it stop with the last renewal: the queue does not
// know of that checkpoint.
func (q *Queue) lapse() {
	q.mu.Lock()
	defer q.mu.Unlock()
	stopped := 0
	for _, a := range q.running {
		if a.leased && !a.ending && !a.idle && a.ctx.Err() == nil && a.runsElsewhere() {
			a.stop(&pluginhost.Stop{Reason: pluginhost.StopLeaseLost, Message: "the host could not renew its right to run the job"})
			stopped++
		}
	}
	if stopped > 0 {
		q.Log.Warn("this host could not renew its right to run: attempts that another host may run are stopped", "attempts", stopped)
	}
}

// runsElsewhere reports whether another host may have the job once the right of this
// one is over: to retry it, or to go on from its checkpoint.
func (a *attempt) runsElsewhere() bool {
	return a.claim.Resume || a.claim.Checkpoint != nil || a.claim.Job.Retry.RunsElsewhere(a.claim.Retries)
}

// regain waits until the host may run jobs, and stops the attempt when its lease was
// taken meanwhile: what it was to follow is another host's then. It waits at most
// until the attempt is stopped.
func (q *Queue) regain(a *attempt, l job.Lease) {
	q.idles(a, true)
	defer q.idles(a, false)
	for wait := 50 * time.Millisecond; a.ctx.Err() == nil; wait = min(2*wait, time.Second) {
		q.awaitRight(a.ctx)
		ctx, cancel := context.WithTimeout(a.ctx, q.left()) // an answer within the right holds as long as that
		leases, err := q.Store.Leases(ctx, q.Host, q.Epoch)
		cancel()
		if err == nil && slices.Contains(leases, l) {
			return
		}
		if err == nil {
			q.Log.Warn("an attempt is not resumed here: its lease was taken while this host was lost", "job_id", l.JobID, "attempt", l.Attempt)
			a.stop(&pluginhost.Stop{Reason: pluginhost.StopLeaseLost, Message: "the job was taken from this host while that was lost"})
			return
		}
		select {
		case <-a.ctx.Done():
		case <-time.After(wait):
		}
	}
}

// idles notes whether nothing of an attempt runs.
func (q *Queue) idles(a *attempt, idle bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a.idle = idle
}

// awaitRight waits until the host may run jobs, at most until ctx is done.
func (q *Queue) awaitRight(ctx context.Context) {
	tick := time.NewTicker(q.Lease / beats)
	defer tick.Stop()
	for q.left() <= 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// start begins an attempt, unless the right to run is over by now.
func (q *Queue) start(ctx context.Context, c job.Claimed, started func(time.Time)) (job.Outcome, func()) {
	if q.left() <= 0 {
		return job.Outcome{Unstarted: true}, func() {}
	}
	return q.Runner.Run(ctx, c, started)
}

// takeOver goes on with the work of an attempt of another host, unless the right to
// run is over by now.
func (q *Queue) takeOver(ctx context.Context, c job.Claimed, started func(time.Time)) (job.Outcome, func()) {
	if q.left() <= 0 {
		return job.Outcome{Unstarted: true}, func() {}
	}
	return q.Runner.Resume(ctx, c, started)
}
