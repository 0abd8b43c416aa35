package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// HostState says what a host is doing.
type HostState string

// The states of hosts.
const (
	Live     HostState = "live"
	Draining HostState = "draining" // claims no more
	Stopped  HostState = "stopped"  // has ended in good order
	Lost     HostState = "lost"     // its lease ran out
)

// liveUntil and the clock of the database behind it are true of a host that takes
// jobs: it is live, and its right to run is not over.
const liveUntil = "host.state = 'live' AND host.lease_until > "

// Host is a host of the store.
type Host struct {
	ID         string
	Name       string // of its machine
	Address    string // of its API, host:port
	Version    string
	Slots      int
	Epoch      int64
	State      HostState
	Revision   string              // of its catalog
	Plugins    map[string][]string // names to versions, of those that can be used
	StartedAt  time.Time
	LeaseUntil time.Time // by the clock of the database, as the other times
	LostAt     time.Time
	Running    int // leases
}

// RegisterHost records a start of a host, which may run jobs for ttl from now on,
// and returns its epoch, one more than that of its start before. From then on
// earlier epochs claim nothing.
func (db *DB) RegisterHost(ctx context.Context, h Host, ttl time.Duration) (int64, error) {
	if err := checkText(field{"host id", h.ID}, field{"host name", h.Name}, field{"address", h.Address}, field{"version", h.Version}); err != nil {
		return 0, err
	}
	var epoch int64
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		return tx.QueryRowContext(ctx, `
			INSERT INTO host (id, name, epoch, lease_until, address, version, state, slots, started_at)
			VALUES ($1, $2, 1, `+db.text.until+`, $4, $5, 'live', $6, `+db.text.clock+`)
			ON CONFLICT (id) DO UPDATE
			SET name = excluded.name, epoch = host.epoch + 1, lease_until = excluded.lease_until, address = excluded.address,
				version = excluded.version, state = excluded.state, slots = excluded.slots, started_at = excluded.started_at,
				lost_at = NULL
			RETURNING epoch`, h.ID, h.Name, ttl.Microseconds(), h.Address, h.Version, h.Slots).Scan(&epoch)
	})
	if err != nil {
		return 0, fmt.Errorf("register host %s: %w", h.ID, err)
	}
	return epoch, nil
}

// SetCommands records which commands a host can run.
func (db *DB) SetCommands(ctx context.Context, host string, commands []string) error {
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		ids := *encodeList(commands)
		_, err := tx.ExecContext(ctx, "DELETE FROM host_command WHERE host_id = $2 AND command_id NOT IN ("+db.text.textsOf+")", ids, host)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO host_command (host_id, command_id)
			SELECT $2, t.value FROM (`+db.text.textsOf+`) AS t WHERE TRUE
			ON CONFLICT DO NOTHING`, ids, host)
		return err
	})
	if err != nil {
		return fmt.Errorf("record what host %s can run: %w", host, err)
	}
	return nil
}

// SetLackedClusters records which clusters a host cannot use although jobs on them may
// wait: on SQLite, where there is one host, these have no host at all.
func (db *DB) SetLackedClusters(ctx context.Context, host string, clusters []string) error {
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM host_lacks_cluster WHERE host_id = $1", host); err != nil {
			return err
		}
		if len(clusters) == 0 {
			return nil
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO host_lacks_cluster (host_id, cluster_id)
			SELECT $2, t.value FROM (`+db.text.textsOf+`) AS t WHERE TRUE
			ON CONFLICT DO NOTHING`, *encodeList(clusters), host)
		return err
	})
	if err != nil {
		return fmt.Errorf("record which clusters host %s lacks: %w", host, err)
	}
	return nil
}

// Caps say how many jobs may run at once, over all hosts.
type Caps struct {
	Commands map[string]int // by id
	Clusters map[string]int // by id
	User     int            // of each user; 0: any number
}

// SetCaps puts caps into force in place of all others.
func (db *DB) SetCaps(ctx context.Context, c Caps) error {
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		// Another host may be at it, with other caps.
		if err := lock(ctx, tx, db.text.lockCaps); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM cap"); err != nil {
			return err
		}
		set := func(kind, id string, most int) error {
			_, err := tx.ExecContext(ctx, `
				INSERT INTO cap (kind, id, max_running)
				VALUES ($1, $2, $3)
				ON CONFLICT (kind, id) DO UPDATE SET max_running = excluded.max_running`, kind, id, most)
			return err
		}
		for id, most := range c.Commands {
			if err := set("command", id, most); err != nil {
				return err
			}
		}
		for id, most := range c.Clusters {
			if err := set("cluster", id, most); err != nil {
				return err
			}
		}
		if c.User > 0 {
			return set("user", "", c.User)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("put caps into force: %w", err)
	}
	return nil
}

