package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
)

// CatalogState says whether there is something to do about the catalog.
type CatalogState struct {
	Version int64 // that the last change gave it
	Leases  bool  // EndLeases has something to do
	Lapsed  bool  // a host that does not live any more has declared objects
}

// declares and the clock of the database behind it are true of a host whose file
// counts.
const declares = "host.state IN ('live', 'full', 'draining') AND host.lease_until > "

// CatalogState returns the state of the catalog.
func (db *DB) CatalogState(ctx context.Context) (s CatalogState, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = db.read.QueryRowContext(ctx, `
		SELECT
			version,
			EXISTS (SELECT 1 FROM catalog_object WHERE `+leaseDue+"(SELECT "+db.text.clock+`))
				OR EXISTS (SELECT 1 FROM catalog_object WHERE kind = $2 AND `+leaseForgotten+"(SELECT "+db.text.until+`)),
			EXISTS (
				SELECT 1
				FROM host
				WHERE NOT (`+declares+db.text.clock+`)
					AND EXISTS (SELECT 1 FROM catalog_declaration d WHERE d.host_id = host.id AND NOT d.lapsed))
		FROM catalog_version
		WHERE one = $1`, 1, string(catalog.ClusterKind), -Forgotten.Microseconds()).Scan(&s.Version, &s.Leases, &s.Lapsed)
	if err != nil {
		return s, fmt.Errorf("read the version of the catalog: %w", db.fault(err))
	}
	return s, nil
}

// CatalogSince returns the objects that have changed after the catalog had a
// version, those that are gone with them.
func (db *DB) CatalogSince(ctx context.Context, version int64) ([]*catalog.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	entries, err := readEntries(db.read.QueryContext(ctx, selectEntries+" WHERE version > $1 ORDER BY version, kind, id", version))
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", db.fault(err))
	}
	return entries, nil
}

// CatalogEntry returns an object of the catalog; nil when there never was one.
func (db *DB) CatalogEntry(ctx context.Context, kind catalog.Kind, id string) (*catalog.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	entries, err := readEntries(db.read.QueryContext(ctx, selectEntries+" WHERE kind = $1 AND id = $2", string(kind), id))
	if err != nil {
		return nil, fmt.Errorf("read %s %q: %w", kind, id, db.fault(err))
	}
	if len(entries) == 0 {
		return nil, nil
	}
	return entries[0], nil
}

// ChangeCatalog changes an object of the catalog, or makes it: change is given what
// there is, nil for nothing, and returns what is to be, nil for no change. It may be
// called more than once, and nobody else changes the catalog meanwhile. The
// revision, the version and the times of what it returns are set here. A lease that
// has no end yet begins now. ChangeCatalog returns what is now.
func (db *DB) ChangeCatalog(ctx context.Context, kind catalog.Kind, id, by string,
	change func(is *catalog.Entry) (*catalog.Entry, error),
) (*catalog.Entry, error) {
	if err := checkText(field{"id", id}, field{"user", by}); err != nil {
		return nil, err
	}
	var now *catalog.Entry
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		if _, err := db.lockCatalog(ctx, tx); err != nil {
			return err
		}
		is, err := readEntries(tx.QueryContext(ctx, selectEntries+" WHERE kind = $1 AND id = $2", string(kind), id))
		if err != nil {
			return err
		}
		if now = nil; len(is) > 0 {
			now = is[0]
		}
		next, err := change(now)
		if err != nil || next == nil {
			return err
		}
		if err := db.saveEntries(ctx, tx, by, next); err != nil {
			return err
		}
		if next.Owner == catalog.ByLease && next.LeaseUntil.IsZero() {
			if err := db.setLease(ctx, tx, id, next.LeaseTTL); err != nil {
				return err
			}
		}
		saved, err := readEntries(tx.QueryContext(ctx, selectEntries+" WHERE kind = $1 AND id = $2", string(kind), id))
		if err != nil || len(saved) != 1 {
			return errors.Join(err, sql.ErrNoRows)
		}
		now = saved[0]
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("change %s %q: %w", kind, id, err)
	}
	return now, nil
}

// lockCatalog keeps other changes of the catalog out until the commit, and returns
// its version.
func (db *DB) lockCatalog(ctx context.Context, tx transaction) (version int64, err error) {
	err = tx.QueryRowContext(ctx, "SELECT version FROM catalog_version WHERE one = 1 "+db.text.lockRow).Scan(&version)
	return version, err
}

// Forgotten is how long a lease is over before its cluster is gone.
const Forgotten = 24 * time.Hour

// Removed is how long a lease is over before nothing is known of its cluster any more.
const Removed = 7 * 24 * time.Hour
