// Package registry is the commands and clusters as people see and change them: what
// is declared where, what is in force, and whether it works.
package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/schema"
)

// Store keeps the objects.
type Store interface {
	CatalogEntry(ctx context.Context, kind catalog.Kind, id string) (*catalog.Entry, error)
	ChangeCatalog(ctx context.Context, kind catalog.Kind, id, by string,
		change func(is *catalog.Entry) (*catalog.Entry, error)) (*catalog.Entry, error)
	RenewLease(ctx context.Context, e *catalog.Entry) (renewed bool, err error)
	CatalogHistory(ctx context.Context, kind catalog.Kind, id string, before int64, most int) ([]*catalog.Entry, error)
}

// Catalog is what is in force on this host.
type Catalog interface {
	Entries(kind catalog.Kind) []*catalog.Entry
	Snapshot() *catalog.Snapshot
	// Refresh puts into force what was changed before.
	Refresh(ctx context.Context) error
}

// Plugins says what plugins take.
type Plugins interface {
	Described(plugin, version string) (*pluginhost.Description, error)
	Descriptions() []*pluginhost.Description
}

// Checker says whether jobs of a command could be done on a cluster now.
type Checker interface {
	Check(ctx context.Context, command *catalog.Command, cluster *catalog.Cluster) (pluginhost.Health, error)
}

// Config is what a registry needs.
type Config struct {
	Store   Store
	Catalog Catalog
	Plugins Plugins
	Checker Checker
	// Usable says why jobs of a command cannot be run here; nil when they can.
	Usable func(c *catalog.Command) error
	// Allow returns a fault for each reference in a context that the API may not make.
	Allow func(context json.RawMessage) []errs.Field
	// Changed is called when this host has changed the catalog.
	Changed func()
	// CheckTime bounds each check of a cluster; 0: 10 s.
	CheckTime time.Duration
}

// Registry is the commands and clusters as people see and change them.
type Registry struct {
	Config
	schemas schemas
}

// New returns a registry.
func New(c Config) *Registry {
	if c.CheckTime <= 0 {
		c.CheckTime = 10 * time.Second
	}
	return &Registry{Config: c, schemas: schemas{read: map[string]*schema.Schema{}}}
}

// Get returns an object as it is in force here, also one that is deleted; errs.NotFound
// when there never was one.
func (r *Registry) Get(kind catalog.Kind, id string) (*catalog.Entry, error) {
	if e := r.find(kind, id); e != nil {
		return e, nil
	}
	return nil, unknown(kind, id)
}

func unknown(kind catalog.Kind, id string) error {
	return &errs.Error{Kind: errs.NotFound, ID: id, Message: fmt.Sprintf("there is no %s %q", kind, id)}
}

// Condition says what must be so for a change to be made.
type Condition struct {
	Revisions []int64 // the object has one of these; empty: it does not matter
	Exists    bool    // the object is there
	Absent    bool    // it is not
}

// ErrCondition is why a change was not made whose condition did not hold.
type ErrCondition struct{ is *catalog.Entry }

// Error says what is there instead.
func (e *ErrCondition) Error() string {
	if e.is == nil {
		return "the condition does not hold: there is no such object"
	}
	return fmt.Sprintf("the condition does not hold: %s %q has revision %d, which %s has made", e.is.Kind, e.is.Object().ID, e.is.Revision, e.is.UpdatedBy)
}

// check returns an error when the condition does not hold of what is.
func (c Condition) check(is *catalog.Entry) error {
	there := is != nil && is.Status() != catalog.Deleted
	holds := !(c.Exists && !there || c.Absent && there)
	if len(c.Revisions) > 0 {
		found := false
		for _, revision := range c.Revisions {
			found = found || is != nil && is.Revision == revision
		}
		holds = holds && found
	}
	if !holds {
		return &ErrCondition{is}
	}
	return nil
}

