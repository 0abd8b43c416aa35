// Package watch keeps the catalog in force in step with the file that declares
// it.
package watch

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/selector"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Store keeps the revisions of the catalog that jobs were chosen from, and what
// holds for all hosts.
type Store interface {
	SaveRevision(ctx context.Context, revision string, content []byte) error
	// SetCaps puts into force how many jobs may run at once.
	SetCaps(ctx context.Context, c store.Caps) error
}

// Config is what a watch needs.
type Config struct {
	File  string // the configuration file; empty: there is none to look at
	Load  func() (*catalog.Snapshot, error)
	Store Store
	// Plugins says why a plugin cannot be used, so that the operator hears of
	// commands that nobody can run; nil: that is not looked at.
	Plugins selector.Plugins
	// MaxRunningPerUser is how many jobs of each user may run at once, over all
	// hosts; 0: any number.
	MaxRunningPerUser int
	// Loaded is called after each load, with why it was refused; nil: nobody is told.
	Loaded func(err error)
	Log    hclog.Logger
}

// Catalog is the catalog in force.
type Catalog struct {
	Config
	current atomic.Pointer[current]
	reload  chan struct{}
	stamp   string // of the file as it was last read; only Serve and New use it
}

type current struct {
	snapshot *catalog.Snapshot
	selector *selector.Selector
}

// New loads the catalog for the first time.
func New(ctx context.Context, c Config) (*Catalog, error) {
	w := &Catalog{Config: c, reload: make(chan struct{}, 1)}
	w.stamp = w.look()
	return w, w.load(ctx)
}

// Snapshot returns the catalog in force.
func (w *Catalog) Snapshot() *catalog.Snapshot { return w.current.Load().snapshot }

// Selector returns the selector of the catalog in force.
func (w *Catalog) Selector() *selector.Selector { return w.current.Load().selector }

// Reload makes Serve read the file again, changed or not.
func (w *Catalog) Reload() {
	select {
	case w.reload <- struct{}{}:
	default:
	}
}

// lookTime is the time between looks at the file.
const lookTime = time.Second

// unread is the stamp of no file: the one that is there is to be read again.
const unread = "unread"

// Serve reads the file again whenever it has changed, until ctx is done. A file
// with faults changes nothing.
func (w *Catalog) Serve(ctx context.Context) error {
	tick := time.NewTicker(lookTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.reload:
		case <-tick.C:
			stamp := w.look()
			if stamp == w.stamp {
				continue
			}
			w.stamp = stamp
		}
		before := w.Snapshot().Revision
		switch err := w.load(ctx); {
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

// load loads the catalog, and tells of it.
func (w *Catalog) load(ctx context.Context) error {
	err := w.put(ctx)
	if w.Loaded != nil {
		w.Loaded(err)
	}
	return err
}

// put reads the catalog and puts it into force once its revision is stored.
func (w *Catalog) put(ctx context.Context) error {
	snapshot, err := w.Load()
	if err != nil {
		return err
	}
	content, err := snapshot.Content()
	if err != nil {
		return err
	}
	if err := w.Store.SaveRevision(ctx, snapshot.Revision, content); err != nil {
		return fmt.Errorf("keep revision %s of the catalog: %w", snapshot.Revision, err)
	}
	if err := w.Store.SetCaps(ctx, caps(snapshot, w.MaxRunningPerUser)); err != nil {
		return err
	}
	w.current.Store(&current{snapshot, selector.New(snapshot)})
	w.warn(snapshot)
	return nil
}

// caps returns the caps of a catalog and of each user.
func caps(s *catalog.Snapshot, user int) store.Caps {
	c := store.Caps{Commands: map[string]int{}, Clusters: map[string]int{}, User: user}
	for _, command := range s.Commands {
		if command.MaxRunning > 0 {
			c.Commands[command.ID] = command.MaxRunning
		}
	}
	for _, cluster := range s.Clusters {
		if cluster.MaxRunning > 0 {
			c.Clusters[cluster.ID] = cluster.MaxRunning
		}
	}
	return c
}

// warn names the commands that cannot be run. What may be over soon is not worth
// a warning.
func (w *Catalog) warn(s *catalog.Snapshot) {
	if w.Plugins == nil {
		return
	}
	for _, c := range s.Commands {
		if c.Status != catalog.Active {
			continue
		}
		if err := w.Plugins(c); err != nil && !errs.Is(err, errs.Unavailable) {
			w.Log.Warn("a command cannot be run", "command", c.ID, "reason", err)
		}
	}
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
