// Package presence makes a host known to the others of its store: what it can run.
package presence

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/selector"
)

// Store keeps what hosts say of themselves.
type Store interface {
	SetCommands(ctx context.Context, host string, commands []string) error
}

// Catalog gives the current snapshot.
type Catalog interface {
	Snapshot() *catalog.Snapshot
}

// Config is what presence needs.
type Config struct {
	Store   Store
	Catalog Catalog
	Plugins selector.Plugins // says why a plugin cannot be used here
	Host    string
	Log     hclog.Logger
}

// Presence says what its host can run.
type Presence struct {
	Config
	said []string // the commands that were announced last
}

// New returns the presence of a host, once the store knows of it.
func New(ctx context.Context, c Config) (*Presence, error) {
	p := &Presence{Config: c}
	return p, p.announce(ctx)
}

// lookTime is the time between looks at what the host can run.
const lookTime = 500 * time.Millisecond

// Serve announces what the host can run whenever that changes, until ctx is done.
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
	}
}

func (p *Presence) announce(ctx context.Context) error {
	can := p.commands()
	if p.said != nil && slices.Equal(can, p.said) {
		return nil
	}
	if err := p.Store.SetCommands(ctx, p.Host, can); err != nil {
		return err
	}
	p.said = can
	return nil
}

// commands returns the ids of the commands that this host can run. One that is not
// active has no new jobs, but those that wait may run.
func (p *Presence) commands() []string {
	can := []string{}
	for _, c := range p.Catalog.Snapshot().Commands {
		if c.Status == catalog.Active && p.Plugins(c.Plugin, c.PluginVersion) == nil {
			can = append(can, c.ID)
		}
	}
	slices.Sort(can)
	return can
}
