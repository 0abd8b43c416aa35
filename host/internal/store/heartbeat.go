package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Heartbeat lets a host run for ttl more, by the clock of the database, and
// returns what that clock says. A host that was lost is what it says again, with
// the leases that were left to it. It returns ErrFenced when the epoch is over.
func (db *DB) Heartbeat(ctx context.Context, id string, epoch int64, ttl time.Duration, state HostState) (time.Time, error) {
	var clock time.Time
	err := db.aside(ctx, func(ctx context.Context, tx transaction) error {
		err := tx.QueryRowContext(ctx, `
			UPDATE host
			SET lease_until = `+db.text.until+`, state = $4, lost_at = NULL
			WHERE id = $1 AND epoch = $2
			RETURNING `+db.text.clock, id, epoch, ttl.Microseconds(), string(state)).Scan(fromTime(&clock))
		if errors.Is(err, sql.ErrNoRows) {
			return ErrFenced
		}
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("renew the lease of host %s: %w", id, err)
	}
	return clock, nil
}

// StopHost records that a host has ended in good order. Its right to run ends with
// that, unless jobs go on in its plugins until its next start: those have until the
// right runs out.
func (db *DB) StopHost(ctx context.Context, id string, epoch int64) error {
	err := db.aside(ctx, func(ctx context.Context, tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE host
			SET state = 'stopped', lease_until = CASE
				WHEN EXISTS (SELECT 1 FROM job_lease WHERE host_id = $1) THEN lease_until
				ELSE `+db.text.clock+` END
			WHERE id = $1 AND epoch = $2`, id, epoch)
		return err
	})
	if err != nil {
		return fmt.Errorf("record the stop of host %s: %w", id, err)
	}
	return nil
}

// Clock returns what the clock of the database says.
func (db *DB) Clock(ctx context.Context) (clock time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := db.read.QueryRowContext(ctx, "SELECT "+db.text.clock).Scan(fromTime(&clock)); err != nil {
		return time.Time{}, fmt.Errorf("read the clock of the store: %w", db.fault(err))
	}
	return clock, nil
}
