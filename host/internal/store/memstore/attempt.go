package memstore

import (
	"bytes"
	"context"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Started is that of store.DB.
func (s *Store) Started(ctx context.Context, leases []job.Lease, at time.Time) error {
	if len(leases) == 0 {
		return nil
	}
	if err := checkLeases(leases); err != nil {
		return err
	}
	return s.do(ctx, "Started", func(t *tables) error {
		for _, l := range leases {
			if r := t.held(l); r != nil && r.lease.startedAt.IsZero() {
				r.lease.startedAt, r.lease.updatedAt = stamp(at), stamp(at)
			}
		}
		return nil
	})
}

// GiveBack is that of store.DB.
func (s *Store) GiveBack(ctx context.Context, leases []job.Lease) error {
	if err := checkLeases(leases); err != nil {
		return err
	}
	return s.do(ctx, "GiveBack", func(t *tables) error {
		for _, l := range leases {
			r := t.held(l)
			if r == nil || !r.lease.startedAt.IsZero() {
				continue
			}
			by, wished := r.lease.cancelBy, !r.lease.cancelAt.IsZero()
			n := t.leave(r)
			if wished {
				t.endCanceled(r, n, by)
				continue
			}
			t.waitAtHead(r, n)
		}
		return nil
	})
}

// End is that of store.DB.
func (s *Store) End(ctx context.Context, e job.End) error {
	if err := checkEnd(e); err != nil {
		return err
	}
	return s.do(ctx, "End", func(t *tables) error {
		r := t.held(e.Lease)
		if r == nil {
			return t.ended(e.Lease)
		}
		by := r.lease.cancelBy
		if e.StartedAt.IsZero() {
			e.StartedAt = r.lease.startedAt
		}
		t.leave(r)
		t.tried(r, e)
		if e.Saved || e.Checkpoint != nil || e.Remains != "" || e.Unique {
			t.leaveRemains(r, e)
			t.drop(r)
		}
		r.end = &end{
			attempt: e.Attempt, status: e.Status, cancelBy: by, err: written(e.Error), outputs: written(copied(e.Outputs)),
			result: keptResult(e.Result), at: orNow(e.EndedAt),
		}
		return nil
	})
}

// ended returns ErrLeaseLost unless this attempt ended its job.
func (t *tables) ended(l job.Lease) error {
	if r := t.jobs[l.JobID]; r != nil && r.end != nil && r.end.attempt == l.Attempt && r.attempts[l.Attempt].lease == l {
		return nil
	}
	return store.ErrLeaseLost
}

// Retry is that of store.DB.
func (s *Store) Retry(ctx context.Context, e job.End, due time.Time) (canceledBy string, err error) {
	if err := checkEnd(e); err != nil {
		return "", err
	}
	err = s.do(ctx, "Retry", func(t *tables) error {
		r := t.held(e.Lease)
		switch {
		case r != nil && !r.lease.cancelAt.IsZero():
			canceledBy = r.lease.cancelBy
			return nil
		case r == nil && t.jobs[e.JobID] != nil && t.jobs[e.JobID].attempts[e.Attempt].lease == e.Lease:
			return nil // this is a repeat
		case r == nil:
			return store.ErrLeaseLost
		}
		n := t.leave(r)
		t.tried(r, e)
		t.leaveRemains(r, e)
		r.checkpoint = nil
		t.waitUntil(r, next{attempt: n.attempt + 1, retries: n.retries + 1}, due)
		return nil
	})
	if err != nil {
		return "", err
	}
	return canceledBy, nil
}

// Checkpoint is that of store.DB.
func (s *Store) Checkpoint(ctx context.Context, l job.Lease, c *job.Checkpoint) error {
	if err := checkID(l.JobID); err != nil {
		return err
	}
	if len(c.Data) > job.MaxCheckpoint {
		return errs.Errorf(errs.Invalid, "a checkpoint has %d bytes, want at most %d", len(c.Data), job.MaxCheckpoint)
	}
	return s.do(ctx, "Checkpoint", func(t *tables) error {
		r := t.held(l)
		if r == nil {
			return store.ErrLeaseLost
		}
		r.checkpoint = keptCheckpoint(c)
		r.checkpoint.Attempt = l.Attempt
		return nil
	})
}

// Resume is that of store.DB.
func (s *Store) Resume(ctx context.Context, e job.End) (l job.Lease, canceledBy string, err error) {
	if err := checkEnd(e); err != nil {
		return l, "", err
	}
	err = s.do(ctx, "Resume", func(t *tables) error {
		r := t.leases[e.JobID]
		if r == nil || r.lease.host != e.HostID || r.lease.epoch != e.Epoch {
			return store.ErrLeaseLost
		}
		switch held := r.lease; {
		case held.attempt == e.Attempt+1 && r.attempts[e.Attempt].lease == e.Lease: // this is a repeat
		case held.attempt != e.Attempt:
			return store.ErrLeaseLost
		case !held.cancelAt.IsZero():
			canceledBy = held.cancelBy
		default:
			held.attempt++
			held.resume = true
			held.updatedAt = now()
			if held.startedAt.IsZero() {
				held.startedAt = orNow(e.StartedAt)
			}
			if r.checkpoint != nil {
				r.checkpoint.Outputs = written(copied(e.Outputs))
			}
			t.tried(r, e)
		}
		return nil
	})
	if err != nil {
		return job.Lease{}, "", err
	}
	l = e.Lease
	if canceledBy == "" {
		l.Attempt++
	}
	return l, canceledBy, nil
}

// tried notes an attempt that has ended.
func (t *tables) tried(r *record, e job.End) {
	r.attempts[e.Attempt] = attempt{
		lease: e.Lease, logs: e.Logs, build: e.Build, status: e.Status, err: written(e.Error), startedAt: stamp(e.StartedAt), endedAt: orNow(e.EndedAt),
	}
}

func keptResult(r *job.Result) *job.Result {
	if r == nil || r.ContentType == "" {
		return nil
	}
	kept := *r
	kept.Inline = bytes.Clone(r.Inline)
	return &kept
}

func keptCheckpoint(c *job.Checkpoint) *job.Checkpoint {
	if c == nil {
		return nil
	}
	return &job.Checkpoint{
		Attempt: c.Attempt, Format: c.Format, Data: append([]byte{}, c.Data...),
		Outputs: written(copied(c.Outputs)), Usage: keptUsage(c.Usage),
	}
}

func keptUsage(usage map[string]float64) map[string]float64 {
	if len(usage) == 0 {
		return nil
	}
	return written(usage)
}
