// Package bell carries word between the hosts of a store, so that they need not
// wait for their next look: of jobs that wait, of wishes to cancel, of ends that
// somebody waits for, and of changes of the catalog.
package bell

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Store carries notices.
type Store interface {
	Listen(ctx context.Context, host string, ready func(), heard func(store.Notice)) error
	Notify(ctx context.Context, notices ...store.Notice) error
}

// Config is what a bell needs.
type Config struct {
	Store   Store
	Host    string      // id of this host
	Company func() bool // whether there are other hosts; without, nothing is said
	Log     hclog.Logger

	// What others say is passed on to these, which do not take long.
	WorkWaits   func()              // a job waits that this host may have
	CancelAsked func()              // somebody has asked to cancel jobs of this host
	Ended       func(jobs []job.ID) // jobs that this host has awaited have ended
	Catalog     func()              // the catalog has changed
}

// pauseTime is the least time between two rounds of notices: what gathers
// meanwhile goes out together.
const pauseTime = 10 * time.Millisecond

// Bounds of what is known of the awaits of others. An await that is forgotten is
// answered when its host looks by itself.
const (
	mostAwaits = 100_000
	awaitTime  = 10 * time.Minute
)

// Bell tells other hosts, and hears them.
type Bell struct {
	Config
	some chan struct{} // something is to be said

	mu      sync.Mutex
	work    bool                // others are to hear that work waits
	catalog bool                // others are to hear that the catalog has changed
	cancels map[string][]job.ID // by host
	awaits  []job.ID            // ends that are awaited here
	ended   map[string][]job.ID // by host that has awaited them
	awaited map[job.ID]awaiting // ends that others await
	recent  recent              // ends that came before anybody was known to await them
}

// awaiting are the hosts that await an end.
type awaiting struct {
	hosts []string
	until time.Time
}

// New returns a bell. It says nothing before Serve.
func New(c Config) *Bell {
	return &Bell{
		Config: c, some: make(chan struct{}, 1),
		cancels: map[string][]job.ID{}, ended: map[string][]job.ID{}, awaited: map[job.ID]awaiting{},
	}
}

// Serve carries word until ctx is done.
func (b *Bell) Serve(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return b.Store.Listen(ctx, b.Host, b.lookAgain, b.hear)
	})
	group.Go(func() error {
		b.speak(ctx)
		return nil
	})
	return group.Wait()
}

// SayWorkWaits tells all that a job waits that a free host may claim.
func (b *Bell) SayWorkWaits() {
	if b.Company() {
		b.say(func() { b.work = true })
	}
}

// SayCatalogChanged tells all that the catalog has changed.
func (b *Bell) SayCatalogChanged() {
	if b.Company() {
		b.say(func() { b.catalog = true })
	}
}

// SayCancelAsked tells a host to stop a job.
func (b *Bell) SayCancelAsked(host string, id job.ID) {
	b.say(func() { b.cancels[host] = append(b.cancels[host], id) })
}

// Await asks to be told of the end of a job, whichever host it is that ends it. It
// reports whether there is anybody to ask.
func (b *Bell) Await(id job.ID) bool {
	if !b.Company() {
		return false
	}
	b.say(func() { b.awaits = append(b.awaits, id) })
	return true
}

// SayEnded tells those who await them of ends that are recorded.
func (b *Bell) SayEnded(ids ...job.ID) {
	if !b.Company() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		b.recent.add(id)
		for _, host := range b.awaited[id].hosts {
			b.ended[host] = append(b.ended[host], id)
			b.rouse()
		}
		delete(b.awaited, id)
	}
}

func (b *Bell) say(note func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	note()
	b.rouse()
}

func (b *Bell) rouse() {
	select {
	case b.some <- struct{}{}:
	default:
	}
}

// speak says what there is to say until ctx is done.
func (b *Bell) speak(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.some:
		}
		if err := b.Store.Notify(ctx, b.gather()...); err != nil && ctx.Err() == nil {
			b.Log.Debug("other hosts could not be told; they find out by themselves", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pauseTime):
		}
	}
}

// gather takes what there is to say. That an end is awaited is said before the
// word that makes somebody run the job.
func (b *Bell) gather() (notices []store.Notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.awaits) > 0 {
		notices = append(notices, store.Notice{Kind: store.EndAwaited, From: b.Host, Jobs: b.awaits})
	}
	if b.work {
		notices = append(notices, store.Notice{Kind: store.WorkWaits, From: b.Host})
	}
	if b.catalog {
		notices = append(notices, store.Notice{Kind: store.CatalogChanged, From: b.Host})
	}
	for host, jobs := range b.cancels {
		notices = append(notices, store.Notice{Kind: store.CancelAsks, From: b.Host, To: host, Jobs: jobs})
	}
	for host, jobs := range b.ended {
		notices = append(notices, store.Notice{Kind: store.JobsEnded, From: b.Host, To: host, Jobs: jobs})
	}
	b.awaits, b.work, b.catalog = nil, false, false
	clear(b.cancels)
	clear(b.ended)
	return notices
}

// lookAgain has this host look for what it may not have heard.
func (b *Bell) lookAgain() {
	b.WorkWaits()
	b.CancelAsked()
	b.Catalog()
}

func (b *Bell) hear(n store.Notice) {
	switch n.Kind {
	case store.WorkWaits:
		b.WorkWaits()
	case store.CancelAsks:
		b.CancelAsked()
	case store.JobsEnded:
		b.Ended(n.Jobs)
	case store.CatalogChanged:
		b.Catalog()
	case store.EndAwaited:
		b.note(n)
	}
}

// note remembers that a host awaits ends.
func (b *Bell) note(n store.Notice) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.awaited)+len(n.Jobs) > mostAwaits {
		maps.DeleteFunc(b.awaited, func(_ job.ID, a awaiting) bool { return now.After(a.until) })
	}
	for _, id := range n.Jobs {
		if b.recent.has(id) {
			b.ended[n.From] = append(b.ended[n.From], id)
			b.rouse()
			continue
		}
		if len(b.awaited) >= mostAwaits {
			return
		}
		a := b.awaited[id]
		if !slices.Contains(a.hosts, n.From) {
			a.hosts = append(a.hosts, n.From)
		}
		a.until = now.Add(awaitTime)
		b.awaited[id] = a
	}
}
