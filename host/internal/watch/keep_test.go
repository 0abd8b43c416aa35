package watch_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// A catalog is stored when a job was chosen from it, once; changes that no job came
// after leave nothing behind.
func TestKeep(t *testing.T) {
	s, epoch := openShelf(t)
	w := follow(t, s, "h", epoch, declares("mine"))
	for n := range 5 {
		change(t, s.DB, "c", fmt.Sprint(n))
		if err := w.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.stored) != 0 {
		t.Errorf("revisions that are stored after 5 changes = %d, want none", len(s.stored))
	}
	s.away.Store(true)
	if err := w.Keep(t.Context(), w.Snapshot()); !errs.Is(err, errs.Unavailable) {
		t.Errorf("Keep while the store is away = %v, want %s", err, errs.Unavailable)
	}
	s.away.Store(false)
	then := w.Snapshot()
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := w.Keep(t.Context(), then); err != nil {
				t.Errorf("Keep = %v, want nil", err)
			}
		})
	}
	all.Wait()
	content, err := s.Revision(t.Context(), then.Revision)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := catalog.ParseContent(then.Revision, content); err != nil || got.Command("c").Description != "4" {
		t.Errorf("what was kept = %s, %v, want the catalog that was in force", content, err)
	}
	s.away.Store(true)
	if err := w.Keep(t.Context(), then); err != nil {
		t.Errorf("Keep of what is kept = %v, want that the store is not asked", err)
	}
}

// gated is a store whose catalog is read when the test lets it.
type gated struct {
	*shelf
	reads atomic.Int64
	gate  chan struct{}
}

func (g *gated) CatalogSince(ctx context.Context, version int64) ([]*catalog.Entry, error) {
	g.reads.Add(1)
	if g.gate != nil {
		<-g.gate
	}
	return g.shelf.CatalogSince(ctx, version)
}

// Many who have changed something at once wait for one look at the store that begins
// after their change, not for one each.
func TestRefreshesAreShared(t *testing.T) {
	s, epoch := openShelf(t)
	g := &gated{shelf: s}
	w := follow(t, g, "h", epoch, declares("mine"))
	g.gate = make(chan struct{})
	g.reads.Store(0)
	var all sync.WaitGroup
	refresh := func(id string) {
		change(t, s.DB, id, "")
		all.Go(func() {
			if err := w.Refresh(t.Context()); err != nil {
				t.Errorf("Refresh = %v, want nil", err)
			}
			if w.Snapshot().Command(id) == nil {
				t.Errorf("command %s is not in force after the refresh that came after it", id)
			}
		})
	}
	until := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !done(); runtime.Gosched() {
			if time.Now().After(end) {
				close(g.gate)
				t.Fatalf("after 10 s: still not %s", what)
			}
		}
	}
	before := w.Asked()
	refresh("first")
	until("reading", func() bool { return g.reads.Load() == 1 })
	for n := range 20 {
		refresh(fmt.Sprint("c", n))
	}
	until("all asked", func() bool { return w.Asked() == before+21 })
	close(g.gate)
	all.Wait()
	if got := g.reads.Load(); got != 2 {
		t.Errorf("looks at the store = %d, want 2: that which was under way, and one for all others", got)
	}
}
