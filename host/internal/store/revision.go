package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"

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
	var packed []byte
	err := db.read.QueryRowContext(ctx, `SELECT content FROM catalog_revision WHERE revision = $1`, revision).Scan(&packed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errs.Errorf(errs.NotFound, "the catalog revision %.20q is not kept", revision)
	}
	if err != nil {
		return nil, fmt.Errorf("read catalog revision %.20s: %w", revision, db.fault(err))
	}
	content, err := unpack(packed)
	if err != nil {
		return nil, fmt.Errorf("unpack catalog revision %.20s: %w", revision, err)
	}
	return content, nil
}

// SaveRevision keeps the content of a catalog revision, unless it is kept
// already.
func (db *DB) SaveRevision(ctx context.Context, revision string, content []byte) error {
	if err := checkText(field{"revision", revision}); err != nil {
		return err
	}
	if content == nil {
		content = []byte{}
	}
	// It may be large, and mostly another host has written it.
	known, err := db.knowsRevision(ctx, revision)
	if err == nil && !known {
		err = db.saveRevision(ctx, revision, content)
	}
	if err != nil {
		return fmt.Errorf("save catalog revision %.20s: %w", revision, err)
	}
	return nil
}

func (db *DB) knowsRevision(ctx context.Context, revision string) (known bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = db.read.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM catalog_revision WHERE revision = $1)", revision).Scan(&known)
	return known, db.fault(err)
}

func (db *DB) saveRevision(ctx context.Context, revision string, content []byte) error {
	packed, err := pack(content)
	if err != nil {
		return err
	}
	return db.write(ctx, func(ctx context.Context, tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO catalog_revision (revision, content, saved_at)
			VALUES ($1, $2, $3)
			ON CONFLICT DO NOTHING`, revision, packed, now())
		return err
	})
}

// pack makes content small: there is one for each change of the catalog that a job
// was chosen after.
func pack(content []byte) ([]byte, error) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(content)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("pack %d bytes: %w", len(content), err)
	}
	return packed.Bytes(), nil
}

// unpack returns what was packed. What earlier versions have saved was not.
func unpack(packed []byte) ([]byte, error) {
	if !bytes.HasPrefix(packed, []byte{0x1f, 0x8b}) {
		return packed, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
