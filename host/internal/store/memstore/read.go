package memstore

import (
	"context"
	"slices"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// view returns a job with its state.
func (r *record) view() *job.Job {
	j := request(&r.Job)
	switch {
	case r.end != nil:
		last := r.attempts[r.end.attempt]
		j.Status, j.Attempt, j.Error, j.Outputs, j.Result = r.end.status, r.end.attempt, keptError(r.end.err), copied(r.end.outputs), keptResult(r.end.result)
		if j.Status == job.Canceled {
			j.CanceledBy = r.end.cancelBy
		}
		j.HostID, j.Logs, j.StartedAt = last.lease.HostID, last.logs, last.startedAt
		j.EndedAt, j.UpdatedAt = r.end.at, r.end.at
	case r.lease != nil:
		j.Status = job.Accepted
		if !r.lease.startedAt.IsZero() {
			j.Status = job.Running
		}
		if !r.lease.cancelAt.IsZero() {
			j.Status, j.CanceledBy = job.Canceling, r.lease.cancelBy
		}
		j.Attempt, j.Retries, j.HostID = r.lease.attempt, r.lease.retries, r.lease.host
		j.StartedAt, j.UpdatedAt = r.lease.startedAt, r.lease.updatedAt
	case r.ready != nil:
		j.Status, j.Attempt, j.Retries, j.UpdatedAt = job.New, r.ready.attempt-1, r.ready.retries, r.ready.updatedAt
	case r.due != nil:
		j.Status, j.Attempt, j.Retries, j.DueAt, j.UpdatedAt = job.New, r.due.attempt-1, r.due.retries, r.due.at, r.due.updatedAt
	}
	return &j
}

func keptError(e *job.Error) *job.Error {
	if e == nil {
		return nil
	}
	kept := *e
	return &kept
}

// Job is that of store.DB.
func (s *Store) Job(ctx context.Context, id job.ID) (j *job.Job, err error) {
	err = s.do(ctx, "Job", func(t *tables) error {
		r := t.jobs[id]
		if r == nil {
			return missing(id)
		}
		j = r.view()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return j, nil
}

// Ended is that of store.DB.
func (s *Store) Ended(ctx context.Context, ids []job.ID) (found []job.ID, err error) {
	for _, id := range ids {
		if err := checkID(id); err != nil {
			return nil, err
		}
	}
	err = s.do(ctx, "Ended", func(t *tables) error {
		for _, id := range ids {
			if r := t.jobs[id]; r != nil && r.end != nil && !slices.Contains(found, id) {
				found = append(found, id)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}
