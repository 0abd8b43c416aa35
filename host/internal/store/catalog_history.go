package store

import (
	"context"
	"fmt"
	"math"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
)

// CatalogHistory returns at most so many revisions of an object before one, the newest
// first; 0 is behind all. What an entry says was in force from its UpdatedAt on; leases
// have no times there.
func (db *DB) CatalogHistory(ctx context.Context, kind catalog.Kind, id string, before int64, most int) ([]*catalog.Entry, error) {
	if err := checkText(field{"id", id}); err != nil {
		return nil, err
	}
	if before <= 0 {
		before = math.MaxInt64
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	entries, err := readEntries(db.read.QueryContext(ctx, `
		SELECT kind, id, managed_by, definition, status_override, source, gone, revision, version,
			NULL, NULL, lease_over, at, at, "by"
		FROM catalog_change
		WHERE kind = $1 AND id = $2 AND revision < $3
		ORDER BY revision DESC
		LIMIT $4`, string(kind), id, before, most))
	if err != nil {
		return nil, fmt.Errorf("read the history of %s %q: %w", kind, id, db.fault(err))
	}
	return entries, nil
}
