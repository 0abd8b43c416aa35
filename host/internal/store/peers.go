package store

import (
	"context"
	"fmt"
	"time"
)

// Peer is another host whose right to run is not over, and that takes jobs.
type Peer struct {
	ID       string
	Name     string
	Revision string   // of its catalog
	Commands []string // ids of those that it can run
}

// Peers returns the hosts beside one that take jobs, sorted by id.
func (db *DB) Peers(ctx context.Context, self string) ([]Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	peers, err := db.peers(ctx, self)
	if err != nil {
		return nil, fmt.Errorf("read which other hosts there are: %w", db.fault(err))
	}
	return peers, nil
}

func (db *DB) peers(ctx context.Context, self string) (peers []Peer, err error) {
	rows, err := db.read.QueryContext(ctx, `
		SELECT host.id, host.name, host.revision, c.command_id
		FROM host
		LEFT JOIN host_command c ON c.host_id = host.id
		WHERE host.id <> $1 AND `+liveUntil+db.text.clock+`
		ORDER BY host.id, c.command_id`, self)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var p Peer
		var command string
		if err := rows.Scan(&p.ID, &p.Name, &p.Revision, orZero(&command)); err != nil {
			return nil, err
		}
		if len(peers) == 0 || peers[len(peers)-1].ID != p.ID {
			peers = append(peers, p)
		}
		if command != "" {
			last := &peers[len(peers)-1]
			last.Commands = append(last.Commands, command)
		}
	}
	return peers, rows.Err()
}

// SetPlugins records which catalog a host has, and which plugins it can use: names
// to versions.
func (db *DB) SetPlugins(ctx context.Context, host, revision string, plugins map[string][]string) error {
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		_, err := tx.ExecContext(ctx, "UPDATE host SET revision = $2, plugins = $3 WHERE id = $1", host, revision, encode(plugins, len(plugins) == 0))
		return err
	})
	if err != nil {
		return fmt.Errorf("record the plugins of host %s: %w", host, err)
	}
	return nil
}

// Hosts returns all hosts of the store by their names, and what the clock of the
// database says.
func (db *DB) Hosts(ctx context.Context) (hosts []Host, clock time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if clock, err = db.Clock(ctx); err != nil {
		return nil, clock, err
	}
	if hosts, err = db.hosts(ctx); err != nil {
		return nil, clock, fmt.Errorf("read the hosts: %w", db.fault(err))
	}
	for i, h := range hosts {
		if h.LeaseUntil.Before(clock) && h.State != Stopped {
			hosts[i].State = Lost // also where nobody has looked yet
		}
	}
	return hosts, clock, nil
}

func (db *DB) hosts(ctx context.Context) (hosts []Host, err error) {
	rows, err := db.read.QueryContext(ctx, `
		SELECT id, name, address, version, slots, epoch, state, revision, plugins, started_at, lease_until, lost_at,
			(SELECT count(*) FROM job_lease l WHERE l.host_id = host.id)
		FROM host
		ORDER BY name, id`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var h Host
		err := rows.Scan(&h.ID, &h.Name, &h.Address, &h.Version, &h.Slots, &h.Epoch, (*string)(&h.State), &h.Revision, fromJSON(&h.Plugins),
			fromTime(&h.StartedAt), fromTime(&h.LeaseUntil), fromTime(&h.LostAt), &h.Running)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, h)
	}
	return hosts, rows.Err()
}

// forgetTime is how long a host is remembered that does not come back.
const forgetTime = 7 * 24 * time.Hour

// ForgetHosts removes hosts that have stopped, or were lost, long ago and have
// nothing left. It returns how many.
func (db *DB) ForgetHosts(ctx context.Context) (int64, error) {
	var n int64
	err := db.write(ctx, func(ctx context.Context, tx transaction) (err error) {
		n, err = affected(ctx, tx, `
			DELETE FROM host
			WHERE state IN ($1, $2) AND lease_until < `+db.text.until+`
				AND NOT EXISTS (SELECT 1 FROM job_lease l WHERE l.host_id = host.id)
				AND NOT EXISTS (SELECT 1 FROM cleanup c WHERE c.host_id = host.id)`,
			string(Stopped), string(Lost), -forgetTime.Microseconds())
		if err != nil || n == 0 {
			return err
		}
		for _, table := range []string{"host_command", "host_lacks_cluster"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE host_id NOT IN (SELECT id FROM host)"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("forget hosts: %w", err)
	}
	return n, nil
}
