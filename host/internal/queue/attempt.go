package queue

import (
	"context"
	"errors"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// attempt is an attempt that runs here.
type attempt struct {
	stop context.CancelCauseFunc
}

// launch runs a claimed job in a slot that was taken for it.
func (q *Queue) launch(c job.Claimed) {
	ctx, stop := context.WithCancelCause(context.Background())
	q.mu.Lock()
	q.running[c.Job.ID] = &attempt{stop: stop}
	q.mu.Unlock()
	q.attempts.Go(func() {
		defer stop(nil)
		q.perform(ctx, c)
	})
}

func (q *Queue) perform(ctx context.Context, c job.Claimed) {
	mark := time.AfterFunc(startedAfter, func() { q.starts.add(c.Lease) })
	outcome, done := q.Runner.Run(ctx, c, func(time.Time) {})
	mark.Stop()

	q.mu.Lock()
	delete(q.running, c.Job.ID)
	q.mu.Unlock()
	q.slots.give(1)
	if q.backlog.Load() {
		q.look()
	}
	if q.record(ctx, job.End{Lease: c.Lease, Outcome: outcome}) {
		done()
		q.publish(c, outcome)
	}
}

// record writes the end of an attempt and reports whether that is durable. It
// tries again while the store is away: the work is done and must not be
// forgotten.
func (q *Queue) record(ctx context.Context, end job.End) bool {
	ctx = context.WithoutCancel(ctx)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := q.Store.End(ctx, end)
		switch {
		case err == nil:
			return true
		case errors.Is(err, store.ErrLeaseLost):
			q.Log.Warn("the end of a job was refused: its lease is not this host's any more", "job", end.JobID, "attempt", end.Attempt)
			return false
		case q.gaveUp.Load():
			q.Log.Error("the end of a job could not be recorded before the host stopped", "job", end.JobID, "status", end.Status, "error", err)
			return false
		}
		q.Log.Warn("the end of a job could not be recorded yet", "job", end.JobID, "error", err, "again_in", wait)
		time.Sleep(wait)
	}
}

// publish tells who waits that the job has ended.
func (q *Queue) publish(c job.Claimed, o job.Outcome) {
	ended := *c.Job
	ended.Attempt, ended.HostID = c.Lease.Attempt, c.Lease.HostID
	ended.Status, ended.Error, ended.Result, ended.Outputs, ended.Logs = o.Status, o.Error, o.Result, o.Outputs, o.Logs
	ended.StartedAt, ended.EndedAt, ended.UpdatedAt = o.StartedAt, o.EndedAt, o.EndedAt
	q.Ended(&ended)
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

// drain waits until nothing runs here. What still runs after the drain time is
// stopped.
func (q *Queue) drain(ctx context.Context) {
	q.mu.Lock()
	q.draining = true
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
	case <-ctx.Done(): // the host has lost its right to run
	case <-q.Hurry:
	case <-wait.C:
	}
	why := &pluginhost.Stop{Reason: pluginhost.StopShutdown, Message: "the host was stopped while the job ran", Grace: q.Grace}
	q.mu.Lock()
	for id, a := range q.running {
		q.Log.Info("a running job is stopped because the host stops", "job", id)
		a.stop(why)
	}
	q.mu.Unlock()
	q.gaveUp.Store(true)
	<-ended
}
