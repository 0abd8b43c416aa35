package memstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Heartbeat is that of store.DB.
func (s *Store) Heartbeat(ctx context.Context, id string, epoch int64, ttl time.Duration, state store.HostState) (clock time.Time, err error) {
	err = s.do(ctx, "Heartbeat", func(t *tables) error {
		if !t.current(id, epoch) {
			return store.ErrFenced
		}
		h := t.hosts[id]
		clock = now()
		h.LeaseUntil, h.State, h.LostAt = clock.Add(ttl), state, time.Time{}
		return nil
	})
	return clock, err
}

// StopHost is that of store.DB.
func (s *Store) StopHost(ctx context.Context, id string, epoch int64) error {
	return s.do(ctx, "StopHost", func(t *tables) error {
		if !t.current(id, epoch) {
			return nil
		}
		h := t.hosts[id]
		h.State = store.Stopped
		if len(t.leasesOf(id)) == 0 {
			h.LeaseUntil = now()
		}
		return nil
	})
}

// Clock is that of store.DB.
func (s *Store) Clock(ctx context.Context) (clock time.Time, err error) {
	err = s.do(ctx, "Clock", func(*tables) error {
		clock = now()
		return nil
	})
	return clock, err
}

// leasesOf returns the jobs that a host has, sorted.
func (t *tables) leasesOf(host string) (has []*record) {
	for _, r := range t.leases {
		if r.lease.host == host {
			has = append(has, r)
		}
	}
	slices.SortFunc(has, func(a, b *record) int { return cmp.Compare(a.ID, b.ID) })
	return has
}

// Lapsed is that of store.DB.
func (s *Store) Lapsed(ctx context.Context, self string) (hosts []string, err error) {
	err = s.do(ctx, "Lapsed", func(t *tables) error {
		for id, h := range t.hosts {
			if id != self && h.LeaseUntil.Before(now()) && (h.LostAt.IsZero() || len(t.leasesOf(id)) > 0) {
				hosts = append(hosts, id)
			}
		}
		return nil
	})
	slices.Sort(hosts)
	return hosts, err
}

// Reap is that of store.DB. It takes all in one step.
func (s *Store) Reap(ctx context.Context, self, host string, after job.ID, lostAfter time.Duration) (r store.Reaped, err error) {
	err = s.do(ctx, "Reap", func(t *tables) error {
		h := t.hosts[host]
		if h == nil || host == self || !h.LeaseUntil.Before(now()) {
			return nil
		}
		if h.State != store.Stopped {
			h.State = store.Lost
		}
		if h.LostAt.IsZero() {
			h.LostAt = now()
		}
		r.Host = h.Name
		over := h.LostAt.Before(now().Add(-lostAfter))
		for _, o := range t.leasesOf(host) {
			if o.ID > after {
				t.settle(o, h.Name, over, &r)
			}
		}
		return nil
	})
	return r, err
}

// settle does with the job of a lost host what that cannot do any more.
func (t *tables) settle(r *record, host string, over bool, done *store.Reaped) {
	l := *r.lease
	elsewhere, canceled := r.Retry.RunsElsewhere(l.retries), !l.cancelAt.IsZero()
	switch {
	case canceled && (elsewhere || over):
		done.Ended = append(done.Ended, r.ID)
		t.lose(r, host, job.Canceled, job.CanceledWhileLost(l.cancelBy, host))
	case canceled:
		done.Kept++
	case r.checkpoint != nil || elsewhere:
		done.Again++
		t.again(r, host)
	case over:
		done.Ended = append(done.Ended, r.ID)
		t.lose(r, host, job.Failed, job.LostForGood(host))
	default:
		done.Kept++
	}
}

// again lets another host have the job: from its checkpoint, or anew.
func (t *tables) again(r *record, host string) {
	e := t.endOf(r, host, job.Failed, job.LostWith(host))
	n := t.leave(r)
	t.tried(r, e)
	follows := next{attempt: n.attempt + 1, retries: n.retries, resume: r.checkpoint != nil}
	if r.checkpoint == nil {
		follows.retries++
		t.leaveRemains(r, e)
	}
	t.waitAtHead(r, follows)
}

// lose ends the job.
func (t *tables) lose(r *record, host string, status job.Status, why *job.Error) {
	e := t.endOf(r, host, status, why)
	by := r.lease.cancelBy
	t.leave(r)
	t.tried(r, e)
	t.leaveRemains(r, e)
	r.end = &end{attempt: e.Attempt, status: status, cancelBy: by, err: why, at: now()}
	t.drop(r)
}

