package cleanup_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/heimdall-run/heimdall/host/internal/cleanup"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory keeps what is left to clean up, and plays the plugins.
type memory struct {
	mu     sync.Mutex
	left   map[job.ID]*entry
	away   error
	broken map[job.ID]int // tries that fail yet; below 0: all
	failed error          // what a failed try returns
	tries  map[job.ID][]time.Time
	busy   int
	most   int
}

type entry struct {
	job.Cleanup
	due time.Time
}

func newMemory() *memory {
	return &memory{left: map[job.ID]*entry{}, broken: map[job.ID]int{}, tries: map[job.ID][]time.Time{}, failed: errors.New("cannot remove it")}
}

func (m *memory) add(fails int) job.ID {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := job.NewID()
	m.left[id] = &entry{job.Cleanup{Job: &job.Job{ID: id}, Attempt: 1, Since: time.Now()}, time.Now()}
	m.broken[id] = fails
	return id
}

func (m *memory) Cleanups(_ context.Context, host string, epoch int64, n int) (due []job.Cleanup, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.left {
		if host == "h" && epoch == 7 && !e.due.After(time.Now()) && len(due) < n {
			due = append(due, e.Cleanup)
		}
	}
	return due, m.away
}

func (m *memory) Postpone(_ context.Context, _ string, _ int64, c job.Cleanup, due time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away == nil {
		m.left[c.Job.ID].due = due
		m.left[c.Job.ID].Tries = c.Tries
	}
	return m.away
}

func (m *memory) TakeCleanups(context.Context, string, int64, time.Duration) (int64, error) {
	return 0, nil
}

func (m *memory) Cleaned(_ context.Context, _ string, _ int64, c job.Cleanup) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away == nil {
		delete(m.left, c.Job.ID)
	}
	return m.away
}

func (m *memory) Cleanup(ctx context.Context, c job.Cleanup) error {
	m.mu.Lock()
	m.busy++
	m.most = max(m.most, m.busy)
	m.tries[c.Job.ID] = append(m.tries[c.Job.ID], time.Now())
	fails := m.broken[c.Job.ID]
	if fails > 0 {
		m.broken[c.Job.ID]--
	}
	m.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		fails = 1
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy--
	if fails != 0 {
		return m.failed
	}
	return nil
}

// serve runs a cleaner until the returned function is called.
func serve(t *testing.T, m *memory) (c *cleanup.Cleaner, stop func()) {
	t.Helper()
	c = cleanup.New(cleanup.Config{Store: m, Runner: m, Host: "h", Epoch: 7, Log: hclog.NewNullLogger()})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Serve(ctx) }()
	return c, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
	}
}

func TestCleanupIsTriedUntilItIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		early := m.add(0)
		c, stop := serve(t, m)
		time.Sleep(2 * time.Second)
		hard := m.add(3)
		c.Wake()
		synctest.Wait()
		m.mu.Lock()
		if len(m.tries[early]) != 1 || len(m.tries[hard]) != 1 {
			t.Errorf("tries = %v, want one each, at once", m.tries)
		}
		m.mu.Unlock()
		time.Sleep(5 * time.Minute)
		stop()
		if len(m.left) > 0 || len(m.tries[hard]) != 4 || len(m.tries[early]) != 1 {
			t.Errorf("%d left after the tries %v, want none after 1 and 4", len(m.left), m.tries)
		}
		if !slices.IsSortedFunc(m.tries[hard], func(a, b time.Time) int { return a.Compare(b) }) || m.tries[hard][3].Sub(m.tries[hard][0]) < 7*time.Second {
			t.Errorf("tries at %v, want growing pauses between them", m.tries[hard])
		}
	})
}

func TestCleanupIsGivenUpAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		id := m.add(-1)
		_, stop := serve(t, m)
		time.Sleep(23 * time.Hour)
		synctest.Wait()
		m.mu.Lock()
		if m.left[id] == nil {
			t.Error("given up before a day")
		}
		m.mu.Unlock()
		time.Sleep(2 * time.Hour)
		stop()
		if len(m.left) > 0 {
			t.Error("still tried after a day")
		}
		if n := len(m.tries[id]); n < 24*6 || n > 24*20 {
			t.Errorf("%d tries in a day, want one in about ten minutes", n)
		}
	})
}

func TestManyCleanups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		for range 50 {
			m.add(0)
		}
		_, stop := serve(t, m)
		time.Sleep(14 * time.Second) // one second for each four
		stop()
		if len(m.left) > 0 || m.most != 4 {
			t.Errorf("%d left, %d at once, want none and 4", len(m.left), m.most)
		}
	})
}

// While the store is away nothing is lost, and nothing spins.
func TestCleanupWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		for range 20 {
			m.add(0)
		}
		_, stop := serve(t, m)
		time.Sleep(500 * time.Millisecond)
		m.mu.Lock()
		m.away = errors.New("away")
		m.mu.Unlock()
		time.Sleep(time.Minute)
		m.mu.Lock()
		tried := len(m.tries)
		m.away = nil
		m.mu.Unlock()
		if tried != 16 {
			t.Errorf("%d were tried while the store is away, want the ones that were read before", tried)
		}
		time.Sleep(time.Minute)
		stop()
		if len(m.left) > 0 {
			t.Errorf("%d left, want none", len(m.left))
		}
	})
}

// Once another life of the host has taken over, what is left is for that to clean
// up, also while this one still drains.
func TestCleanupIsLeftToTheNextLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.add(0)
		c, stop := serve(t, m)
		time.Sleep(500 * time.Millisecond)
		c.End()
		m.add(0)
		c.Wake()
		time.Sleep(time.Minute)
		stop()
		if len(m.left) != 2 || len(m.tries) != 1 {
			t.Errorf("%d left after %d were tried, want both after the one that was under way", len(m.left), len(m.tries))
		}
	})
}

// The host was off for longer than it tries, and the first try after that fails.
func TestCleanupAfterAWeekend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		id := m.add(1)
		time.Sleep(48 * time.Hour)
		_, stop := serve(t, m)
		time.Sleep(time.Hour)
		stop()
		if n := len(m.tries[id]); n != 2 || len(m.left) > 0 {
			t.Errorf("%d tries, %d left, want that the second one is made and removes it", n, len(m.left))
		}
	})
}

// While the process lives that ran the attempt nothing can be cleaned up, and that
// is not given up: once it is dead there are as many tries as for any other.
func TestCleanupWhileTheProcessLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.failed = fmt.Errorf("plugin p: %w", pluginhost.ErrStillRuns)
		id := m.add(-1)
		_, stop := serve(t, m)
		time.Sleep(72 * time.Hour)
		synctest.Wait()
		m.mu.Lock()
		looks := len(m.tries[id])
		m.failed, m.broken[id] = errors.New("cannot remove it"), 1
		m.mu.Unlock()
		time.Sleep(2 * time.Hour)
		stop()
		if n := len(m.tries[id]); n != looks+2 || len(m.left) > 0 {
			t.Errorf("%d tries once it is dead, %d left, want that the second one is made and removes it", n-looks, len(m.left))
		}
		if looks < 48+24*6 || looks > 48+24*6+20 {
			t.Errorf("%d looks in three days, want one in ten minutes on the first and one in an hour then", looks)
		}
	})
}
