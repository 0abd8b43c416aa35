package memstore

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// cleanup is an attempt that may have left something outside.
type cleanup struct {
	host       string
	reason     string
	checkpoint *job.Checkpoint
	tries      int
	since, due time.Time
}

// leaveRemains notes what an attempt has left.
func (t *tables) leaveRemains(r *record, e job.End) {
	if e.Remains == "" {
		return
	}
	c := &cleanup{host: e.HostID, reason: legible(e.Remains), since: orNow(e.EndedAt)}
	c.due = c.since
	if r.checkpoint != nil {
		c.checkpoint = &job.Checkpoint{Format: r.checkpoint.Format, Data: r.checkpoint.Data}
	}
	t.cleanups[tried{r.ID, e.Attempt}] = c
}

func legible(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// Cleanups is that of store.DB.
func (s *Store) Cleanups(ctx context.Context, host string, epoch int64, n int) (due []job.Cleanup, err error) {
	err = s.do(ctx, "Cleanups", func(t *tables) error {
		var names []tried
		for name, c := range t.cleanups {
			if c.host == host && t.current(host, epoch) && !c.due.After(now()) {
				names = append(names, name)
			}
		}
		slices.SortFunc(names, func(a, b tried) int {
			return cmp.Or(t.cleanups[a].due.Compare(t.cleanups[b].due), cmp.Compare(a.id, b.id))
		})
		for _, name := range names[:min(n, len(names))] {
			due = append(due, t.cleanup(name))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return due, nil
}

func (t *tables) cleanup(name tried) job.Cleanup {
	c, asked := t.cleanups[name], request(&t.jobs[name.id].Job)
	out := job.Cleanup{Job: &asked, Attempt: name.attempt, Reason: c.reason, Tries: c.tries, Since: c.since}
	if c.checkpoint != nil {
		out.Checkpoint = &job.Checkpoint{Format: c.checkpoint.Format, Data: bytes.Clone(c.checkpoint.Data)}
	}
	return out
}

// Postpone is that of store.DB.
func (s *Store) Postpone(ctx context.Context, host string, epoch int64, c job.Cleanup, due time.Time) error {
	return s.do(ctx, "Postpone", func(t *tables) error {
		if !t.current(host, epoch) {
			return store.ErrFenced
		}
		if left := t.cleanups[tried{c.Job.ID, c.Attempt}]; left != nil {
			left.tries, left.due = c.Tries, stamp(due)
		}
		return nil
	})
}

// Cleaned is that of store.DB.
func (s *Store) Cleaned(ctx context.Context, host string, epoch int64, c job.Cleanup) error {
	return s.do(ctx, "Cleaned", func(t *tables) error {
		if !t.current(host, epoch) {
			return store.ErrFenced
		}
		delete(t.cleanups, tried{c.Job.ID, c.Attempt})
		return nil
	})
}
