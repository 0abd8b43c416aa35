// Package watch keeps the catalog in force in step with the store, which has what
// all hosts and the API have declared, and with the file of this host.
package watch

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/selector"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Store keeps the objects of the catalog, the revisions that jobs were chosen from,
// and what holds for all hosts.
type Store interface {
	CatalogState(ctx context.Context) (store.CatalogState, error)
	CatalogSince(ctx context.Context, version int64) ([]*catalog.Entry, error)
	Declare(ctx context.Context, d store.Declaration) (store.Declared, error)
	LapseDeclarations(ctx context.Context) error
	EndLeases(ctx context.Context) error
	SaveRevision(ctx context.Context, revision string, content []byte) error
	// SetCaps puts into force how many jobs may run at once.
	SetCaps(ctx context.Context, c store.Caps) error
	// SetLackedClusters says which clusters a host cannot use.
	SetLackedClusters(ctx context.Context, host string, clusters []string) error
}

// Config is what a watch needs.
type Config struct {
	File  string // the configuration file; empty: there is none to look at
	Load  func() (*catalog.Snapshot, error)
	Store Store
	Host  string // id of this host
	Epoch int64
	Name  string // of this host, for people
	// Public returns the context of an object as everybody may know it; nil: {}.
	Public func(e *catalog.Entry) []byte
	// Changed is called when this host has changed the catalog; nil: nobody is told.
	Changed func()
	// Plugins says why a plugin cannot be used, so that the operator hears of
	// commands that nobody can run; nil: that is not looked at.
	Plugins selector.Plugins
	// Judge returns what is wrong with the context of a command, as its plugin sees it,
	// so that the operator hears of that; nil: that is not looked at.
	Judge func(c *catalog.Command) []errs.Field
	// MaxRunningPerUser is how many jobs of each user may run at once, over all
	// hosts; 0: any number.
	MaxRunningPerUser int
	// Lease is how long a host may be silent; 0: 10 s.
	Lease time.Duration
	// Loaded is called after each load, with why it was refused; nil: nobody is told.
	Loaded func(err error)
	Log    hclog.Logger
}

// Catalog is the catalog in force.
type Catalog struct {
	Config
	current atomic.Pointer[current]
	reload  chan struct{}
	told    chan struct{}
	stamp   string    // of the file as it was last read; only Serve and New use it
	since   time.Time // when the store began to answer; likewise
	kept    kept
	asked   atomic.Int64 // refreshes, each with its number

	mu       sync.Mutex
	answered int64             // refreshes up to this number are done
	own      *catalog.Snapshot // of the file
	objects  objects
	caps     *store.Caps // as they were set last
	lacked   []string    // likewise; nil: not yet
}

// current is what is in force. It is never changed.
type current struct {
	snapshot *catalog.Snapshot
	selector *selector.Selector
	commands []*catalog.Entry // by id
	clusters []*catalog.Entry
	version  int64
}

// New loads the catalog for the first time.
func New(ctx context.Context, c Config) (*Catalog, error) {
	w := &Catalog{Config: c, reload: make(chan struct{}, 1), told: make(chan struct{}, 1), since: time.Now(), kept: kept{turn: make(chan struct{}, 1)}}
	if w.Lease <= 0 {
		w.Lease = 10 * time.Second
	}
	w.objects.held = map[object]held{}
	w.stamp = w.look()
	return w, w.load(ctx)
}

// Snapshot returns the catalog in force.
func (w *Catalog) Snapshot() *catalog.Snapshot { return w.current.Load().snapshot }

// Selector returns the selector of the catalog in force.
func (w *Catalog) Selector() *selector.Selector { return w.current.Load().selector }

// Entries returns one side of the catalog in force, with what is gone, by id. Nobody
// may change it.
func (w *Catalog) Entries(kind catalog.Kind) []*catalog.Entry {
	if kind == catalog.CommandKind {
		return w.current.Load().commands
	}
	return w.current.Load().clusters
}