// MustUseLanes reports whether a host has to claim by lanes: there are caps, or
// jobs wait that it cannot run.
func (db *DB) MustUseLanes(ctx context.Context, host string) (lanes bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = db.read.QueryRowContext(ctx, `
		WITH RECURSIVE waiting (command_id) AS (
			SELECT (SELECT command_id FROM job_ready ORDER BY command_id LIMIT 1)
			UNION ALL
			SELECT (SELECT r.command_id FROM job_ready r WHERE r.command_id > w.command_id ORDER BY r.command_id LIMIT 1)
			FROM waiting w
			WHERE w.command_id IS NOT NULL
		)
		SELECT EXISTS (SELECT 1 FROM cap)
			OR EXISTS (SELECT 1 FROM host_lacks_cluster WHERE host_id = $1)
			OR EXISTS (
				SELECT 1
				FROM waiting w
				WHERE w.command_id IS NOT NULL
					AND NOT EXISTS (SELECT 1 FROM host_command h WHERE h.host_id = $1 AND h.command_id = w.command_id))`, host).Scan(&lanes)
	if err != nil {
		return false, fmt.Errorf("read what holds jobs back: %w", db.fault(err))
	}
	return lanes, nil
}

// Leases returns the leases of a host.
func (db *DB) Leases(ctx context.Context, host string, epoch int64) ([]job.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	leases, err := db.leases(ctx, host, epoch)
	if err != nil {
		return nil, fmt.Errorf("read the leases of host %s: %w", host, db.fault(err))
	}
	return leases, nil
}

func (db *DB) leases(ctx context.Context, host string, epoch int64) ([]job.Lease, error) {
	rows, err := db.read.QueryContext(ctx, `
		SELECT job_id, attempt
		FROM job_lease
		WHERE host_id = $1 AND epoch = $2
		ORDER BY job_id`, host, epoch)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var leases []job.Lease
	for rows.Next() {
		l := job.Lease{HostID: host, Epoch: epoch}
		if err := rows.Scan((*string)(&l.JobID), &l.Attempt); err != nil {
			return nil, err
		}
		leases = append(leases, l)
	}
	return leases, rows.Err()
}

// Adopt gives a host the leases of its earlier epochs: what it ran before it was
// started again. Claims of those epochs that are still under way are waited for.
// After a lost answer it may be called again.
func (db *DB) Adopt(ctx context.Context, host string, epoch int64) error {
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		if err := lock(ctx, tx, db.text.lockHost, host); err != nil {
			return err
		}
		if err := current(ctx, tx, host, epoch, ""); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			UPDATE job_lease
			SET epoch = $2
			WHERE host_id = $1 AND epoch < $2`, host, epoch)
		return err
	})
	if err != nil {
		return fmt.Errorf("adopt the jobs of host %s: %w", host, err)
	}
	return nil
}

// Leased returns the jobs of leases that a host still has, with the last
// checkpoints of the jobs.
func (db *DB) Leased(ctx context.Context, host string, epoch int64, ids []job.ID) ([]job.Claimed, error) {
	for _, id := range ids {
		if err := checkID(id); err != nil {
			return nil, err
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	leased, err := db.leased(ctx, ids, job.Lease{HostID: host, Epoch: epoch})
	if err == nil {
		err = db.addCheckpoints(ctx, db.read, leased)
	}
	if err != nil {
		return nil, fmt.Errorf("read the jobs that host %s has leases of: %w", host, db.fault(err))
	}
	return leased, nil
}

// lock runs a statement of the dialect that keeps others out until the commit; "" is
// none, where that is needless.
func lock(ctx context.Context, tx transaction, statement string, args ...any) error {
	if statement == "" {
		return nil
	}
	_, err := tx.ExecContext(ctx, statement, args...)
	return err
}

// current returns ErrFenced when the epoch of a host is over. Keep is
// dialect.keepRow, or nothing.
func current(ctx context.Context, tx transaction, host string, epoch int64, keep string) error {
	var now int64
	err := tx.QueryRowContext(ctx, "SELECT epoch FROM host WHERE id = $1 "+keep, host).Scan(&now)
	if errors.Is(err, sql.ErrNoRows) || err == nil && now != epoch {
		return ErrFenced
	}
	return err
}

func (db *DB) leased(ctx context.Context, ids []job.ID, of job.Lease) ([]job.Claimed, error) {
	rows, err := db.read.QueryContext(ctx, "SELECT "+jobRequest+", "+jobState+`
		FROM job j`+jobTables+`
		WHERE j.id IN (`+db.text.idsOf+`) AND l.host_id = $2 AND l.epoch = $3
		ORDER BY j.created_at, j.id`, *toJSON(ids), of.HostID, of.Epoch)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var claimed []job.Claimed
	for rows.Next() {
		var (
			j job.Job
			s state
		)
		if err := rows.Scan(append(requestFields(&j), s.fields()...)...); err != nil {
			return nil, err
		}
		if err := s.apply(&j); err != nil {
			return nil, err
		}
		lease := of
		lease.JobID, lease.Attempt = j.ID, j.Attempt
		claimed = append(claimed, job.Claimed{Job: &j, Lease: lease, Resume: s.lease.resume, Retries: j.Retries})
	}
	return claimed, rows.Err()
}
