package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
)

// Declaration is all that the file of a host declares.
type Declaration struct {
	Host    string
	Epoch   int64
	Source  string           // the file, as host:path
	Entries []*catalog.Entry // as others may know them
}

// Declared says what a declaration has changed.
type Declared struct {
	Taken []*catalog.Entry // objects of the API, or of a lease, that are the file's now; as they were
}

// object names an object.
type object struct {
	kind catalog.Kind
	id   string
}

func objectOf(e *catalog.Entry) object { return object{e.Kind, e.Object().ID} }

// Declare records what the file of a host declares. What is new there, or has changed
// since the host recorded it last, comes into force; what is unchanged does not
// displace what another file has declared since. What no live host's file declares
// any more is gone. It returns ErrFenced, and has changed nothing, when the epoch of
// the host is over.
func (db *DB) Declare(ctx context.Context, d Declaration) (done Declared, err error) {
	if err := checkText(field{"source", d.Source}); err != nil {
		return done, err
	}
	err = db.write(ctx, func(ctx context.Context, tx transaction) (err error) {
		done, err = db.declare(ctx, tx, d)
		return err
	})
	if err != nil {
		return done, fmt.Errorf("record what %s declares: %w", d.Source, err)
	}
	return done, nil
}

func (db *DB) declare(ctx context.Context, tx transaction, d Declaration) (done Declared, err error) {
	if _, err := db.lockCatalog(ctx, tx); err != nil {
		return done, err
	}
	if err := current(ctx, tx, d.Host, d.Epoch, ""); err != nil {
		return done, err
	}
	before, err := declarations(ctx, tx, d.Host)
	if err != nil {
		return done, err
	}
	there, err := db.entriesByObject(ctx, tx)
	if err != nil {
		return done, err
	}
	var (
		changed []declarationRow
		saved   []*catalog.Entry
	)
	for _, e := range d.Entries {
		o := objectOf(e)
		digest, err := digestOf(e)
		if err != nil {
			return done, err
		}
		same := before[o] == digest
		delete(before, o)
		if !same {
			changed = append(changed, declarationRow{o.kind, o.id, digest})
		}
		is := there[o]
		if is != nil && is.Owner == catalog.ByFile && !is.Gone {
			if same {
				continue
			}
			old, err := digestOf(is)
			if err != nil {
				return done, err
			}
			if old == digest {
				continue
			}
		}
		next := *e
		next.Owner, next.Source = catalog.ByFile, d.Source
		if is != nil {
			next.Revision, next.Override = is.Revision, is.Override
			if is.Owner != catalog.ByFile && !is.Gone {
				done.Taken = append(done.Taken, is)
			}
		}
		saved = append(saved, &next)
	}
	if err := db.saveDeclarations(ctx, tx, d.Host, changed, slices.Collect(maps.Keys(before))); err != nil {
		return done, err
	}
	if err := db.saveEntries(ctx, tx, d.Source, saved...); err != nil {
		return done, err
	}
	for o := range there {
		if _, dropped := before[o]; !dropped {
			delete(there, o)
		}
	}
	return done, db.removeOrphans(ctx, tx, d.Source, there)
}

