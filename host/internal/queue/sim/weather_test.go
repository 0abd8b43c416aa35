package sim_test

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/store/memstore"
)

// weather is what the way to the store is like, for all hosts.
type weather struct {
	mu   sync.Mutex
	rand *rand.Rand
	away bool
	lose float64 // the share of answers that are lost
	slow float64 // the share of calls that take long
}

func (w *weather) on(call string) (fault memstore.Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.away:
		fault.Before = memstore.Away
	case w.rand.Float64() < w.lose:
		fault.After = memstore.Lost
	case w.rand.Float64() < w.slow:
		fault.Before = memstore.Slow(time.Duration(w.rand.Int64N(int64(3 * time.Second))))
	}
	return fault
}

func (w *weather) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}
