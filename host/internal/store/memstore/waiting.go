package memstore

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Waiting is that of store.DB.
func (s *Store) Waiting(ctx context.Context, id job.ID) (w *job.Wait, err error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	err = s.do(ctx, "Waiting", func(t *tables) error {
		r := t.jobs[id]
		switch {
		case r == nil:
		case r.due != nil:
			w = &job.Wait{Reason: job.Scheduled, Until: r.due.at}
			if r.due.retries > 0 {
				w.Reason = job.Retrying
			}
		case r.ready != nil:
			w = &job.Wait{Reason: t.reason(r), Ahead: min(slices.Index(t.queue, r), job.MaxAhead)}
			if w.Reason == job.NoFreeSlot && w.Ahead > 0 {
				w.Reason = job.Queued
			}
		}
		return nil
	})
	return w, err
}

// reason says what keeps a job from running, were it the first.
func (t *tables) reason(r *record) job.Reason {
	lives, can, room := false, false, false
	for id, h := range t.hosts {
		if t.mayRun(id, h.Epoch) {
			lives = true
			if slices.Contains(t.commands[id], r.Pair.CommandID) {
				can, room = true, room || h.State == store.Live
			}
		}
	}
	switch rooms := t.rooms(); {
	case !lives:
		return job.NoHost
	case !can:
		return job.NoPlugin
	case !room:
		return job.NoRoom
	case rooms == nil:
		return job.NoFreeSlot
	default:
		for i, k := range rooms.of(r) {
			if n, capped := rooms[k]; capped && n <= 0 {
				return []job.Reason{job.CommandLimit, job.ClusterLimit, job.UserLimit}[i]
			}
		}
		return job.NoFreeSlot
	}
}

// Backlog is that of store.DB.
func (s *Store) Backlog(ctx context.Context) (counts map[string]int, err error) {
	counts = map[string]int{}
	err = s.do(ctx, "Backlog", func(t *tables) error {
		for _, r := range t.queue {
			counts[r.User]++
		}
		for _, r := range t.later {
			counts[r.User]++
		}
		return nil
	})
	return counts, err
}

// Keyed is that of store.DB.
func (s *Store) Keyed(ctx context.Context, user string, k store.Key) (id job.ID, err error) {
	err = s.do(ctx, "Keyed", func(t *tables) error {
		known, is := t.keys[[2]string{user, k.Text}]
		if !is || !known.expiresAt.After(now()) || t.jobs[known.id] == nil {
			return nil
		}
		id = known.id
		if !bytes.Equal(known.digest, k.Digest) {
			return conflict(known.id, "the idempotency key was given to another request")
		}
		return nil
	})
	return id, err
}

// Attempts is that of store.DB.
func (s *Store) Attempts(ctx context.Context, id job.ID) (attempts []job.Attempt, err error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	err = s.do(ctx, "Attempts", func(t *tables) error {
		r := t.jobs[id]
		if r == nil {
			return nil
		}
		for _, a := range r.attempts {
			attempts = append(attempts, job.Attempt{
				Attempt: a.lease.Attempt, HostID: a.lease.HostID, CommandID: r.Pair.CommandID, ClusterID: r.Pair.ClusterID,
				Build: a.build, Status: a.status, Error: written(a.err), StartedAt: a.startedAt, EndedAt: a.endedAt, Logs: a.logs,
			})
		}
		return nil
	})
	slices.SortFunc(attempts, func(a, b job.Attempt) int { return cmp.Compare(a.Attempt, b.Attempt) })
	return attempts, err
}
