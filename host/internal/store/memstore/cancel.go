package memstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Cancel is that of store.DB.
func (s *Store) Cancel(ctx context.Context, id job.ID, by string) (c store.Cancellation, err error) {
	if err := checkText("user", by); err != nil {
		return c, err
	}
	err = s.do(ctx, "Cancel", func(t *tables) error {
		r := t.jobs[id]
		switch {
		case r == nil:
			return missing(id)
		case r.end != nil:
			c.Status = r.end.status
		case r.lease != nil:
			if r.lease.cancelAt.IsZero() {
				r.lease.cancelAt, r.lease.cancelBy, r.lease.updatedAt = now(), by, now()
			}
			c = store.Cancellation{Status: job.Canceling, Host: r.lease.host, Attempt: r.lease.attempt}
		default:
			t.endCanceled(r, t.leave(r), by)
			c = store.Cancellation{Status: job.Canceled, Waited: true}
		}
		return nil
	})
	if err != nil {
		return store.Cancellation{}, err
	}
	return c, nil
}

func missing(id job.ID) error {
	return &errs.Error{Kind: errs.NotFound, Message: "there is no job " + string(id), ID: string(id)}
}

// endCanceled ends a job that was canceled before its next attempt.
func (t *tables) endCanceled(r *record, n next, by string) {
	t.endWaiting(r, n, job.Canceled, by, &job.Error{Class: job.WasCanceled, Message: "canceled by " + by})
}

func (t *tables) endWaiting(r *record, n next, status job.Status, by string, why *job.Error) {
	r.end = &end{attempt: n.attempt - 1, status: status, cancelBy: by, err: why, at: now()}
	t.drop(r)
}

// Canceling is that of store.DB.
func (s *Store) Canceling(ctx context.Context, host string, epoch int64) (wishes []store.CancelWish, err error) {
	err = s.do(ctx, "Canceling", func(t *tables) error {
		var wished []*record
		for _, r := range t.leases {
			if r.lease.host == host && r.lease.epoch == epoch && !r.lease.cancelAt.IsZero() {
				wished = append(wished, r)
			}
		}
		slices.SortFunc(wished, func(a, b *record) int {
			return cmp.Or(a.lease.cancelAt.Compare(b.lease.cancelAt), cmp.Compare(a.ID, b.ID))
		})
		for _, r := range wished {
			l := job.Lease{JobID: r.ID, Attempt: r.lease.attempt, HostID: host, Epoch: epoch}
			wishes = append(wishes, store.CancelWish{Lease: l, By: r.lease.cancelBy})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return wishes, nil
}

// Due is that of store.DB. It moves all in one step.
func (s *Store) Due(ctx context.Context) (n int, err error) {
	err = s.do(ctx, "Due", func(t *tables) error {
		var over []*record
		for _, r := range t.later {
			if !r.due.at.After(now()) {
				over = append(over, r)
			}
		}
		slices.SortFunc(over, func(a, b *record) int {
			return cmp.Or(a.due.at.Compare(b.due.at), cmp.Compare(a.ID, b.ID))
		})
		for _, r := range over {
			t.waitBehind(r, t.leave(r))
		}
		n = len(over)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// NextDue is that of store.DB.
func (s *Store) NextDue(ctx context.Context) (in time.Duration, some bool, err error) {
	err = s.do(ctx, "NextDue", func(t *tables) error {
		for _, r := range t.later {
			if d := max(r.due.at.Sub(now()), 0); !some || d < in {
				in, some = d, true
			}
		}
		return nil
	})
	if err != nil {
		return 0, false, err
	}
	return in, some, nil
}

// Expire is that of store.DB. It ends all in one step.
func (s *Store) Expire(ctx context.Context) (expired []job.ID, err error) {
	err = s.do(ctx, "Expire", func(t *tables) error {
		var over []*record
		for _, r := range t.queue {
			if !r.Deadline.IsZero() && !r.Deadline.After(now()) {
				over = append(over, r)
			}
		}
		why := &job.Error{Class: job.TimedOut, Message: "the deadline passed while the job waited", RetrySafe: true}
		for _, r := range over {
			t.endWaiting(r, t.leave(r), job.Killed, "", why)
			expired = append(expired, r.ID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return expired, nil
}