// LapseDeclarations forgets, until they declare it again, what hosts have declared
// that do not live any more. What nobody else declares is gone.
func (db *DB) LapseDeclarations(ctx context.Context) error {
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		if _, err := db.lockCatalog(ctx, tx); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			UPDATE catalog_declaration
			SET lapsed = TRUE
			WHERE NOT lapsed AND host_id NOT IN (SELECT host.id FROM host WHERE `+declares+db.text.clock+")")
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM catalog_declaration WHERE host_id NOT IN (SELECT id FROM host)"); err != nil {
			return err
		}
		there, err := db.entriesByObject(ctx, tx)
		if err != nil {
			return err
		}
		return db.removeOrphans(ctx, tx, hostsAway, there)
	})
	if err != nil {
		return fmt.Errorf("forget what hosts have declared that do not live: %w", err)
	}
	return nil
}

// hostsAway stands where a user stands, for changes that nobody made.
const hostsAway = "no live host declares it"

// removeOrphans says of those objects of files that no live host's file declares that
// they are gone.
func (db *DB) removeOrphans(ctx context.Context, tx transaction, by string, there map[object]*catalog.Entry) error {
	if len(there) == 0 {
		return nil
	}
	rows, err := tx.QueryContext(ctx, `
		SELECT d.kind, d.id
		FROM host
		JOIN catalog_declaration d ON d.host_id = host.id AND NOT d.lapsed
		WHERE `+declares+db.text.clock)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var o object
		if err := rows.Scan((*string)(&o.kind), &o.id); err != nil {
			return err
		}
		delete(there, o)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	var orphans []*catalog.Entry
	for _, e := range there {
		if e.Owner == catalog.ByFile && !e.Gone {
			e.Gone = true
			orphans = append(orphans, e)
		}
	}
	return db.saveEntries(ctx, tx, by, orphans...)
}

// entriesByObject reads all objects.
func (db *DB) entriesByObject(ctx context.Context, tx transaction) (map[object]*catalog.Entry, error) {
	entries, err := readEntries(tx.QueryContext(ctx, selectEntries))
	if err != nil {
		return nil, err
	}
	there := make(map[object]*catalog.Entry, len(entries))
	for _, e := range entries {
		there[objectOf(e)] = e
	}
	return there, nil
}

// declarationRow is a declaration on its way to the database.
type declarationRow struct {
	Kind   catalog.Kind `json:"kind"`
	ID     string       `json:"id"`
	Digest string       `json:"digest"`
}

// The rows of declarationRow in the JSON list $1.
const (
	postgresDeclarations = "SELECT * FROM json_to_recordset(CAST($1 AS json)) AS t (kind text, id text, digest text)"
	liteDeclarations     = "SELECT value ->> 'kind' AS kind, value ->> 'id' AS id, value ->> 'digest' AS digest FROM json_each($1)"
)

// saveDeclarations records which objects a host declares now, and which no more.
func (db *DB) saveDeclarations(ctx context.Context, tx transaction, host string, changed []declarationRow, dropped []object) error {
	if len(changed) > 0 {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO catalog_declaration (host_id, kind, id, digest)
			SELECT $2, t.kind, t.id, t.digest
			FROM (`+db.text.declarationsOf+`) AS t
			WHERE TRUE
			ON CONFLICT (host_id, kind, id) DO UPDATE SET digest = excluded.digest`, encode(changed, false), host)
		if err != nil {
			return err
		}
	}
	if len(dropped) > 0 {
		var rows []declarationRow
		for _, o := range dropped {
			rows = append(rows, declarationRow{Kind: o.kind, ID: o.id})
		}
		_, err := tx.ExecContext(ctx, `
			DELETE FROM catalog_declaration
			WHERE host_id = $2 AND (kind, id) IN (SELECT t.kind, t.id FROM (`+db.text.declarationsOf+") AS t)", encode(rows, false), host)
		if err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, "UPDATE catalog_declaration SET lapsed = FALSE WHERE host_id = $1 AND lapsed", host)
	return err
}

// digestOf names the definition of an object.
func digestOf(e *catalog.Entry) (string, error) {
	text, err := e.Definition()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

// declarations returns the digests of what a host has declared. One that has lapsed
// counts as it was.
func declarations(ctx context.Context, tx transaction, host string) (map[object]string, error) {
	rows, err := tx.QueryContext(ctx, "SELECT kind, id, digest FROM catalog_declaration WHERE host_id = $1", host)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	found := map[object]string{}
	for rows.Next() {
		var o object
		var digest string
		if err := rows.Scan((*string)(&o.kind), &o.id, &digest); err != nil {
			return nil, err
		}
		found[o] = digest
	}
	return found, rows.Err()
}
