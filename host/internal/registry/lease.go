package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// Lease is what a cluster says of itself.
type Lease struct {
	TTL         time.Duration
	Name        string // "": the id
	Version     string
	Description string
	Tags        []string
	Capacity    int             // jobs at once; 0: any number
	Context     json.RawMessage // empty: {}
}

// Bounds of the time that a cluster may be silent.
const (
	leastTTL = time.Second
	mostTTL  = 24 * time.Hour
)

// Lease makes a cluster that declares itself, or renews it. It does not touch what a
// file or the API has declared. A status that the API has set stays.
func (r *Registry) Lease(ctx context.Context, user, id string, l Lease) (*catalog.Entry, error) {
	var faults []errs.Field
	if l.TTL < leastTTL || l.TTL > mostTTL {
		faults = append(faults, errs.Field{Pointer: "/ttl", Detail: fmt.Sprintf("this is %v; want %v to %v", l.TTL, leastTTL, mostTTL)})
	}
	if l.Capacity < 0 {
		faults = append(faults, errs.Field{Pointer: "/capacity", Detail: fmt.Sprintf("this is %d; want 0, for any number of jobs, or more", l.Capacity)})
	}
	if len(faults) > 0 {
		return nil, &errs.Error{Kind: errs.Invalid, ID: id, Message: faults[0].Pointer[1:] + ": " + faults[0].Detail, Fields: faults}
	}
	wanted, err := r.leased(id, l)
	if err != nil {
		return nil, err
	}
	renewed, err := r.Store.RenewLease(ctx, wanted)
	if err != nil {
		return nil, err
	}
	if renewed { // the catalog is as it was
		return r.Store.CatalogEntry(ctx, catalog.ClusterKind, id)
	}
	e, err := r.Store.ChangeCatalog(ctx, catalog.ClusterKind, id, user, func(is *catalog.Entry) (*catalog.Entry, error) {
		next := *wanted
		if is == nil {
			return &next, nil
		}
		if !is.Gone && is.Owner == catalog.ByFile {
			return nil, conflict(is, "cluster %q is declared in the file %s, which a lease does not overwrite", id, is.Source)
		}
		if !is.Gone && is.Owner == catalog.ByAPI {
			return nil, conflict(is, "cluster %q was made by %s through the API, which a lease does not overwrite", id, is.UpdatedBy)
		}
		next.Revision, next.Override = is.Revision, is.Override
		return &next, nil
	})
	if err != nil {
		return nil, err
	}
	return e, r.enforce(ctx)
}

// leased returns the cluster that a lease declares.
func (r *Registry) leased(id string, l Lease) (*catalog.Entry, error) {
	keys := map[string]any{"name": id, "tags": l.Tags, "max_running": l.Capacity}
	for name, text := range map[string]string{"name": l.Name, "version": l.Version, "description": l.Description} {
		if text != "" {
			keys[name] = text
		}
	}
	if l.Tags == nil {
		delete(keys, "tags")
	}
	if len(l.Context) > 0 {
		keys["context"] = l.Context
	}
	body, err := json.Marshal(keys)
	if err != nil {
		return nil, errs.Errorf(errs.Malformed, "the context is not JSON: %w", err)
	}
	e, err := r.read(catalog.ClusterKind, id, Definition{Body: body})
	if err != nil {
		return nil, err
	}
	e.Owner, e.LeaseTTL = catalog.ByLease, l.TTL
	return e, nil
}

// LeaseOf returns a cluster with its lease as it stands in the store.
func (r *Registry) LeaseOf(ctx context.Context, id string) (*catalog.Entry, error) {
	e, err := r.Store.CatalogEntry(ctx, catalog.ClusterKind, id)
	if err == nil && e == nil {
		err = unknown(catalog.ClusterKind, id)
	}
	return e, err
}
