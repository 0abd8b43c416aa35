package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// resume takes over the attempts that an earlier life of this host left behind:
// those that a plugin still knows are followed, those that never began wait
// again, and the others are lost, and resumed where that can be.
func (q *Queue) resume(ctx context.Context) error {
	if !q.recordLeft(ctx) {
		return nil // stopped before it began
	}
	adopted, err := q.adopt(ctx)
	if errs.Is(err, errs.Unavailable) {
		return nil // stopped before it began
	}
	if err != nil {
		return fmt.Errorf("take over what this host ran before: %w", err)
	}
	var followed, unbegun, lost int
	var back []job.Lease
	for _, c := range adopted {
		switch fate := q.Runner.Recall(c); {
		case fate == pluginhost.Known:
			followed++
			q.takeUp(c, q.Runner.Follow)
		case fate == pluginhost.Unbegun && c.Resume:
			followed++
			q.Runner.Carry(c)
			q.takeUp(c, q.start)
		case fate == pluginhost.Unbegun && c.Job.StartedAt.IsZero():
			unbegun++
			back = append(back, c.Lease)
		default:
			lost++
			q.lose(ctx, c)
		}
	}
	q.Resumed()
	if len(adopted) > 0 {
		q.Log.Info("went on with what this host ran before", "followed", followed, "waiting_again", unbegun, "lost", lost)
	}
	if len(back) == 0 {
		return nil
	}
	if err := q.Store.GiveBack(context.WithoutCancel(ctx), back); err != nil {
		// Nobody runs them: they are given back by comparison.
		q.Log.Warn("jobs that never began could not be given back yet", "jobs", len(back), "error", err)
	}
	return nil
}

// adopt takes over the leases of earlier lives, once the store is there, and returns
// their jobs. No lease may be passed over, also where an answer is lost: the plugins
// are told soon that what was not recalled is nobody's. A host that stops meanwhile
// still asks once: else its plugins would go on, with ends that are long recorded.
// The error is that of the store when it stops before the store is there.
func (q *Queue) adopt(ctx context.Context) ([]job.Claimed, error) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		adopted, err := q.adoptOnce(context.WithoutCancel(ctx))
		if !errs.Is(err, errs.Unavailable) {
			return adopted, err
		}
		q.Log.Warn("what this host ran before could not be taken over yet", "error", err, "again_in", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (q *Queue) adoptOnce(ctx context.Context) ([]job.Claimed, error) {
	if err := q.Store.Adopt(ctx, q.Host, q.Epoch); err != nil {
		return nil, err
	}
	held := q.held()
	leases, err := q.Store.Leases(ctx, q.Host, q.Epoch)
	if err != nil {
		return nil, err
	}
	return q.Store.Leased(ctx, q.Host, q.Epoch, q.withoutAttempt(leases, held))
}

// takeUp goes on with an attempt of an earlier life, also beyond the slots.
func (q *Queue) takeUp(c job.Claimed, run performer) {
	q.slots.force(1)
	a := q.hold(c.Job.ID)
	a.begun.Store(true)
	q.begin(a, c, run)
}

// lose ends an attempt that nobody follows any more. Where another one may go on
// with its work, that takes its time.
func (q *Queue) lose(ctx context.Context, c job.Claimed) {
	q.Log.Warn("a job was lost when the host stopped", c.Fields()...)
	if c.Lease.Attempt > 1 {
		q.Runner.Carry(c)
	}
	if c.Checkpoint != nil && c.Job.Status != job.Canceling {
		q.takeUp(c, func(ctx context.Context, c job.Claimed, _ func(time.Time)) (job.Outcome, func()) {
			return q.Runner.Lost(ctx, c)
		})
		return
	}
	outcome, done := q.Runner.Lost(ctx, c)
	if c.Job.Status == job.Canceling {
		cancelOutcome(&outcome, canceledBy(c.Job.CanceledBy, pluginhost.StopUser))
	}
	q.finish(c, outcome, true, done, ctx.Done())
}

// cancelOutcome makes the loss of a job that somebody has asked to cancel its
// cancel.
func cancelOutcome(o *job.Outcome, how string) {
	o.Status = job.Canceled
	o.Error = new(*o.Error)
	o.Error.Message = how + "; " + o.Error.Message
}

// next hands the lease of a lost attempt to one that resumes its work, and
// returns that; false when there is none, and the outcome stands as it is then.
// It tries again while the store is away, also for a job that somebody has asked to
// cancel: a lease of which it is unknown which attempt has it cannot be ended.
func (q *Queue) next(ctx context.Context, c job.Claimed, o *job.Outcome) (job.Claimed, bool) {
	stopped := ctx.Done()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		lease, by, err := q.Store.Resume(context.WithoutCancel(ctx), job.End{Lease: c.Lease, Outcome: *o})
		switch {
		case err == nil && by != "":
			cancelOutcome(o, canceledBy(by, pluginhost.StopUser))
			return c, false
		case err == nil:
			q.Log.Warn("a job was lost and is resumed", c.Fields("next_attempt", lease.Attempt, "error", o.Error)...)
			q.Observer.Resumed(c, *o)
			running := *c.Job
			running.Status, running.Attempt, running.StartedAt = job.Running, lease.Attempt, o.StartedAt
			next := job.Claimed{Job: &running, Lease: lease, Checkpoint: o.Checkpoint, Resume: true, Retries: c.Retries}
			q.Runner.Carry(next)
			return next, true
		case errors.Is(err, store.ErrLeaseLost), errs.Is(err, errs.Invalid):
			return c, false // the end will find that out, too
		}
		q.Log.Warn("a lost job could not be resumed yet", c.Fields("error", err, "again_in", wait)...)
		select {
		case <-time.After(wait):
			continue
		case <-stopped:
			stop, _ := errors.AsType[*pluginhost.Stop](context.Cause(ctx))
			if stop != nil && (stop.Reason == pluginhost.StopUser || stop.Reason == pluginhost.StopClientGone) {
				stopped = nil // the store answers with that wish, or the next attempt ends by it
				continue
			}
		case <-q.giveUp:
		}
		o.Status = "" // a later life of the host goes on
		return c, false
	}
}
