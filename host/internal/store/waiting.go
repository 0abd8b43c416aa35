package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// countAhead counts the jobs before the one of the row t, in two parts: each reads
// the first rows of a range of the queue's index, as many as job.MaxAhead.
const countAhead = `
	(SELECT count(*) FROM (
		SELECT 1 FROM job_ready q WHERE q.priority > t.priority LIMIT 10000) AS higher)
	+ (SELECT count(*) FROM (
		SELECT 1
		FROM job_ready q
		WHERE q.priority = t.priority AND (q.turn, q.created_at, q.job_id) < (t.turn, t.created_at, t.job_id)
		LIMIT 10000) AS earlier)`

// Waiting says why a job waits; nil when it does not, or not any more.
func (db *DB) Waiting(ctx context.Context, id job.ID) (*job.Wait, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	w, err := db.waitingLater(ctx, id)
	if errors.Is(err, sql.ErrNoRows) {
		w, err = db.waitingReady(ctx, id)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read why job %s waits: %w", id, db.fault(err))
	}
	return w, nil
}

func (db *DB) waitingLater(ctx context.Context, id job.ID) (*job.Wait, error) {
	var (
		due     time.Time
		retries int
	)
	err := db.read.QueryRowContext(ctx, "SELECT due_at, retries FROM job_later WHERE job_id = $1", string(id)).Scan(fromTime(&due), &retries)
	if err != nil {
		return nil, err
	}
	w := &job.Wait{Reason: job.Scheduled, Until: due}
	if retries > 0 {
		w.Reason = job.Retrying
	}
	return w, nil
}

func (db *DB) waitingReady(ctx context.Context, id job.ID) (*job.Wait, error) {
	var (
		lives, can, room       bool
		command, cluster, user int
		ahead                  int
	)
	live := liveUntil + db.text.clock
	canRun := `
				SELECT 1 FROM host JOIN host_command h ON h.host_id = host.id WHERE h.command_id = t.command_id AND ` + live + `
				AND NOT EXISTS (SELECT 1 FROM host_lacks_cluster k WHERE k.host_id = host.id AND k.cluster_id = t.cluster_id)`
	err := db.read.QueryRowContext(ctx, `
		SELECT
			EXISTS (SELECT 1 FROM host WHERE `+live+`),
			EXISTS (`+canRun+`),
			EXISTS (`+canRun+` AND host.state = 'live'),
			COALESCE(`+roomFor("command", "t.command_id", "command_id")+`, 1),
			COALESCE(`+roomFor("cluster", "t.cluster_id", "cluster_id")+`, 1),
			COALESCE(`+roomFor("user", "''", "username")+`, 1),
			`+countAhead+`
		FROM job_ready t
		WHERE t.job_id = $1`, string(id)).Scan(&lives, &can, &room, &command, &cluster, &user, &ahead)
	if err != nil {
		return nil, err
	}
	w := &job.Wait{Ahead: min(ahead, job.MaxAhead)}
	switch {
	case !lives:
		w.Reason = job.NoHost
	case !can:
		w.Reason = job.NoPlugin
	case !room:
		w.Reason = job.NoRoom
	case command <= 0:
		w.Reason = job.CommandLimit
	case cluster <= 0:
		w.Reason = job.ClusterLimit
	case user <= 0:
		w.Reason = job.UserLimit
	case ahead > 0:
		w.Reason = job.Queued
	default:
		w.Reason = job.NoFreeSlot
	}
	return w, nil
}

// roomFor is how many more jobs a cap lets run that are like a row t in a column;
// null when there is no cap.
func roomFor(kind, id, column string) string {
	return "(SELECT k.max_running - (SELECT count(*) FROM job_lease l WHERE l." + column + " = t." + column + ")" +
		" FROM cap k WHERE k.kind = '" + kind + "' AND k.id = " + id + ")"
}

// Oldest returns since when the job waits that has waited longest of those that could
// run; zero when none waits.
func (db *DB) Oldest(ctx context.Context) (since time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if err := db.read.QueryRowContext(ctx, "SELECT min(updated_at) FROM job_ready").Scan(fromTime(&since)); err != nil {
		return time.Time{}, fmt.Errorf("read since when jobs wait: %w", db.fault(err))
	}
	return since, nil
}

// Backlog counts the jobs of each user that wait.
func (db *DB) Backlog(ctx context.Context) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	counts, err := db.backlog(ctx)
	if err != nil {
		return nil, fmt.Errorf("count the jobs that wait: %w", db.fault(err))
	}
	return counts, nil
}

func (db *DB) backlog(ctx context.Context) (map[string]int, error) {
	rows, err := db.read.QueryContext(ctx, `
		SELECT username, count(*) FROM job_ready GROUP BY username
		UNION ALL
		SELECT username, count(*) FROM job_later GROUP BY username`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	counts := map[string]int{}
	for rows.Next() {
		var (
			user string
			n    int
		)
		if err := rows.Scan(&user, &n); err != nil {
			return nil, err
		}
		counts[user] += n
	}
	return counts, rows.Err()
}
