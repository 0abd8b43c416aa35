package queue

import (
	"context"
	"errors"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// attempt is an attempt that runs here, or is about to: it is known from before
// its lease is asked for until its end is recorded, so that whoever wants to stop
// it finds it.
type attempt struct {
	ctx    context.Context // canceled when the attempt is to stop
	stop   context.CancelCauseFunc
	done   chan struct{} // closed once nothing of it runs any more
	before *attempt      // one of the same job that still runs here, and must not any more; nil: none

	// Those below are guarded by the lock of the queue.
	detach bool        // it goes on while the host restarts
	begun  bool        // its lease is known
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
	if old := q.running[id]; old != nil && old.begun {
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

// performer runs an attempt to its end.
type performer func(ctx context.Context, c job.Claimed, started func(time.Time)) (o job.Outcome, done func())

// begin runs a leased job in a slot that was taken for it.
func (q *Queue) begin(a *attempt, c job.Claimed, run performer) {
	q.mu.Lock()
	a.detach = q.Runner.Detaches(c.Job)
	a.begun, a.claim = true, c
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
	outcome, done := q.attempt(a.ctx, c, run)
	for outcome.Resumable || outcome.Unstarted && c.Resume {
		if outcome.Unstarted { // what it follows goes on outside
			q.awaitRight(a.ctx)
			if a.ctx.Err() != nil {
				run = q.Runner.Run // it begins nothing any more, and says how it ended
			}
			outcome, done = q.attempt(a.ctx, c, run)
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
		outcome, done = q.attempt(a.ctx, c, run)
	}
	q.slots.give(1)
	q.mu.Lock()
	a.ending = true
	q.mu.Unlock()
	switch {
	case outcome.Unstarted:
		q.giveBack(c)
		return
	case outcome.Status == "":
		q.Log.Info("a job goes on without this host, for its next start to follow", "job", c.Job.ID)
		return
	}
	if q.backlog.Load() {
		q.look()
	}
	q.finish(c, outcome, done, q.giveUp)
}

// giveBackTime bounds how long a job that was never begun is given back. What comes
// later comes by comparison.
const giveBackTime = 2 * time.Second

// giveBack gives back a job that was never begun, because the host has no right to
// run just now.
func (q *Queue) giveBack(c job.Claimed) {
	q.Log.Warn("a job was not begun, because this host could not renew its right to run: it waits again", "job", c.Job.ID)
	ctx, cancel := context.WithTimeout(context.Background(), giveBackTime)
	defer cancel()
	if err := q.Store.GiveBack(ctx, []job.Lease{c.Lease}); err != nil {
		signal(q.compare)
		return
	}
	q.waits(q.CanRun(c.Job))
}

// attempt runs one attempt. The job is marked as running when that takes a while.
func (q *Queue) attempt(ctx context.Context, c job.Claimed, run performer) (o job.Outcome, done func()) {
	var mark *time.Timer
	o, done = run(ctx, c, func(time.Time) {
		mark = time.AfterFunc(startedAfter, func() { q.starts.add(c.Lease) })
	})
	if mark != nil {
		mark.Stop()
	}
	return o, done
}

// finish records the end of an attempt, lets go of what was kept until then and
// tells who waits. It tries again while the store is away, until giveUp is
// closed: the work is done and must not be forgotten.
func (q *Queue) finish(c job.Claimed, outcome job.Outcome, done func(), giveUp <-chan struct{}) {
	var retry *time.Time
	if at, again := retryAt(c, outcome, time.Now()); again {
		retry = &at
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := q.record(c, &outcome, retry)
		switch {
		case err == nil && retry != nil && outcome.Status != job.Canceled:
			q.Log.Info("an attempt has failed and is retried", "job", c.Job.ID, "attempt", c.Lease.Attempt, "error", outcome.Error, "at", *retry)
			done()
			if outcome.Remains != "" {
				q.Remains()
			}
			q.later()
			return
		case err == nil:
			done()
			q.publish(c, outcome)
			if outcome.Remains != "" {
				q.Remains()
			}
			return
		case errors.Is(err, store.ErrLeaseLost):
			q.Log.Warn("the end of a job was refused: its lease is not this host's any more", "job", c.Job.ID, "attempt", c.Lease.Attempt)
			done()
			return
		case errs.Is(err, errs.Invalid):
			// It would be refused for ever: what the plugin brought goes.
			outcome.Status, outcome.Result, outcome.Outputs = job.Failed, nil, nil
			outcome.Error = &job.Error{Class: job.Internal, Message: "what the plugin brought cannot be recorded: " + err.Error()}
		}
		q.Log.Warn("the end of a job could not be recorded yet", "job", c.Job.ID, "error", err, "again_in", wait)
		select {
		case <-time.After(wait):
		case <-giveUp:
			q.Log.Error("the end of a job could not be recorded before the host stopped", "job", c.Job.ID, "status", outcome.Status, "error", err)
			return
		}
	}
}

// publish tells who waits that the job has ended.
func (q *Queue) publish(c job.Claimed, o job.Outcome) {
	ended := *c.Job
	ended.Attempt, ended.HostID = c.Lease.Attempt, c.Lease.HostID
	ended.Status, ended.Error, ended.Result, ended.Outputs, ended.Logs = o.Status, o.Error, o.Result, o.Outputs, o.Logs
	ended.StartedAt, ended.EndedAt, ended.UpdatedAt = o.StartedAt, o.EndedAt, o.EndedAt
	q.Ended(&ended)
	q.Word.SayEnded(c.Job.ID)
}

// Has reports whether an attempt of a job runs here.
func (q *Queue) Has(id job.ID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.running[id]
	return a != nil && a.begun
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

// drain waits until nothing runs here. Jobs that go on while the host restarts
// are left at once; what still runs after the drain time is stopped. Once ctx is
// done the host has lost its right to run: what jobs do outside is not its own any
// more, and is left alone where another attempt can go on with it.
func (q *Queue) drain(ctx context.Context) {
	q.mu.Lock()
	q.draining = true
	signal(q.astir)
	for _, a := range q.running {
		if a.detach {
			a.stop(&pluginhost.Stop{Reason: pluginhost.StopDetach})
		}
	}
	q.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		q.attempts.Wait()
		close(ended)
	}()
	wait := time.NewTimer(q.Drain)
	defer wait.Stop()
	select {
	case <-ended:
		return
	case <-ctx.Done():
	case <-q.Hurry:
	case <-wait.C:
	}
	why := &pluginhost.Stop{Reason: pluginhost.StopShutdown, Message: "the host was stopped while the job ran", Grace: q.Grace}
	if ctx.Err() != nil {
		why = &pluginhost.Stop{Reason: pluginhost.StopLeaseLost, Message: "the host has lost its right to run the job", Grace: q.Grace}
	}
	q.mu.Lock()
	q.Log.Info("what still runs is stopped because the host stops", "attempts", len(q.running), "reason", why.Reason)
	for _, a := range q.running {
		a.stop(why)
	}
	q.mu.Unlock()
	close(q.giveUp)
	<-ended
}
