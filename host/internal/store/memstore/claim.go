package memstore

import (
	"context"
	"math"
	"slices"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Bounds of one claim, the second of one by lanes.
const (
	mostClaims     = 1000
	mostLaneClaims = 64
)

// Claim is that of store.DB.
func (s *Store) Claim(ctx context.Context, c store.Claim) (claimed []job.Claimed, err error) {
	if c.Most <= 0 {
		return nil, nil
	}
	most := min(c.Most, mostClaims)
	if c.Lanes {
		most = min(most, mostLaneClaims)
	}
	err = s.do(ctx, "Claim", func(t *tables) error {
		if !t.current(c.Host, c.Epoch) {
			return store.ErrFenced
		}
		if t.mayRun(c.Host, c.Epoch) && (c.Lanes || !t.capped()) {
			claimed = t.lease(t.pick(c.Host, most, c.Lanes), c)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

func (t *tables) lease(picked []*record, c store.Claim) (claimed []job.Claimed) {
	at := now()
	for _, r := range picked {
		n := t.leave(r)
		t.grant(r, n, c.Host, c.Epoch, at)
		taken := job.Claimed{
			Job:    r.view(),
			Lease:  job.Lease{JobID: r.ID, Attempt: n.attempt, HostID: c.Host, Epoch: c.Epoch},
			Resume: n.resume, Retries: n.retries,
		}
		if n.resume {
			taken.Checkpoint = keptCheckpoint(r.checkpoint)
		}
		claimed = append(claimed, taken)
	}
	return claimed
}

// pick returns the first jobs of the queue that a host can run. By lanes, it passes
// over those for which caps leave no room.
func (t *tables) pick(host string, most int, lanes bool) (picked []*record) {
	can := t.commands[host]
	var rooms rooms
	if lanes {
		rooms = t.rooms()
	}
	for _, r := range t.queue {
		if len(picked) == most {
			break
		}
		if slices.Contains(can, r.Pair.CommandID) && rooms.take(r) {
			picked = append(picked, r)
		}
	}
	return picked
}

// rooms are how many more jobs caps let run; nil: there are none.
type rooms map[room]int

type room struct{ kind, id string }

func (t *tables) capped() bool {
	return len(t.caps.Commands)+len(t.caps.Clusters)+t.caps.User > 0
}

// rooms counts what runs now.
func (t *tables) rooms() rooms {
	if !t.capped() {
		return nil
	}
	left := rooms{}
	for id, most := range t.caps.Commands {
		left[room{"command", id}] = most
	}
	for id, most := range t.caps.Clusters {
		left[room{"cluster", id}] = most
	}
	left[room{"users", ""}] = math.MaxInt
	if t.caps.User > 0 {
		left[room{"users", ""}] = t.caps.User
	}
	for _, r := range t.leases {
		left.spend(r)
	}
	return left
}

func (left rooms) of(r *record) []room {
	user := room{"user", r.User}
	if _, known := left[user]; !known {
		left[user] = left[room{"users", ""}]
	}
	return []room{{"command", r.Pair.CommandID}, {"cluster", r.Pair.ClusterID}, user}
}

func (left rooms) spend(r *record) {
	for _, k := range left.of(r) {
		if _, capped := left[k]; capped {
			left[k]--
		}
	}
}

// has reports whether there is room for one more.
func (left rooms) has(r *record) bool {
	if left == nil {
		return true
	}
	for _, k := range left.of(r) {
		if n, capped := left[k]; capped && n <= 0 {
			return false
		}
	}
	return true
}

// take does, and takes it.
func (left rooms) take(r *record) bool {
	has := left.has(r)
	if has && left != nil {
		left.spend(r)
	}
	return has
}

// SetCaps is that of store.DB.
func (s *Store) SetCaps(ctx context.Context, c store.Caps) error {
	return s.do(ctx, "SetCaps", func(t *tables) error {
		t.caps = written(c)
		return nil
	})
}

// MustUseLanes is that of store.DB.
func (s *Store) MustUseLanes(ctx context.Context, host string) (lanes bool, err error) {
	err = s.do(ctx, "MustUseLanes", func(t *tables) error {
		can := t.commands[host]
		lanes = t.capped() || slices.ContainsFunc(t.queue, func(r *record) bool { return !slices.Contains(can, r.Pair.CommandID) })
		return nil
	})
	return lanes, err
}
