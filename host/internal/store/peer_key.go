package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// peerKey names the key that hosts sign what they ask each other with.
const peerKey = "peers"

// peerKeyBytes is its length.
const peerKeyBytes = 32

// PeerKey returns the key that all hosts of the store share. The first host that
// asks makes it.
func (db *DB) PeerKey(ctx context.Context) ([]byte, error) {
	fresh := make([]byte, peerKeyBytes)
	_, _ = rand.Read(fresh) // never fails
	var key []byte
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO host_key (name, key)
			VALUES ($1, $2)
			ON CONFLICT DO NOTHING`, peerKey, fresh)
		if err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "SELECT key FROM host_key WHERE name = $1", peerKey).Scan(&key)
	})
	if err == nil && len(key) != peerKeyBytes {
		err = fmt.Errorf("it has %d bytes and not %d; delete its row from host_key and start all hosts again", len(key), peerKeyBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key that hosts share: %w", err)
	}
	return key, nil
}

// HostAddress returns the name of a host and the address of its API; errs.NotFound
// when there is no such host any more.
func (db *DB) HostAddress(ctx context.Context, id string) (name, address string, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = db.read.QueryRowContext(ctx, "SELECT name, address FROM host WHERE id = $1", id).Scan(&name, &address)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", "", errs.Errorf(errs.NotFound, "there is no host %s any more", id)
	case err != nil:
		return "", "", fmt.Errorf("read the address of host %s: %w", id, db.fault(err))
	}
	return name, address, nil
}
