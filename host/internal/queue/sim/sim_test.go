// Package sim_test runs the real queues of many hosts on one store in virtual time,
// while things go wrong: the store is in memory and the plugins are played.
package sim_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSimulation simulates an hour, and what it takes to come to rest, for each of
// some numbers of hosts. HEIMDALL_TEST_HOURS asks for more hours and hosts.
// HEIMDALL_TEST_SEED draws the same jobs and faults again; how they meet is up to
// the scheduler.
func TestSimulation(t *testing.T) {
	hours := map[int]float64{1: 1, 3: 1, 5: 1}
	if text := os.Getenv("HEIMDALL_TEST_HOURS"); text != "" {
		long, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatalf("HEIMDALL_TEST_HOURS=%s: %v", text, err)
		}
		hours = map[int]float64{1: long, 3: long, 5: long, 20: long / 5}
	}
	seed := rand.Uint64()
	if text := os.Getenv("HEIMDALL_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("HEIMDALL_TEST_SEED=%s: %v", text, err)
		}
	}
	for _, hosts := range slices.Sorted(maps.Keys(hours)) {
		t.Run(fmt.Sprintf("%d hosts", hosts), func(t *testing.T) { simulate(t, seed, hosts, hours[hosts]) })
	}
}

func simulate(t *testing.T, seed uint64, hosts int, hours float64) {
	begun := time.Now()
	var w *world
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t, seed, hosts, hours)
		w.run(seed)
	})
	t.Logf("seed %d: %d hosts, %s, %.1f s", seed, hosts, w.figures(), time.Since(begun).Seconds())
}

// figures says how much was simulated.
func (w *world) figures() string {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	starts, acked := 0, 0
	for _, e := range w.ledger.jobs {
		starts += e.starts
		if e.acked {
			acked++
		}
	}
	var harm []string
	total := 0
	for _, kind := range slices.Sorted(maps.Keys(w.ledger.faults)) {
		harm = append(harm, fmt.Sprintf("%s %d", kind, w.ledger.faults[kind]))
		total += w.ledger.faults[kind]
	}
	return fmt.Sprintf("%.1f virtual hours, %d jobs of which %d acknowledged, %d starts, %d faults (%s)",
		w.lasted.Hours(), len(w.ledger.jobs), acked, starts, total, strings.Join(harm, ", "))
}

// report says what was wrong.
func (w *world) report(seed uint64) {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	for i, what := range w.ledger.wrong {
		if i == 3 {
			w.t.Errorf("and %d more", len(w.ledger.wrong)-i)
			break
		}
		w.t.Errorf("seed %d: %s", seed, what)
	}
}

// run lives through the hours, and then looks at what is left.
func (w *world) run(seed uint64) {
	begun := time.Now()
	long := time.Duration(w.hours * float64(time.Hour))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, m := range w.machines {
		go m.watch(ctx)
	}
	go func() {
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(lookTime):
				w.look()
			}
		}
	}()
	every := 40 * time.Second / time.Duration(len(w.machines)) // two fifths of what the slots can take
	var harm sync.WaitGroup
	harm.Go(func() { w.harm(90*time.Second, long) })
	w.callers(seed, every, long)
	harm.Wait()
	w.calls.Wait()
	w.burst()
	w.rest()
	w.ledger.settle()
	w.fill()
	w.report(seed)
	for _, m := range w.machines {
		if err := w.lives[m].stop(); err != nil {
			w.t.Errorf("%s was stopped: %v", m.name, err)
		}
	}
	w.lasted = time.Since(begun)
}
