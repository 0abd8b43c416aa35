package store

import (
	"context"
	"database/sql"
	"fmt"
)

// Caps say how many jobs may run at once, over all hosts.
type Caps struct {
	Commands map[string]int // by id
	Clusters map[string]int // by id
	User     int            // of each user; 0: any number
}

// capped names what a cap bounds.
type capped struct{ kind, id string }

// rows returns the caps as they stand in the table.
func (c Caps) rows() map[capped]int {
	rows := map[capped]int{}
	for id, most := range c.Commands {
		rows[capped{"command", id}] = most
	}
	for id, most := range c.Clusters {
		rows[capped{"cluster", id}] = most
	}
	if c.User > 0 {
		rows[capped{"user", ""}] = c.User
	}
	return rows
}

// readCaps reads the rows of a query for caps.
func readCaps(rows *sql.Rows, err error) (map[capped]int, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	caps := map[capped]int{}
	for rows.Next() {
		var of capped
		var most int
		if err := rows.Scan(&of.kind, &of.id, &most); err != nil {
			return nil, err
		}
		caps[of] = most
	}
	return caps, rows.Err()
}

// SetCaps puts caps into force in place of all others. Only what differs is written:
// of many clusters that come by themselves, each changes them.
func (db *DB) SetCaps(ctx context.Context, c Caps) error {
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		// Another host may be at it, with other caps.
		if err := lock(ctx, tx, db.text.lockCaps); err != nil {
			return err
		}
		is, err := readCaps(tx.QueryContext(ctx, "SELECT kind, id, max_running FROM cap"))
		if err != nil {
			return err
		}
		want := c.rows()
		for of := range is {
			if _, wanted := want[of]; wanted {
				continue
			}
			if _, err := tx.ExecContext(ctx, "DELETE FROM cap WHERE kind = $1 AND id = $2", of.kind, of.id); err != nil {
				return err
			}
		}
		for of, most := range want {
			if was, known := is[of]; known && was == most {
				continue
			}
			_, err := tx.ExecContext(ctx, `
				INSERT INTO cap (kind, id, max_running)
				VALUES ($1, $2, $3)
				ON CONFLICT (kind, id) DO UPDATE SET max_running = excluded.max_running`, of.kind, of.id, most)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("put caps into force: %w", err)
	}
	return nil
}
