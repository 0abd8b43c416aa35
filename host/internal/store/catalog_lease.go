package store

import (
	"context"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
)

// leaseDue and the clock of the database behind it are true of a cluster whose lease
// is over, while nobody has said so.
const leaseDue = "lease_until IS NOT NULL AND NOT gone AND NOT lease_over AND lease_until <= "

// leaseForgotten and a time are true of a cluster whose lease was over at that time,
// which everybody knows.
const leaseForgotten = "lease_until IS NOT NULL AND NOT gone AND lease_over AND lease_until <= "

// leaseRemoved and a time are true of a cluster that is gone since its lease was over
// at that time.
const leaseRemoved = "lease_until IS NOT NULL AND gone AND status_override IS NULL AND lease_until <= "

// setLease has the lease of a cluster begin now.
func (db *DB) setLease(ctx context.Context, tx transaction, id string, ttl time.Duration) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE catalog_object
		SET lease_ttl = $3, lease_until = `+db.text.until+`
		WHERE kind = $1 AND id = $2`, string(catalog.ClusterKind), id, ttl.Microseconds())
	return err
}

// RenewLease has the lease of a cluster begin anew, if it is not over and the cluster
// is declared as it was. It reports whether that was so. The catalog does not change
// by it.
func (db *DB) RenewLease(ctx context.Context, e *catalog.Entry) (renewed bool, err error) {
	definition, err := e.Definition()
	if err != nil {
		return false, err
	}
	var n int64
	err = db.write(ctx, func(ctx context.Context, tx transaction) (err error) {
		n, err = affected(ctx, tx, `
			UPDATE catalog_object
			SET lease_ttl = $3, lease_until = `+db.text.until+`
			WHERE kind = $1 AND id = $2 AND managed_by = 'lease' AND definition = $4 AND NOT gone AND NOT lease_over
				AND lease_until > `+db.text.clock,
			string(e.Kind), e.Object().ID, e.LeaseTTL.Microseconds(), string(definition))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("renew the lease of cluster %q: %w", e.Object().ID, err)
	}
	return n > 0, nil
}

// EndLeases says of leases that are over that they are, and removes clusters whose
// leases have been over for long.
func (db *DB) EndLeases(ctx context.Context) error {
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		if _, err := db.lockCatalog(ctx, tx); err != nil {
			return err
		}
		over, err := readEntries(tx.QueryContext(ctx, selectEntries+" WHERE "+leaseDue+db.text.clock))
		if err != nil {
			return err
		}
		for _, e := range over {
			e.LeaseOver = true
		}
		if err := db.saveEntries(ctx, tx, leaseItself, over...); err != nil {
			return err
		}
		gone, err := readEntries(tx.QueryContext(ctx, selectEntries+" WHERE kind = $1 AND managed_by = $2 AND "+leaseForgotten+db.text.until,
			string(catalog.ClusterKind), string(catalog.ByLease), -Forgotten.Microseconds()))
		if err != nil {
			return err
		}
		for _, e := range gone {
			e.Gone = true
		}
		return db.saveEntries(ctx, tx, leaseItself, gone...)
	})
	if err != nil {
		return fmt.Errorf("end leases of clusters: %w", err)
	}
	return nil
}

// ForgetClusters removes clusters that declared themselves, and their histories, once
// their leases have been over for so long that nobody waits for them. One that a user
// has given a status stays: a deleted cluster must not come back by itself.
// ForgetClusters returns how many it has removed.
func (db *DB) ForgetClusters(ctx context.Context) (n int64, err error) {
	err = db.write(ctx, func(ctx context.Context, tx transaction) error {
		if _, err := db.lockCatalog(ctx, tx); err != nil {
			return err
		}
		// A history that stayed would have the revisions of one that comes back.
		if _, err := tx.ExecContext(ctx, `
			DELETE FROM catalog_change
			WHERE kind = $1 AND id IN (SELECT id FROM catalog_object WHERE kind = $1 AND managed_by = $2 AND `+leaseRemoved+db.text.until+")",
			string(catalog.ClusterKind), string(catalog.ByLease), -Removed.Microseconds()); err != nil {
			return err
		}
		n, err = affected(ctx, tx, "DELETE FROM catalog_object WHERE kind = $1 AND managed_by = $2 AND "+leaseRemoved+db.text.until,
			string(catalog.ClusterKind), string(catalog.ByLease), -Removed.Microseconds())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("forget clusters whose leases are over: %w", err)
	}
	return n, nil
}

// leaseItself stands where a user stands, for changes that nobody made.
const leaseItself = "the end of its lease"