// Reload makes Serve read the file again, changed or not.
func (w *Catalog) Reload() { wake(w.reload) }

// Tell makes Serve look at once whether the catalog has changed: another host says
// so.
func (w *Catalog) Tell() { wake(w.told) }

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Times between looks at the file, and at the store.
const (
	lookTime = time.Second
	pollTime = 500 * time.Millisecond
)

// unread is the stamp of no file: the one that is there is to be read again.
const unread = "unread"

// Serve keeps the catalog in step until ctx is done. A file with faults changes
// nothing.
func (w *Catalog) Serve(ctx context.Context) error {
	look, poll := time.NewTicker(lookTime), time.NewTicker(pollTime)
	defer look.Stop()
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.told:
			w.poll(ctx)
			continue
		case <-poll.C:
			w.poll(ctx)
			continue
		case <-w.reload:
		case <-look.C:
			stamp := w.look()
			if stamp == w.stamp {
				continue
			}
			w.stamp = stamp
		}
		before := w.Snapshot().Revision
		switch err := w.load(ctx); {
		case ctx.Err() != nil:
			return nil
		case errs.Is(err, errs.Unavailable):
			w.Log.Warn("the catalog stays as it was until the store is back", "file", w.File, "error", err)
			w.stamp = unread
			continue
		case err != nil:
			w.Log.Error("the configuration has faults; the catalog stays as it was", "file", w.File, "error", err)
			continue
		}
		s := w.Snapshot()
		w.Log.Info("catalog loaded", "commands", len(s.Commands), "clusters", len(s.Clusters), "revision", s.Revision, "before", before)
	}
}

// load loads the file, and tells of it.
func (w *Catalog) load(ctx context.Context) error {
	err := w.put(ctx)
	if w.Loaded != nil {
		w.Loaded(err)
	}
	return err
}

// put reads the file, records what it declares, and puts that into force.
func (w *Catalog) put(ctx context.Context) error {
	own, err := w.Load()
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.declare(ctx, own); err != nil {
		return err
	}
	w.own = own
	w.objects.forgetOwn()
	before := w.objects.version
	err = w.refresh(ctx)
	if w.objects.version != before {
		w.changed()
	}
	return err
}

// declare records what the file of this host declares.
func (w *Catalog) declare(ctx context.Context, own *catalog.Snapshot) error {
	done, err := w.Store.Declare(ctx, store.Declaration{
		Host: w.Host, Epoch: w.Epoch, Source: w.Source(), Entries: w.public(own),
	})
	if err != nil {
		return err
	}
	for _, e := range done.Taken {
		w.Log.Warn("the file declares what was made by the API: it is the file's now", "kind", e.Kind, "id", e.Object().ID, "by", e.UpdatedBy)
	}
	return nil
}

// Source names the file of this host, for people.
func (w *Catalog) Source() string { return w.Name + ":" + w.File }

// public returns the objects of the file as others may know them.
func (w *Catalog) public(own *catalog.Snapshot) []*catalog.Entry {
	entries := make([]*catalog.Entry, 0, len(own.Commands)+len(own.Clusters))
	for _, c := range own.Commands {
		open := *c
		e := &catalog.Entry{Kind: catalog.CommandKind, Command: &open}
		open.Context = w.open(e)
		entries = append(entries, e)
	}
	for _, c := range own.Clusters {
		open := *c
		e := &catalog.Entry{Kind: catalog.ClusterKind, Cluster: &open}
		open.Context = w.open(e)
		entries = append(entries, e)
	}
	return entries
}

func (w *Catalog) open(e *catalog.Entry) []byte {
	if w.Public == nil {
		return nil
	}
	return w.Public(e)
}

// look returns a word that changes when the file does.
func (w *Catalog) look() string {
	if w.File == "" {
		return ""
	}
	info, err := os.Stat(w.File)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size(), info.Mode())
}
