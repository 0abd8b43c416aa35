// Package presence makes a host known to the others of its store, and them to it:
// what each can run.
package presence

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/selector"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Store keeps what hosts say of themselves.
type Store interface {
	SetCommands(ctx context.Context, host string, commands []string) error
	SetPlugins(ctx context.Context, host, revision string, plugins map[string][]string) error
	Peers(ctx context.Context, self string) ([]store.Peer, error)
}

// Catalog gives the current snapshot.
type Catalog interface {
	Snapshot() *catalog.Snapshot
}

// Config is what presence needs.
type Config struct {
	Store   Store
	Catalog Catalog
	Plugins selector.Plugins           // says why the plugin of a command cannot be used here
	Builds  func() map[string][]string // names to versions, of the plugins that can be used here
	Host    string
	Log     hclog.Logger
}

// Presence says what its host can run, and knows what others can.
type Presence struct {
	Config
	commands []string               // that were announced last
	plugins  announced              // likewise
	others   atomic.Pointer[others] // as they were last seen
	differs  time.Time              // since when catalogs differ; zero: they do not
	warned   bool                   // the operator knows that they do
}

// announced is what the row of a host says.
type announced struct {
	revision string
	plugins  map[string][]string
	said     bool
}

// others are the other hosts that take jobs.
type others struct {
	hosts    int
	commands map[string]bool // that one of them can run
}

// New returns the presence of a host, once the store knows of it.
func New(ctx context.Context, c Config) (*Presence, error) {
	p := &Presence{Config: c}
	p.others.Store(&others{})
	if err := p.announce(ctx); err != nil {
		return nil, err
	}
	return p, p.meet(ctx)
}

// lookTime is the time between looks at what the host can run, and the others.
const lookTime = 500 * time.Millisecond

// Serve announces what the host can run whenever that changes, and looks at the
// others, until ctx is done.
func (p *Presence) Serve(ctx context.Context) error {
	tick := time.NewTicker(lookTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := p.announce(ctx); err != nil && ctx.Err() == nil {
			p.Log.Warn("what this host can run could not be recorded yet", "error", err)
		}
		if err := p.meet(ctx); err != nil && ctx.Err() == nil {
			p.Log.Debug("the other hosts could not be looked at", "error", err)
		}
	}
}

// Company reports whether there are other hosts.
func (p *Presence) Company() bool { return p.others.Load().hosts > 0 }

// Somewhere returns why no host can use the plugin of a command; nil when one can.
func (p *Presence) Somewhere(c *catalog.Command) error {
	err := p.Plugins(c)
	if err != nil && p.others.Load().commands[c.ID] {
		return nil
	}
	return err
}

// Here reports whether this host can run jobs of a command. The catalog that it
// was chosen from may be older than that in force.
func (p *Presence) Here(command string) bool {
	c := p.Catalog.Snapshot().Command(command)
	return c != nil && p.Plugins(c) == nil
}

func (p *Presence) announce(ctx context.Context) error {
	snapshot := p.Catalog.Snapshot()
	plugins := p.Builds()
	if !p.plugins.said || p.plugins.revision != snapshot.Revision || !maps.EqualFunc(plugins, p.plugins.plugins, slices.Equal) {
		if err := p.Store.SetPlugins(ctx, p.Host, snapshot.Revision, plugins); err != nil {
			return err
		}
		p.plugins = announced{snapshot.Revision, plugins, true}
	}
	can := p.can(snapshot)
	if p.commands != nil && slices.Equal(can, p.commands) {
		return nil
	}
	if err := p.Store.SetCommands(ctx, p.Host, can); err != nil {
		return err
	}
	p.commands = can
	return nil
}

// can returns the ids of the commands that this host can run. Jobs of a command
// that is not active any more, or gone from the catalog, wait until it is back.
func (p *Presence) can(s *catalog.Snapshot) []string {
	can := []string{}
	for _, c := range s.Commands {
		if c.Status == catalog.Active && p.Plugins(c) == nil {
			can = append(can, c.ID)
		}
	}
	slices.Sort(can)
	return can
}

// meet looks at the other hosts.
func (p *Presence) meet(ctx context.Context) error {
	peers, err := p.Store.Peers(ctx, p.Host)
	if err != nil {
		return err
	}
	seen := &others{hosts: len(peers), commands: map[string]bool{}}
	other := "" // one that has another catalog
	for _, peer := range peers {
		for _, id := range peer.Commands {
			seen.commands[id] = true
		}
		if peer.Revision != "" && peer.Revision != p.plugins.revision {
			other = peer.Name
		}
	}
	p.others.Store(seen)
	p.compare(other)
	return nil
}

// patience is how long catalogs may differ: a change is not in force on all hosts at
// the same moment.
const patience = 5 * time.Second

// compare tells the operator when catalogs differ for long; other has another one, ""
// is none.
func (p *Presence) compare(other string) {
	switch {
	case other == "":
		if p.warned {
			p.Log.Info("the catalogs of all hosts agree again")
		}
		p.differs, p.warned = time.Time{}, false
	case p.differs.IsZero():
		p.differs = time.Now()
	case !p.warned && time.Since(p.differs) >= patience:
		p.warned = true
		p.Log.Warn("the catalogs of two hosts differ: their files declare the same commands or clusters otherwise, and the same request may be answered otherwise elsewhere; give all hosts of a store the same declarations",
			"other", other)
	}
}
