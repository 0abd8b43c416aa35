package main

import (
	"context"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
)

// fault is one fault of a schedule.
type fault struct {
	kind kind
	gap  time.Duration // from the one before
	host int           // that it is done to, if it is done to one
	hold time.Duration // that it lasts, or that a host stays down
	dice uint64
}

// pick chooses one of n.
func (f fault) pick(n int) int { return int(f.dice % uint64(n)) }

// schedule makes faults of the wanted counts in an order that the seed gives.
func (p plan) schedule() []fault {
	dice := rand.New(rand.NewPCG(p.seed, 1))
	var all []fault
	for _, k := range kinds {
		for range p.counts[k] {
			all = append(all, fault{kind: k})
		}
	}
	dice.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	longest := p.lease
	if p.hosts == 1 {
		longest /= 2 // they wait for each other
	}
	for i := range all {
		f := &all[i]
		f.gap = time.Duration(dice.Int64N(int64(time.Second)))
		f.host = dice.IntN(p.hosts)
		f.hold = time.Duration(dice.Int64N(int64(longest)))
		f.dice = dice.Uint64()
	}
	return all
}

// disturb does the faults of the schedule, and returns how many of each kind were
// done. Faults on different parts may overlap; progress is called after each.
func (r *rig) disturb(ctx context.Context, progress func(done, of int)) error {
	all := r.schedule()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(len(r.hosts) + 2)
	for i, f := range all {
		if err := pause(ctx, f.gap); err != nil {
			break // the group says why
		}
		group.Go(func() error { return r.inject(ctx, f) })
		progress(i+1, len(all))
	}
	return group.Wait()
}
