package memstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// RegisterHost is that of store.DB.
func (s *Store) RegisterHost(ctx context.Context, h store.Host, ttl time.Duration) (epoch int64, err error) {
	for _, text := range []string{h.ID, h.Name, h.Address, h.Version} {
		if err := checkText("host", text); err != nil {
			return 0, err
		}
	}
	err = s.do(ctx, "RegisterHost", func(t *tables) error {
		if before := t.hosts[h.ID]; before != nil {
			epoch = before.Epoch
		}
		epoch++
		h.Epoch, h.State, h.StartedAt, h.LeaseUntil, h.LostAt = epoch, store.Live, now(), now().Add(ttl), time.Time{}
		t.hosts[h.ID] = &h
		return nil
	})
	return epoch, err
}

// current reports whether the epoch of a host is not over, mayRun whether its right
// to run is not.
func (t *tables) current(host string, epoch int64) bool {
	h := t.hosts[host]
	return h != nil && h.Epoch == epoch
}

func (t *tables) mayRun(host string, epoch int64) bool {
	return t.current(host, epoch) && t.hosts[host].State.TakesJobs() && t.hosts[host].LeaseUntil.After(now())
}

// SetCommands is that of store.DB.
func (s *Store) SetCommands(ctx context.Context, host string, commands []string) error {
	return s.do(ctx, "SetCommands", func(t *tables) error {
		t.commands[host] = slices.Clone(commands)
		return nil
	})
}

// Leases is that of store.DB.
func (s *Store) Leases(ctx context.Context, host string, epoch int64) (leases []job.Lease, err error) {
	err = s.do(ctx, "Leases", func(t *tables) error {
		for _, r := range t.leases {
			if r.lease.host == host && r.lease.epoch == epoch {
				leases = append(leases, job.Lease{JobID: r.ID, Attempt: r.lease.attempt, HostID: host, Epoch: epoch})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(leases, func(a, b job.Lease) int { return cmp.Compare(a.JobID, b.JobID) })
	return leases, nil
}

// Adopt is that of store.DB.
func (s *Store) Adopt(ctx context.Context, host string, epoch int64) error {
	return s.do(ctx, "Adopt", func(t *tables) error {
		if !t.current(host, epoch) {
			return store.ErrFenced
		}
		for _, r := range t.leases {
			if l := r.lease; l.host == host && l.epoch < epoch {
				l.epoch = epoch
			}
		}
		return nil
	})
}

// Leased is that of store.DB.
func (s *Store) Leased(ctx context.Context, host string, epoch int64, ids []job.ID) (leased []job.Claimed, err error) {
	err = s.do(ctx, "Leased", func(t *tables) error {
		for _, id := range ids {
			r := t.leases[id]
			if r == nil || r.lease.host != host || r.lease.epoch != epoch {
				continue
			}
			leased = append(leased, job.Claimed{
				Job:        r.view(),
				Lease:      job.Lease{JobID: id, Attempt: r.lease.attempt, HostID: host, Epoch: epoch},
				Checkpoint: keptCheckpoint(r.checkpoint), Resume: r.lease.resume, Retries: r.lease.retries,
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(leased, func(a, b job.Claimed) int { return byAge(a.Job, b.Job) })
	return leased, nil
}

func byAge(a, b *job.Job) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
}
