package watch_test

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/watch"
)

// declares returns what loads a file that declares these commands.
func declares(ids ...string) func() (*catalog.Snapshot, error) {
	return func() (*catalog.Snapshot, error) {
		var commands []*catalog.Command
		for _, id := range ids {
			commands = append(commands, &catalog.Command{
				Object: catalog.Object{ID: id, Name: id, Status: catalog.Active, Context: json.RawMessage(`{"secret":"s3cret"}`)}, Plugin: "ping",
			})
		}
		return catalog.NewSnapshot(commands, nil)
	}
}

// follow watches the catalog as a host with a file.
func follow(t *testing.T, s watch.Store, host string, epoch int64, load func() (*catalog.Snapshot, error)) *watch.Catalog {
	t.Helper()
	w, err := watch.New(t.Context(), watch.Config{
		Load: load, Store: s, Host: host, Epoch: epoch, Name: host, Lease: 10 * time.Second, Log: hclog.NewNullLogger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// A change is in force on other hosts before a second is over, also when nobody tells
// them.
func TestChangesComeIntoForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, epoch := openShelf(t)
		w := follow(t, s, "h", epoch, declares("mine"))
		ctx, stop := context.WithCancel(t.Context())
		var served sync.WaitGroup
		served.Go(func() { _ = w.Serve(ctx) })
		defer served.Wait()
		defer stop()

		change(t, s.DB, "c", "first")
		time.Sleep(time.Second)
		if c := w.Snapshot().Command("c"); c == nil || c.Description != "first" || !c.Guarded {
			t.Errorf("command after a second = %+v, want what was made", c)
		}
		synctest.Wait()
		change(t, s.DB, "c", "second")
		w.Tell()
		synctest.Wait()
		if c := w.Snapshot().Command("c"); c.Description != "second" {
			t.Errorf("command when the host was told = %+v, want what was changed", c)
		}
		change(t, s.DB, "c", "third")
		if err := w.Refresh(t.Context()); err != nil || w.Snapshot().Command("c").Description != "third" {
			t.Errorf("command after a refresh = %+v, %v, want what was changed", w.Snapshot().Command("c"), err)
		}
	})
}

// The host whose file declares an object runs what stands there; others see it without
// its context.
func TestEachHostRunsItsOwnFile(t *testing.T) {
	s, epoch := openShelf(t)
	a := follow(t, s, "h", epoch, declares("both", "of-a"))
	b := follow(t, s, "b", s.register(t, "b"), declares("both"))
	for name, c := range map[string]struct {
		w         *watch.Catalog
		id        string
		elsewhere bool
		context   string
	}{
		"its own":          {a, "of-a", false, `{"secret":"s3cret"}`},
		"of both":          {b, "both", false, `{"secret":"s3cret"}`},
		"of another's":     {b, "of-a", true, `{}`},
		"of both, on both": {a, "both", false, `{"secret":"s3cret"}`},
	} {
		got := c.w.Snapshot().Command(c.id)
		if got == nil || got.Elsewhere != c.elsewhere || string(got.Context) != c.context {
			t.Errorf("%s: command = %+v, want elsewhere = %t, context = %s", name, got, c.elsewhere, c.context)
		}
	}
	if err := a.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.Snapshot().Revision != b.Snapshot().Revision {
		t.Errorf("revisions = %s, %s, want the same", a.Snapshot().Revision, b.Snapshot().Revision)
	}
}

// A host that others took for dead declares its file again.
func TestDisplacedFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, epoch := openShelf(t)
		w := follow(t, s, "h", epoch, declares("c"))
		ctx, stop := context.WithCancel(t.Context())
		var served sync.WaitGroup
		served.Go(func() { _ = w.Serve(ctx) })
		defer served.Wait()
		defer stop()
		beat := func(ttl time.Duration) {
			if _, err := s.Heartbeat(t.Context(), "h", epoch, ttl, store.Live); err != nil {
				t.Fatal(err)
			}
		}
		beat(-time.Minute)
		if err := s.LapseDeclarations(t.Context()); err != nil {
			t.Fatal(err)
		}
		beat(time.Hour)
		time.Sleep(time.Second)
		synctest.Wait()
		e, err := s.CatalogEntry(t.Context(), catalog.CommandKind, "c")
		if err != nil || e.Gone {
			t.Errorf("command = %+v, %v, want it declared again", e, err)
		}
	})
}

// lapsing is a store in which a host seems to be dead.
type lapsing struct {
	*shelf
	lapses atomic.Int32
}

func (l *lapsing) CatalogState(ctx context.Context) (store.CatalogState, error) {
	if l.away.Load() {
		return store.CatalogState{}, errs.Errorf(errs.Unavailable, "away")
	}
	s, err := l.DB.CatalogState(ctx)
	s.Lapsed = true
	return s, err
}

func (l *lapsing) LapseDeclarations(context.Context) error {
	l.lapses.Add(1)
	return nil
}

// While the store was away no host could say that it lives: nobody is taken for dead
// until they had the time.
func TestNobodyIsDeadWhenTheStoreWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened, epoch := openShelf(t)
		s := &lapsing{shelf: opened}
		w := follow(t, s, "h", epoch, declares("c"))
		ctx, stop := context.WithCancel(t.Context())
		var served sync.WaitGroup
		served.Go(func() { _ = w.Serve(ctx) })
		lapses := func(after time.Duration) int32 {
			time.Sleep(after)
			synctest.Wait()
			return s.lapses.Load()
		}
		if n := lapses(9 * time.Second); n != 0 {
			t.Errorf("lapsed %d times in the first 9 s, want none", n)
		}
		if n := lapses(2 * time.Second); n == 0 {
			t.Error("lapsed never in 11 s, want some")
		}
		s.away.Store(true)
		before := lapses(time.Second)
		s.away.Store(false)
		if n := lapses(9 * time.Second); n != before {
			t.Errorf("lapsed %d times in 9 s after the store was away, want none", n-before)
		}
		stop()
		served.Wait()
	})
}
