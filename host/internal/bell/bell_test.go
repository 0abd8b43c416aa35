package bell_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/bell"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store/memstore"
)

// host is a host with its bell.
type host struct {
	*bell.Bell
	mu      sync.Mutex
	work    int
	cancels int
	ended   []job.ID

	catalogs int // times that it was told of another catalog, or had to look
}

func (h *host) heard() (work, cancels int, ended []job.ID) {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.work, h.cancels, slices.Clone(h.ended)
}

// ring has hosts with these names listen to each other, and returns them.
func ring(t *testing.T, db *memstore.Store, company bool, names ...string) (hosts []*host, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	for _, name := range names {
		h := &host{}
		h.Bell = bell.New(bell.Config{
			Store: db.Link(), Host: name, Company: func() bool { return company }, Log: hclog.NewNullLogger(),
			WorkWaits:   func() { h.mu.Lock(); defer h.mu.Unlock(); h.work++ },
			CancelAsked: func() { h.mu.Lock(); defer h.mu.Unlock(); h.cancels++ },
			Catalog:     func() { h.mu.Lock(); defer h.mu.Unlock(); h.catalogs++ },
			Ended:       func(ids []job.ID) { h.mu.Lock(); defer h.mu.Unlock(); h.ended = append(h.ended, ids...) },
		})
		served.Go(func() {
			if err := h.Serve(ctx); err != nil {
				t.Errorf("Serve of %s: %v", name, err)
			}
		})
		hosts = append(hosts, h)
	}
	synctest.Wait()
	return hosts, func() { cancel(); served.Wait() }
}

func TestWordGoesToThoseItIsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, stop := ring(t, memstore.New(), true, "a", "b", "c")
		defer stop()
		a, b, c := hosts[0], hosts[1], hosts[2]
		// Each has looked once, when it began to listen.
		a.SayCancelAsked("b", job.NewID())
		for _, h := range []struct {
			name string
			*host
			want int
		}{{"a", a, 1}, {"b", b, 2}, {"c", c, 1}} {
			if _, cancels, _ := h.heard(); cancels != h.want {
				t.Errorf("%s looked %d times for cancels, want %d", h.name, cancels, h.want)
			}
		}

		mine, theirs := job.NewID(), job.NewID()
		b.SayEnded(theirs) // before anybody is known to await it
		for range 4000 {
			b.SayEnded(job.NewID())
		}
		a.Await(mine)
		c.Await(theirs)
		time.Sleep(time.Second)
		b.SayEnded(mine)
		b.SayEnded(mine)
		time.Sleep(time.Second)
		if _, _, ended := a.heard(); !slices.Equal(ended, []job.ID{mine}) {
			t.Errorf("a heard of the ends of %v, want %v once", ended, mine)
		}
		if _, _, ended := c.heard(); !slices.Equal(ended, []job.ID{theirs}) {
			t.Errorf("c heard of the ends of %v, want %v once", ended, theirs)
		}
	})
}

func TestAllHearOfTheCatalog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, stop := ring(t, memstore.New(), true, "a", "b", "c")
		defer stop()
		hosts[0].SayCatalogChanged()
		synctest.Wait()
		for i, want := range []int{1, 2, 2} { // each has looked once, when it began to listen
			hosts[i].heard()
			hosts[i].mu.Lock()
			if got := hosts[i].catalogs; got != want {
				t.Errorf("host %d looked at the catalog %d times, want %d", i, got, want)
			}
			hosts[i].mu.Unlock()
		}
	})
}

// What ended long ago is not remembered: whoever waits for that looks by itself.
func TestOnlyRecentEndsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, stop := ring(t, memstore.New(), true, "a", "b")
		defer stop()
		old, last := job.NewID(), job.NewID()
		hosts[1].SayEnded(old)
		for range 5000 {
			hosts[1].SayEnded(job.NewID())
		}
		hosts[1].SayEnded(last)
		hosts[0].Await(old)
		hosts[0].Await(last)
		time.Sleep(time.Second)
		if _, _, ended := hosts[0].heard(); !slices.Equal(ended, []job.ID{last}) {
			t.Errorf("heard of the ends of %v, want %v", ended, last)
		}
	})
}

// A storm of calls becomes few notices: the first goes at once, and then one each
// pause.
func TestWordGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, stop := ring(t, memstore.New(), true, "a", "b")
		defer stop()
		hosts[0].SayWorkWaits()
		if work, _, _ := hosts[1].heard(); work != 2 {
			t.Errorf("work was heard of %d times, want at the start and at once", work)
		}
		for range 1000 { // in 100 ms
			hosts[0].SayWorkWaits()
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(time.Second)
		if work, _, _ := hosts[1].heard(); work < 10 || work > 15 {
			t.Errorf("work was heard of %d times in 100 ms, want one each 10 ms", work)
		}
	})
}

// A host without company says nothing, and one whose words do not arrive goes on.
func TestNobodyToTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, stop := ring(t, memstore.New(), false, "a", "b")
		defer stop()
		hosts[0].SayWorkWaits()
		if hosts[0].Await(job.NewID()) {
			t.Error("there is somebody to ask, want nobody")
		}
		if work, _, _ := hosts[1].heard(); work != 1 {
			t.Errorf("work was heard of %d times, want only at the start", work)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		db := memstore.New()
		hosts, stop := ring(t, db, true, "a", "b")
		defer stop()
		hosts[0].SayWorkWaits()
		time.Sleep(time.Second)
		hosts[0].SayWorkWaits()
		if work, _, _ := hosts[1].heard(); work != 3 {
			t.Errorf("work was heard of %d times, want at the start and twice", work)
		}
	})
}
