package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// A revision that is in force has a stamp that is not older than stampTime, where
// ForgetRevisions is called as often; staleAfter allows for calls that come late, and for
// clocks that differ.
const (
	stampTime  = time.Hour
	staleAfter = 6 * stampTime
)

// SaveRevision keeps the content of a catalog revision that comes into force, unless it
// is kept already.
func (db *DB) SaveRevision(ctx context.Context, revision string, content []byte) error {
	if err := checkText(field{"revision", revision}); err != nil {
		return err
	}
	if content == nil {
		content = []byte{}
	}
	// It may be large, and mostly another host has written it.
	stamp, err := db.revisionStamp(ctx, revision)
	switch {
	case err != nil:
	case stamp.IsZero():
		err = db.write(ctx, func(ctx context.Context, tx transaction) error {
			_, err := tx.ExecContext(ctx, `
				INSERT INTO catalog_revision (revision, content, saved_at)
				VALUES ($1, $2, $3)
				ON CONFLICT DO NOTHING`, revision, content, now())
			return err
		})
	case now().Sub(stamp) > stampTime:
		err = db.write(ctx, func(ctx context.Context, tx transaction) error { return stampRevision(ctx, tx, revision) })
	}
	if err != nil {
		return fmt.Errorf("save catalog revision %.20s: %w", revision, err)
	}
	return nil
}

// revisionStamp returns when a revision is known to have been in force last; zero when
// it is not kept.
func (db *DB) revisionStamp(ctx context.Context, revision string) (stamp time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = db.read.QueryRowContext(ctx, "SELECT saved_at FROM catalog_revision WHERE revision = $1", revision).Scan(fromTime(&stamp))
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return stamp, db.fault(err)
}

// stampRevision notes that a revision is in force.
func stampRevision(ctx context.Context, tx transaction, revision string) error {
	_, err := tx.ExecContext(ctx, "UPDATE catalog_revision SET saved_at = $2 WHERE revision = $1 AND saved_at < $3",
		revision, now(), now().Add(-stampTime))
	return err
}

// ForgetRevisions notes that a revision of the catalog is in force on a host, and forgets
// those that no job has been chosen from which there still is, and no host has in force.
// It returns how many.
func (db *DB) ForgetRevisions(ctx context.Context, inForce string) (n int64, err error) {
	err = db.write(ctx, func(ctx context.Context, tx transaction) error {
		if err := stampRevision(ctx, tx, inForce); err != nil {
			return err
		}
		needed := now()
		var oldest job.ID
		switch err := tx.QueryRowContext(ctx, "SELECT id FROM job ORDER BY id LIMIT 1").Scan((*string)(&oldest)); {
		case err == nil:
			needed = oldest.Time() // their order is that of their creation
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		n, err = affected(ctx, tx, `
			DELETE FROM catalog_revision
			WHERE saved_at < $1 AND revision <> $2 AND revision NOT IN (SELECT host.revision FROM host)`,
			stamp(needed.Add(-staleAfter)), inForce)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("forget old revisions of the catalog: %w", err)
	}
	return n, nil
}

// Revision returns the content of a catalog revision as it was saved;
// errs.NotFound when it is not kept.
func (db *DB) Revision(ctx context.Context, revision string) ([]byte, error) {
	if err := checkText(field{"revision", revision}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var content []byte
	err := db.read.QueryRowContext(ctx, `SELECT content FROM catalog_revision WHERE revision = $1`, revision).Scan(&content)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errs.Errorf(errs.NotFound, "the catalog revision %.20q is not kept", revision)
	}
	if err != nil {
		return nil, fmt.Errorf("read catalog revision %.20s: %w", revision, db.fault(err))
	}
	return content, nil
}
