package queue

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// attempt is an attempt that runs here, or is about to: it is known from before
// its lease is asked for until its end is recorded, so that whoever wants to stop
// it finds it.
type attempt struct {
	ctx    context.Context // canceled when the attempt is to stop
	stop   context.CancelCauseFunc
	done   chan struct{} // closed once nothing of it runs any more
	before *attempt      // one of the same job that still runs here, and must not any more; nil: none
	begun  atomic.Bool   // a plugin works on it, or an earlier attempt of the job

	// Those below are guarded by the lock of the queue.
	detach bool        // it goes on while the host restarts
	leased bool        // its lease is known
	ending bool        // its lease is being consumed
	claim  job.Claimed // that it runs by
}

// hold makes an attempt known; release is to follow. It returns nil once the
// queue drains.
func (q *Queue) hold(id job.ID) *attempt {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.draining {
		return nil
	}
	q.attempts.Add(1)
	a := &attempt{done: make(chan struct{})}
	if old := q.running[id]; old != nil && old.leased {
		a.before = old
	}
	a.ctx, a.stop = context.WithCancelCause(context.Background())
	q.running[id] = a
	return a
}

// release ends what hold began. The job may be held anew by then: one that waits
// can be claimed before its submission is answered.
func (q *Queue) release(id job.ID, a *attempt) {
	a.stop(nil)
	close(a.done)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running[id] == a {
		delete(q.running, id)
	}
	q.attempts.Done()
}

// Holds reports whether a job runs here, or is about to, or its end is not recorded
// yet.
func (q *Queue) Holds(id job.ID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running[id] != nil
}

// performer runs an attempt to its end.
type performer func(ctx context.Context, c job.Claimed, started func(time.Time)) (o job.Outcome, done func())

// begin runs a leased job in a slot that was taken for it.
func (q *Queue) begin(a *attempt, c job.Claimed, run performer) {
	q.mu.Lock()
	a.detach = q.Runner.Detaches(c.Job)
	a.leased, a.claim = true, c
	q.mu.Unlock()
	go func() { // drain waits for its release
		defer q.release(c.Job.ID, a)
		if a.before != nil { // the job was lost here, and is back
			a.before.stop(&pluginhost.Stop{Reason: pluginhost.StopLeaseLost, Message: "the job is not this attempt's any more"})
			<-a.before.done
		}
		q.perform(a, c, run)
	}()
}

// perform runs an attempt, and those that resume its work, to the end of the job.
func (q *Queue) perform(a *attempt, c job.Claimed, run performer) {
	outcome, done := q.attempt(a, c, run)
	for outcome.Resumable || outcome.Unstarted && c.Resume {
		if outcome.Unstarted { // what it follows goes on outside
			q.awaitRight(a.ctx)
			if a.ctx.Err() != nil {
				run = q.Runner.Run // it begins nothing any more, and says how it ended
			}
			outcome, done = q.attempt(a, c, run)
			continue
		}
		next, resumed := q.next(a.ctx, c, &outcome)
		if !resumed {
			break
		}
		done()
		c = next
		q.mu.Lock()
		a.claim = c
		q.mu.Unlock()
		run = q.start
		outcome, done = q.attempt(a, c, run)
	}
	q.slots.give(1)
	if stop, ok := errors.AsType[*pluginhost.Stop](context.Cause(a.ctx)); ok && stop.Reason == pluginhost.StopLeaseLost {
		outcome.HostFault = true
	}
	q.mu.Lock()
	a.ending = true
	q.mu.Unlock()
	switch {
	case outcome.Unstarted:
		q.Log.Warn("a job was not begun, because this host could not renew its right to run", "job", c.Job.ID)
		outcome.Status, outcome.Error = job.Killed, &job.Error{Class: job.Shutdown, Message: "the host could not renew its right to run", RetrySafe: true}
	case outcome.Status == "":
		q.Log.Info("a job goes on without this host, for its next start to follow", "job", c.Job.ID)
		return
	}
	if q.more.Load() {
		q.look()
	}
	q.finish(c, outcome, a.begun.Load(), done, q.giveUp)
}

// attempt runs one attempt. The job is marked as running when that takes a while.
func (q *Queue) attempt(a *attempt, c job.Claimed, run performer) (o job.Outcome, done func()) {
	var mark *time.Timer
	o, done = run(a.ctx, c, func(time.Time) {
		a.begun.Store(true)
		mark = time.AfterFunc(startedAfter, func() { q.starts.add(c.Lease) })
	})
	if mark != nil {
		mark.Stop()
	}
	return o, done
}

// stop asks an attempt that runs here to end.
func (q *Queue) stop(id job.ID, why *pluginhost.Stop) {
	q.mu.Lock()
	a := q.running[id]
	q.mu.Unlock()
	if a != nil {
		a.stop(why)
	}
}