// Put makes an object of the API what a definition says, which may be a new one or one
// that was deleted. What is so already stays as it is, with its revision.
func (r *Registry) Put(ctx context.Context, user string, kind catalog.Kind, id string, d Definition, when Condition) (*catalog.Entry, error) {
	wanted, err := r.read(kind, id, d)
	if err != nil {
		return nil, err
	}
	return r.change(ctx, kind, id, user, func(is *catalog.Entry) (*catalog.Entry, error) {
		if err := when.check(is); err != nil {
			return nil, err
		}
		next := *wanted
		next.Owner = catalog.ByAPI
		if is == nil {
			return &next, nil
		}
		if err := changeable(is); err != nil {
			return nil, err
		}
		next.Revision, next.Override = is.Revision, is.Override
		if d.Status || is.Status() == catalog.Deleted {
			next.Override = "" // the definition says it
		}
		same, err := unchanged(is, &next)
		if err != nil || same {
			return nil, err
		}
		return &next, nil
	})
}

// unchanged reports whether what is to be is what is.
func unchanged(is, next *catalog.Entry) (bool, error) {
	if is.Gone || is.Owner != next.Owner || is.Override != next.Override {
		return false, nil
	}
	before, err := is.Definition()
	if err != nil {
		return false, err
	}
	after, err := next.Definition()
	return bytes.Equal(before, after), err
}

// changeable refuses to change the definition of what a file, or a lease, declares.
func changeable(is *catalog.Entry) error {
	switch {
	case is.Gone:
		return nil
	case is.Owner == catalog.ByFile:
		return conflict(is, "%s %q is declared in the file %s: change it there", is.Kind, is.Object().ID, is.Source)
	case is.Owner == catalog.ByLease && !is.LeaseOver:
		return conflict(is, "cluster %q has declared itself, and its lease is not over; delete it first", is.Object().ID)
	}
	return nil
}

func conflict(is *catalog.Entry, format string, args ...any) error {
	return &errs.Error{Kind: errs.Conflict, ID: is.Object().ID, Message: fmt.Sprintf(format, args...)}
}

// SetStatus puts a status in place of the declared one of an object, wherever that is
// declared. "" takes it back.
func (r *Registry) SetStatus(ctx context.Context, user string, kind catalog.Kind, id string, status catalog.Status, when Condition) (*catalog.Entry, error) {
	return r.change(ctx, kind, id, user, func(is *catalog.Entry) (*catalog.Entry, error) {
		if is == nil || is.Gone {
			return nil, unknown(kind, id)
		}
		if err := when.check(is); err != nil {
			return nil, err
		}
		if is.Override == status {
			return nil, nil
		}
		next := *is
		next.Override = status
		return &next, nil
	})
}

// change changes an object in the store, and puts that into force here before it
// returns.
func (r *Registry) change(ctx context.Context, kind catalog.Kind, id, user string,
	change func(is *catalog.Entry) (*catalog.Entry, error),
) (*catalog.Entry, error) {
	changed := false
	e, err := r.Store.ChangeCatalog(ctx, kind, id, user, func(is *catalog.Entry) (*catalog.Entry, error) {
		next, err := change(is)
		changed = next != nil
		return next, err
	})
	if err != nil {
		return nil, err
	}
	if changed {
		err = r.enforce(ctx)
	} else if now := r.find(kind, id); now == nil || now.Revision != e.Revision {
		err = r.Catalog.Refresh(ctx) // another host has made it what it is
	}
	if err != nil {
		return nil, err
	}
	// A later change is somebody else's: who made this one is not to take it for theirs.
	if now := r.find(kind, id); now != nil && now.Revision == e.Revision {
		return now, nil
	}
	return e, nil
}

// enforce puts a change into force here, and tells the others.
func (r *Registry) enforce(ctx context.Context) error {
	if r.Changed != nil {
		r.Changed()
	}
	if err := r.Catalog.Refresh(ctx); err != nil {
		return fmt.Errorf("the change is recorded, and is to be in force soon: %w", err)
	}
	return nil
}
