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
	ctx    context.Context         // canceled when the attempt is to stop; set under the lock of the queue
	stop   context.CancelCauseFunc // is called under that by others than the attempt
	done   chan struct{}           // closed once nothing of it runs any more
	before *attempt                // one of the same job that still runs here, and must not any more; nil: none
	begun  atomic.Bool             // a plugin works on it, or an earlier attempt of the job

	// Those below are guarded by the lock of the queue.
	detach bool        // it goes on while the host restarts
	leased bool        // its lease is known
	ending bool        // its lease is being consumed
	idle   bool        // nothing of it runs: it waits for the store or the right of the host
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

// Attempt returns the attempt of a job that runs here, or whose end is not recorded
// yet; 0 when there is none.
func (q *Queue) Attempt(id job.ID) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if a := q.running[id]; a != nil && a.leased {
		return a.claim.Lease.Attempt
	}
	return 0
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
			q.mu.Lock()
			a.before.stop(&pluginhost.Stop{Reason: pluginhost.StopLeaseLost, Message: "the job is not this attempt's any more"})
			q.mu.Unlock()
			<-a.before.done
		}
		q.perform(a, c, run)
	}()
}

// perform runs an attempt, and those that resume its work, to the end of the job.
func (q *Queue) perform(a *attempt, c job.Claimed, run performer) {
	outcome, done := q.attempt(a, c, run)
	for {
		after := q.start
		if q.lapsed(a, c, &outcome) {
			after = q.takeOver
		}
		if outcome.Unstarted && c.Resume { // what it follows goes on outside
			q.regain(a, c.Lease)
			if a.ctx.Err() != nil {
				run = q.Runner.Run // it begins nothing any more, and says how it ended
			}
			outcome, done = q.attempt(a, c, run)
			continue
		}
		if !outcome.Resumable {
			break
		}
		q.idles(a, true) // else a lapse of the right would end its wait for the store
		next, resumed := q.next(a.ctx, c, &outcome)
		q.idles(a, false)
		if !resumed {
			break
		}
		done()
		c = next
		q.mu.Lock()
		a.claim = c
		q.mu.Unlock()
		run = after
		outcome, done = q.attempt(a, c, run)
	}
	if outcome.Elsewhere {
		// Others hear of it soon, and so does what says which jobs this host may claim.
		select {
		case <-time.After(elsewhereAfter):
		case <-a.ctx.Done():
		}
	}
	q.slots.give(1)
	if stopsFor(a.ctx, pluginhost.StopLeaseLost) {
		outcome.HostFault = true
	}
	q.mu.Lock()
	a.ending = true
	q.mu.Unlock()
	switch {
	case outcome.Unstarted:
		q.Log.Warn("a job was not begun, because this host could not renew its right to run", c.Fields()...)
		outcome.Status, outcome.Error = job.Killed, notBegun("the host could not renew its right to run")
	case outcome.Elsewhere:
		q.Log.Info("a job was not begun, because its command or cluster has become one that only other hosts know", c.Fields()...)
		outcome.Status, outcome.Error = job.Killed, notBegun("only other hosts can run the job")
	case outcome.Status == "":
		q.Log.Info("a job goes on without this host, for its next start to follow", c.Fields()...)
		return
	}
	if q.more.Load() {
		q.look()
	}
	q.finish(c, outcome, a.begun.Load(), done, q.giveUp)
}

// elsewhereAfter is how long a job is held that this host cannot run: it must not take
// and leave it again and again.
const elsewhereAfter = 100 * time.Millisecond

// notBegun is why a job waits again that was claimed and not begun.
func notBegun(message string) *job.Error {
	return &job.Error{Class: job.Shutdown, Message: message, RetrySafe: true}
}

// lapsed makes an attempt resumable that was stopped because its lease may be over,
// when there is a checkpoint: where nobody has taken the job by the time the store
// answers, it goes on here, as it would elsewhere. In a host that drains, it is left
// to the next life.
func (q *Queue) lapsed(a *attempt, c job.Claimed, o *job.Outcome) bool {
	if !stopsFor(a.ctx, pluginhost.StopLeaseLost) || o.Resumable || o.Error == nil || o.Error.Class != job.Lost {
		return false
	}
	switch {
	case o.Checkpoint != nil:
		o.Checkpoint = new(*o.Checkpoint)
		o.Checkpoint.Outputs = o.Outputs // some may have come since
	case c.Checkpoint != nil:
		o.Checkpoint = c.Checkpoint
	default:
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.draining {
		o.Status = ""
		return false
	}
	o.Resumable = true
	a.ctx, a.stop = context.WithCancelCause(context.Background())
	return true
}

// stopsFor reports whether ctx is done for that reason.
func stopsFor(ctx context.Context, reason pluginhost.StopReason) bool {
	stop, ok := errors.AsType[*pluginhost.Stop](context.Cause(ctx))
	return ok && stop.Reason == reason
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
	defer q.mu.Unlock()
	if a := q.running[id]; a != nil {
		a.stop(why)
	}
}
