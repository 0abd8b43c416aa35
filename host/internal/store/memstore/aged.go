package memstore

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Aged is that of store.DB.
func (s *Store) Aged(ctx context.Context, after job.Cursor, until time.Time, n int) (aged []store.Aged, err error) {
	err = s.do(ctx, "Aged", func(t *tables) error {
		for _, r := range t.jobs {
			if r.end != nil && !r.end.at.After(until) && byEnd(job.Cursor{ID: r.ID, Time: r.end.at}, after) > 0 {
				aged = append(aged, r.aged())
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(aged, func(a, b store.Aged) int {
		return byEnd(job.Cursor{ID: a.ID, Time: a.EndedAt}, job.Cursor{ID: b.ID, Time: b.EndedAt})
	})
	return aged[:min(n, len(aged))], nil
}

func byEnd(a, b job.Cursor) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
}

func (r *record) aged() store.Aged {
	a := store.Aged{ID: r.ID, Command: r.Pair.CommandID, EndedAt: r.end.at}
	a.Left = len(r.Attachments) > 0 || r.end.result != nil && r.end.result.Object != "" || r.end.status != job.Succeeded || len(r.attempts) > 1
	for _, n := range slices.Sorted(maps.Keys(r.attempts)) {
		a.Hosts = append(a.Hosts, r.attempts[n].lease.HostID)
		a.Left = a.Left || r.attempts[n].logs.Stdout != "" || r.attempts[n].logs.Stderr != ""
	}
	return a
}

// Remove is that of store.DB.
func (s *Store) Remove(ctx context.Context, ids []job.ID) (n int, err error) {
	for _, id := range ids {
		if err := checkID(id); err != nil {
			return 0, err
		}
	}
	err = s.do(ctx, "Remove", func(t *tables) error {
		for _, id := range ids {
			if r := t.jobs[id]; r != nil && r.end != nil && !t.unclean(id) {
				delete(t.jobs, id)
				n++
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (t *tables) unclean(id job.ID) bool {
	for left := range t.cleanups {
		if left.id == id {
			return true
		}
	}
	return false
}

// Away is that of store.DB.
func (s *Store) Away(ctx context.Context, hosts []string) (away map[string]bool, err error) {
	err = s.do(ctx, "Away", func(t *tables) error {
		away = map[string]bool{}
		for _, id := range hosts {
			if h := t.hosts[id]; h == nil || !h.LeaseUntil.After(now()) {
				away[id] = true
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return away, nil
}
