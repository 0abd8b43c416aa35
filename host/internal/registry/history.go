package registry

import (
	"context"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
)

// History returns at most so many revisions of an object before one, the newest first;
// 0 is behind all. errs.NotFound when there never was such an object.
func (r *Registry) History(ctx context.Context, kind catalog.Kind, id string, before int64, most int) ([]*catalog.Entry, error) {
	entries, err := r.Store.CatalogHistory(ctx, kind, id, before, most)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		if _, err := r.Get(kind, id); err != nil {
			return nil, err
		}
	}
	for _, e := range entries {
		e.Object().Elsewhere = e.Owner == catalog.ByFile // its context is what everybody may know
	}
	return entries, nil
}
