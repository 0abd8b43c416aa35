package queue

import (
	"context"
	"errors"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Submit records a job. It runs at once when a slot is free and nothing older
// waits; else it waits. When Submit returns without an error, the job is
// durable. It is errs.Limited when too many wait.
func (q *Queue) Submit(ctx context.Context, j *job.Job) error {
	if err := q.limit.check(j.User); err != nil {
		return err
	}
	a := q.hold(j.ID)
	if a == nil {
		return stopping()
	}
	can := q.CanRun(j)
	taken := can && j.StartAfter.IsZero() && !q.full.Load() && q.slots.take(1) == 1
	// The caller may leave, but a record that was begun is seen through, so that
	// a lease which came of it is never without its runner.
	lease, err := q.Store.Submit(context.WithoutCancel(ctx), store.Submission{
		Job: j, Host: q.Host, Epoch: q.Epoch, Claim: taken, Lanes: q.lanes.Load(),
	})
	if lease != nil {
		q.Observer.Submitted(j)
		q.Observer.Waited(j, time.Since(j.CreatedAt))
		q.begin(a, job.Claimed{Job: j, Lease: *lease}, q.start)
		return nil
	}
	if taken {
		q.slots.give(1)
	}
	if errors.Is(err, store.ErrUnknown) {
		q.doubts.add(j.ID)
	}
	q.release(j.ID, a)
	if err != nil {
		return err
	}
	q.Observer.Submitted(j)
	q.limit.add(j.User, 1)
	if !j.StartAfter.IsZero() {
		q.later()
		return nil
	}
	q.waits(can)
	return nil
}

// stopping is the answer to a submission once the queue drains.
func stopping() error {
	return &errs.Error{Kind: errs.Unavailable, Message: "this host is stopping and takes no jobs", Retry: 5 * time.Second}
}

// waits makes somebody look for a job that waits now, which this host can run, or
// cannot.
func (q *Queue) waits(can bool) {
	if !can || !q.slots.some() {
		q.Word.SayWorkWaits()
	}
	if can {
		q.more.Store(true)
		q.look()
	}
}

// WorkWaits is what another host says when a job waits that this one may have.
func (q *Queue) WorkWaits() {
	q.more.Store(true)
	if q.slots.some() {
		q.look()
	}
}

// SubmitKeyed records a job whose submission has an idempotency key, or which has a
// unique key, and returns its id, or that of the job for which the key stands
// already. The job waits. It is errs.Limited when too many do.
func (q *Queue) SubmitKeyed(ctx context.Context, j *job.Job, k store.Key) (job.ID, error) {
	if err := q.limit.check(j.User); err != nil {
		return "", err
	}
	a := q.hold(j.ID) // the host does not stop before the answer is known
	if a == nil {
		return "", stopping()
	}
	defer q.release(j.ID, a)
	id, err := q.Store.SubmitKeyed(context.WithoutCancel(ctx), store.Submission{Job: j, Host: q.Host, Epoch: q.Epoch}, k)
	if errors.Is(err, store.ErrUnknown) && k.Text == "" {
		q.doubts.add(j.ID) // with a key, the caller can ask again for the same job
	}
	if err != nil {
		return "", err
	}
	if id == j.ID {
		q.Observer.Submitted(j)
		q.limit.add(j.User, 1)
	}
	if !j.StartAfter.IsZero() {
		q.later()
		return id, nil
	}
	q.waits(q.CanRun(j))
	return id, nil
}
