package queue

import (
	"context"
	"errors"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/spool"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// finish records what became of an attempt, lets go of what was kept until then
// and tells who waits. While the store is away it tries again, until giveUp is
// closed: then a later life of the host has it from the spool.
func (q *Queue) finish(c job.Claimed, outcome job.Outcome, begun bool, done func(), giveUp <-chan struct{}) {
	r := spool.Record{End: job.End{Lease: c.Lease, Outcome: outcome, Unique: c.Job.UniqueKey != ""}}
	// The checkpoint goes with the job, and nobody resumes.
	r.End.Saved = outcome.Checkpoint != nil || c.Checkpoint != nil
	r.End.Checkpoint, r.End.Resumable = nil, false
	if e := outcome.Error; !begun && e != nil && e.Class == job.Shutdown && e.RetrySafe {
		r.Back = true
	} else if at, again := retryAt(c, outcome, time.Now()); again {
		r.Retry = at
	}
	err := q.commit(&r, q.keeper(r), giveUp)
	if errors.Is(err, store.ErrLeaseLost) {
		q.Log.Warn("the end of a job was refused: its lease is not this host's any more", c.Fields()...)
		done()
		return
	}
	if err != nil {
		return
	}
	done()
	switch {
	case r.Back:
		q.Log.Info("a job that had not begun waits again", c.Fields()...)
		q.waits(q.CanRun(c.Job))
	case !r.Retry.IsZero() && r.End.Status != job.Canceled:
		q.Log.Info("an attempt has failed and is retried", c.Fields("error", outcome.Error, "at", r.Retry.UTC().Format(time.RFC3339Nano))...)
		q.Observer.Ended(c, r.End.Outcome, true)
		q.later()
	default:
		q.Observer.Ended(c, r.End.Outcome, false)
		q.publish(c, r.End.Outcome)
	}
	if outcome.Remains != "" {
		q.Remains()
	}
}

// commit records what became of an attempt, and has it kept on disk meanwhile when
// that takes its time. It returns store.ErrLeaseLost when the attempt is not this
// host's any more, and any other error when it gave up.
func (q *Queue) commit(r *spool.Record, k *keeper, giveUp <-chan struct{}) error {
	id := r.End.JobID
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		slow := time.AfterFunc(slowTime, k.keep)
		err := q.record(r)
		slow.Stop()
		if err == nil || errors.Is(err, store.ErrLeaseLost) {
			k.drop()
			return err
		}
		if errs.Is(err, errs.Invalid) {
			// It would be refused for ever: what the plugin brought goes.
			r.End.Status, r.End.Result, r.End.Outputs = job.Failed, nil, nil
			r.End.Error = &job.Error{Class: job.Internal, Message: "what the plugin brought cannot be recorded: " + err.Error()}
		}
		k.keep()
		q.Log.Warn("the end of a job could not be recorded yet", "job_id", id, "error", err, "again_in", wait)
		var late chan struct{}
		if k.has() {
			late = q.late
		}
		select {
		case <-time.After(wait):
			continue
		case <-late:
		case <-giveUp:
		}
		if k.has() {
			q.Log.Warn("the host stops before the end of a job could be recorded; its next start does that", "job_id", id, "status", r.End.Status)
		} else {
			q.Log.Error("the end of a job could not be recorded before the host stopped, and not be spooled", "job_id", id, "status", r.End.Status, "error", err)
		}
		return err
	}
}

// record writes what became of an attempt: the job waits again as if it had never
// been claimed, or until the time of its retry, or it ends. A job that somebody
// has asked to cancel ends canceled.
func (q *Queue) record(r *spool.Record) error {
	if r.Back {
		return q.giveBack(r.End.Lease)
	}
	if r.Retry.IsZero() {
		return q.Store.End(context.Background(), r.End)
	}
	by, err := q.Store.Retry(context.Background(), r.End, r.Retry)
	if err != nil || by == "" {
		return err
	}
	if r.End.Status != job.Canceled { // else the end was not recorded the last time
		cancelOutcome(&r.End.Outcome, canceledBy(by, pluginhost.StopUser))
	}
	return q.Store.End(context.Background(), r.End)
}

// giveBack lets a job wait again that has not begun. Where the answer is lost, that
// is not repeated while this host claims: it may have claimed the job anew, and that
// lease looks the same. The comparison of leases with what runs finds out then.
func (q *Queue) giveBack(l job.Lease) error {
	claims := l.Epoch == q.Epoch && !q.drains() // now, or while the answer is awaited
	err := q.Store.GiveBack(context.Background(), []job.Lease{l})
	if !claims || !errors.Is(err, store.ErrUnknown) {
		return err
	}
	q.Log.Warn("whether a job that had not begun waits again is unknown; its lease is looked for", "job_id", l.JobID, "error", err)
	return nil
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

// recordLeft records what an earlier life of this host has spooled. Until that is
// done nothing may be adopted: a job that has ended would be called lost. It
// reports false when ctx is done before.
func (q *Queue) recordLeft(ctx context.Context) bool {
	if q.Spool == nil {
		return true
	}
	left := q.Spool.Left()
	recorded := 0
	for _, e := range left {
		r := e.Record
		err := q.commit(&r, q.kept(e), ctx.Done())
		switch {
		case errors.Is(err, store.ErrLeaseLost):
			q.Log.Warn("an end that was spooled was refused: the job was ended or given to another meanwhile", "job_id", r.End.JobID, "attempt", r.End.Attempt, "status", r.End.Status)
		case err != nil:
			return false
		default:
			recorded++
			q.Recorded(r)
		}
	}
	if len(left) > 0 {
		q.Log.Info("what became of jobs before the host stopped is recorded now", "jobs", recorded, "of", len(left))
	}
	return true
}
