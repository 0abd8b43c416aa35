package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// lane is the jobs of one user that wait for one command and one cluster.
type lane struct{ command, cluster, user string }

// lanes finds from which lanes a host may take jobs. It steps from each to the
// next, so that it never reads its way through what the host may not have.
type lanes struct {
	tx    transaction
	host  string
	rooms map[[2]string]int // by kind and id, as they are read
}

func newLanes(tx transaction, host string) *lanes {
	return &lanes{tx: tx, host: host, rooms: map[[2]string]int{}}
}

// open returns the lanes that the host can run jobs of, and that no cap closes.
func (l *lanes) open() (open []lane, err error) {
	for command := ""; ; {
		err := l.tx.QueryRowContext(context.Background(), `
			SELECT command_id
			FROM job_ready
			WHERE command_id > $1
			ORDER BY command_id
			LIMIT 1`, command).Scan(&command)
		if errors.Is(err, sql.ErrNoRows) {
			return open, nil
		}
		if err != nil {
			return nil, err
		}
		var can bool
		err = l.tx.QueryRowContext(context.Background(),
			"SELECT EXISTS (SELECT 1 FROM host_command WHERE host_id = $1 AND command_id = $2)", l.host, command).Scan(&can)
		if err != nil {
			return nil, err
		}
		if room, err := l.capped("command", command, command); err != nil {
			return nil, err
		} else if !can || room <= 0 {
			continue
		}
		of, err := l.openOf(command)
		if err != nil {
			return nil, err
		}
		open = append(open, of...)
	}
}

// openOf returns the open lanes of a command.
func (l *lanes) openOf(command string) (open []lane, err error) {
	for at := (lane{command: command}); ; {
		err := l.tx.QueryRowContext(context.Background(), `
			SELECT cluster_id, username
			FROM job_ready
			WHERE command_id = $1 AND (cluster_id, username) > ($2, $3)
			ORDER BY cluster_id, username
			LIMIT 1`, at.command, at.cluster, at.user).Scan(&at.cluster, &at.user)
		if errors.Is(err, sql.ErrNoRows) {
			return open, nil
		}
		if err != nil {
			return nil, err
		}
		if has, err := l.room(at); err != nil {
			return nil, err
		} else if has {
			open = append(open, at)
		}
	}
}

// room reports whether caps let one more job of a lane run.
func (l *lanes) room(of lane) (bool, error) {
	command, err := l.capped("command", of.command, of.command)
	if err != nil || command <= 0 {
		return false, err
	}
	cluster, err := l.capped("cluster", of.cluster, of.cluster)
	if err != nil || cluster <= 0 {
		return false, err
	}
	user, err := l.capped("user", "", of.user)
	return user > 0, err
}

// counts are the queries that count the leases of each kind.
var counts = map[string]string{
	"command": "SELECT count(*) FROM job_lease WHERE command_id = $1",
	"cluster": "SELECT count(*) FROM job_lease WHERE cluster_id = $1",
	"user":    "SELECT count(*) FROM job_lease WHERE username = $1",
}

// capped returns how many more jobs of one kind and id a cap lets run.
func (l *lanes) capped(kind, capID, id string) (int, error) {
	key := [2]string{kind, id}
	if room, known := l.rooms[key]; known {
		return room, nil
	}
	var most, running int
	err := l.tx.QueryRowContext(context.Background(),
		"SELECT max_running FROM cap WHERE kind = $1 AND id = $2", kind, capID).Scan(&most)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		l.rooms[key] = math.MaxInt
		return math.MaxInt, nil
	case err != nil:
		return 0, err
	}
	if err := l.tx.QueryRowContext(context.Background(), counts[kind], id).Scan(&running); err != nil {
		return 0, err
	}
	l.rooms[key] = most - running
	return most - running, nil
}

// spend notes that one more job of a lane runs.
func (l *lanes) spend(of lane) {
	for _, key := range [][2]string{{"command", of.command}, {"cluster", of.cluster}, {"user", of.user}} {
		if room := l.rooms[key]; room != math.MaxInt {
			l.rooms[key]--
		}
	}
}

// head is a waiting job with its place in the queue.
type head struct {
	id       job.ID
	lane     int
	priority int
	turn     int64
	created  int64
}

func (h head) before(other head) int {
	return cmp.Or(
		cmp.Compare(other.priority, h.priority),
		cmp.Compare(h.turn, other.turn),
		cmp.Compare(h.created, other.created),
		cmp.Compare(h.id, other.id),
	)
}

// pick returns the first jobs of the open lanes, in the order of the queue.
func (l *lanes) pick(_ transaction, c Claim) ([]job.ID, error) {
	open, err := l.open()
	if err != nil {
		return nil, err
	}
	// Of all lanes, those with the first heads hold the first jobs.
	var firsts []head
	for i, of := range open {
		first, err := l.read(i, of, 1)
		if err != nil {
			return nil, err
		}
		firsts = append(firsts, first...)
	}
	slices.SortFunc(firsts, head.before)
	var waiting []head
	for _, first := range firsts[:min(c.Most, len(firsts))] {
		of, err := l.read(first.lane, open[first.lane], c.Most)
		if err != nil {
			return nil, err
		}
		waiting = append(waiting, of...)
	}
	slices.SortFunc(waiting, head.before)
	var picked []job.ID
	for _, h := range waiting {
		has, err := l.room(open[h.lane])
		if err != nil {
			return nil, err
		}
		if has && len(picked) < c.Most {
			l.spend(open[h.lane])
			picked = append(picked, h.id)
		}
	}
	return picked, nil
}

// read returns the first jobs of a lane.
func (l *lanes) read(i int, of lane, most int) ([]head, error) {
	rows, err := l.tx.QueryContext(context.Background(), `
		SELECT job_id, priority, turn, created_at
		FROM job_ready
		WHERE command_id = $1 AND cluster_id = $2 AND username = $3
		ORDER BY priority DESC, turn, created_at, job_id
		LIMIT $4`, of.command, of.cluster, of.user, most)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var waiting []head
	for rows.Next() {
		h := head{lane: i}
		if err := rows.Scan((*string)(&h.id), &h.priority, &h.turn, &h.created); err != nil {
			return nil, err
		}
		waiting = append(waiting, h)
	}
	return waiting, rows.Err()
}
