package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
)

// selectEntries reads the columns that readEntries scans.
const selectEntries = `
	SELECT kind, id, managed_by, definition, status_override, source, gone, revision, version,
		lease_ttl, lease_until, lease_over, created_at, updated_at, updated_by
	FROM catalog_object`

// readEntries reads the rows of a query for objects, and closes them.
func readEntries(rows *sql.Rows, err error) (entries []*catalog.Entry, _ error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var (
			e          catalog.Entry
			id         string
			definition sql.RawBytes
			ttl        int64
		)
		err := rows.Scan((*string)(&e.Kind), &id, (*string)(&e.Owner), &definition, orZero((*string)(&e.Override)), &e.Source, &e.Gone,
			&e.Revision, &e.Version, orZero(&ttl), fromTime(&e.LeaseUntil), &e.LeaseOver,
			fromTime(&e.CreatedAt), fromTime(&e.UpdatedAt), &e.UpdatedBy)
		if err != nil {
			return nil, err
		}
		if err := e.ReadDefinition(definition); err != nil {
			return nil, corrupt{fmt.Errorf("%s %q: %w", e.Kind, id, err)}
		}
		e.LeaseTTL = time.Duration(ttl) * time.Microsecond
		entries = append(entries, &e)
	}
	return entries, rows.Err()
}

// entryRow is an object on its way to the database.
type entryRow struct {
	Kind       catalog.Kind   `json:"kind"`
	ID         string         `json:"id"`
	Owner      catalog.Owner  `json:"managed_by"`
	Definition string         `json:"definition"`
	Override   catalog.Status `json:"status_override,omitempty"`
	Source     string         `json:"source"`
	Gone       bool           `json:"gone"`
	Revision   int64          `json:"revision"`
	LeaseTTL   int64          `json:"lease_ttl,omitempty"`
	LeaseOver  bool           `json:"lease_over"`
}

// saveEntries keeps objects, with their history, as one change of the catalog. It
// counts their revisions up.
func (db *DB) saveEntries(ctx context.Context, tx transaction, by string, entries ...*catalog.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	rows := make([]entryRow, len(entries))
	for i, e := range entries {
		definition, err := e.Definition()
		if err != nil {
			return err
		}
		rows[i] = entryRow{
			Kind: e.Kind, ID: e.Object().ID, Owner: e.Owner, Definition: string(definition), Override: e.Override, Source: e.Source,
			Gone: e.Gone, Revision: e.Revision + 1, LeaseTTL: e.LeaseTTL.Microseconds(), LeaseOver: e.LeaseOver,
		}
	}
	text, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE catalog_version SET version = version + 1 WHERE one = 1"); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO catalog_object (kind, id, managed_by, definition, status_override, source, gone, revision, version,
			lease_ttl, lease_over, created_at, updated_at, updated_by)
		SELECT t.kind, t.id, t.managed_by, t.definition, t.status_override, t.source, t.gone, t.revision, v.version,
			t.lease_ttl, t.lease_over, $2, $2, $3
		FROM (`+db.text.entriesOf+`) AS t
		CROSS JOIN catalog_version v
		WHERE v.one = 1
		ON CONFLICT (kind, id) DO UPDATE
		SET managed_by = excluded.managed_by, definition = excluded.definition, status_override = excluded.status_override,
			source = excluded.source, gone = excluded.gone, revision = excluded.revision, version = excluded.version,
			lease_ttl = excluded.lease_ttl, lease_over = excluded.lease_over,
			lease_until = CASE WHEN excluded.lease_ttl IS NULL THEN NULL ELSE catalog_object.lease_until END,
			updated_at = excluded.updated_at, updated_by = excluded.updated_by`, string(text), now(), by)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO catalog_change (kind, id, revision, version, managed_by, definition, status_override, source, gone, lease_over, at, by)
		SELECT t.kind, t.id, t.revision, v.version, t.managed_by, t.definition, t.status_override, t.source, t.gone, t.lease_over, $2, $3
		FROM (`+db.text.entriesOf+`) AS t
		CROSS JOIN catalog_version v
		WHERE v.one = 1`, string(text), now(), by)
	return err
}

// The rows of entryRow in the JSON list $1.
const (
	postgresEntries = `SELECT * FROM json_to_recordset(CAST($1 AS json)) AS t (kind text, id text, managed_by text, definition text,
		status_override text, source text, gone boolean, revision bigint, lease_ttl bigint, lease_over boolean)`
	liteEntries = `SELECT value ->> 'kind' AS kind, value ->> 'id' AS id, value ->> 'managed_by' AS managed_by, value ->> 'definition' AS definition,
		value ->> 'status_override' AS status_override, value ->> 'source' AS source, value ->> 'gone' AS gone, value ->> 'revision' AS revision,
		value ->> 'lease_ttl' AS lease_ttl, value ->> 'lease_over' AS lease_over FROM json_each($1)`
)
