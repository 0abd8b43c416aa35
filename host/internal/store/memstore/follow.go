package memstore

import (
	"math"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Could returns the waiting jobs that a host could have now by lanes, if it claimed
// but one, in the order of the queue.
func (s *Store) Could(c store.Claim) (ids []job.ID) {
	_ = s.tables.do(func(t *tables) error {
		if !t.mayRun(c.Host, c.Epoch) {
			return nil
		}
		rooms := t.rooms()
		for _, r := range t.pick(c.Host, math.MaxInt, false) {
			if rooms.has(r) {
				ids = append(ids, r.ID)
			}
		}
		return nil
	})
	return ids
}

// Take leases a waiting job whatever its place in the queue.
func (s *Store) Take(c store.Claim, id job.ID) (claimed job.Claimed) {
	_ = s.tables.do(func(t *tables) error {
		claimed = t.lease([]*record{t.jobs[id]}, c)[0]
		return nil
	})
	return claimed
}
