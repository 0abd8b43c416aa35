package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

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