// endOf is the end of an attempt that its host cannot report. It is in nobody's
// epoch: a late end by the owner is no repeat of it.
func (t *tables) endOf(r *record, host string, status job.Status, why *job.Error) job.End {
	return job.End{
		Lease: job.Lease{JobID: r.ID, Attempt: r.lease.attempt, HostID: r.lease.host},
		Outcome: job.Outcome{
			Status: status, Error: why, StartedAt: r.lease.startedAt, EndedAt: now(), Remains: job.RemainsOfLost(host),
		},
	}
}

// Peers is that of store.DB.
func (s *Store) Peers(ctx context.Context, self string) (peers []store.Peer, err error) {
	err = s.do(ctx, "Peers", func(t *tables) error {
		for id, h := range t.hosts {
			if id != self && h.State.TakesJobs() && h.LeaseUntil.After(now()) {
				commands := slices.Sorted(slices.Values(t.commands[id]))
				peers = append(peers, store.Peer{ID: id, Name: h.Name, Revision: h.Revision, Commands: commands})
			}
		}
		return nil
	})
	slices.SortFunc(peers, func(a, b store.Peer) int { return cmp.Compare(a.ID, b.ID) })
	return peers, err
}

// SetPlugins is that of store.DB.
func (s *Store) SetPlugins(ctx context.Context, host, revision string, plugins map[string][]string) error {
	return s.do(ctx, "SetPlugins", func(t *tables) error {
		if h := t.hosts[host]; h != nil {
			h.Revision, h.Plugins = revision, written(plugins)
		}
		return nil
	})
}

// Hosts is that of store.DB.
func (s *Store) Hosts(ctx context.Context) (hosts []store.Host, clock time.Time, err error) {
	err = s.do(ctx, "Hosts", func(t *tables) error {
		clock = now()
		for id, h := range t.hosts {
			known := *h
			known.Running = len(t.leasesOf(id))
			if known.State != store.Stopped && known.LeaseUntil.Before(clock) {
				known.State = store.Lost
			}
			hosts = append(hosts, known)
		}
		return nil
	})
	slices.SortFunc(hosts, func(a, b store.Host) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return hosts, clock, err
}

// forgetTime is how long a host is remembered that does not come back.
const forgetTime = 7 * 24 * time.Hour

// ForgetHosts is that of store.DB.
func (s *Store) ForgetHosts(ctx context.Context) (n int64, err error) {
	err = s.do(ctx, "ForgetHosts", func(t *tables) error {
		for id, h := range t.hosts {
			gone := (h.State == store.Stopped || h.State == store.Lost) && h.LeaseUntil.Before(now().Add(-forgetTime))
			for _, c := range t.cleanups {
				gone = gone && c.host != id
			}
			if gone && len(t.leasesOf(id)) == 0 {
				delete(t.hosts, id)
				delete(t.commands, id)
				n++
			}
		}
		return nil
	})
	return n, err
}

// TakeCleanups is that of store.DB.
func (s *Store) TakeCleanups(ctx context.Context, host string, epoch int64, lostAfter time.Duration) (n int64, err error) {
	err = s.do(ctx, "TakeCleanups", func(t *tables) error {
		for name, c := range t.cleanups {
			owner := t.hosts[c.host]
			gone := owner == nil || !owner.LostAt.IsZero() && !owner.LostAt.After(now().Add(-lostAfter))
			if c.host != host && gone && t.current(host, epoch) && slices.Contains(t.commands[host], t.jobs[name.id].Pair.CommandID) {
				c.host = host
				n++
			}
		}
		return nil
	})
	return n, err
}

// listener is a host that listens.
type listener struct {
	host  string
	heard func(store.Notice)
}

// Listen is that of store.DB.
func (s *Store) Listen(ctx context.Context, host string, ready func(), heard func(store.Notice)) error {
	l := &listener{host, heard}
	_ = s.tables.do(func(t *tables) error {
		t.listeners[l] = true
		return nil
	})
	defer func() {
		_ = s.tables.do(func(t *tables) error {
			delete(t.listeners, l)
			return nil
		})
	}()
	ready()
	<-ctx.Done()
	return nil
}

// Notify is that of store.DB. What is said is heard before it returns.
func (s *Store) Notify(ctx context.Context, notices ...store.Notice) error {
	var listeners []*listener
	err := s.do(ctx, "Notify", func(t *tables) error {
		for l := range t.listeners {
			listeners = append(listeners, l)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range notices {
		for _, l := range listeners {
			if n.From != l.host && (n.To == "" || n.To == l.host) {
				l.heard(n)
			}
		}
	}
	return nil
}
