package store

import (
	"context"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Aged is a job that ended some time ago, with what it has left.
type Aged struct {
	ID      job.ID
	Command string // its id
	EndedAt time.Time
	Hosts   []string // that ran its attempts
	// Left says that there may be artifacts of it: it came with files, its row or those
	// of its attempts name some, or an attempt may have stored them whose end was never recorded.
	Left bool
}

// Aged returns up to n jobs that ended after the place of one that was seen before
// and not after a time, those that ended first before the others.
func (db *DB) Aged(ctx context.Context, after job.Cursor, until time.Time, n int) ([]Aged, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	aged, err := db.aged(ctx, after, until, n)
	if err == nil {
		err = db.leftBy(ctx, aged)
	}
	if err != nil {
		return nil, fmt.Errorf("read which jobs ended long ago: %w", db.fault(err))
	}
	return aged, nil
}

func (db *DB) aged(ctx context.Context, after job.Cursor, until time.Time, n int) (aged []Aged, err error) {
	if after.ID == "" {
		after.ID = leastID
	}
	rows, err := db.read.QueryContext(ctx, `
		SELECT e.job_id, e.ended_at, e.result_object, e.status, j.command_id, j.attachments IS NOT NULL
		FROM job_end e
		CROSS JOIN job j
		WHERE j.id = e.job_id AND (e.ended_at, e.job_id) > ($1, $2) AND e.ended_at <= $3
		ORDER BY e.ended_at, e.job_id
		LIMIT $4`, stamp(after.Time), string(after.ID), stamp(until), n)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var a Aged
		var object, status string
		if err := rows.Scan((*string)(&a.ID), fromTime(&a.EndedAt), &object, &status, &a.Command, &a.Left); err != nil {
			return nil, err
		}
		a.Left = a.Left || object != "" || job.Status(status) != job.Succeeded
		aged = append(aged, a)
	}
	return aged, rows.Err()
}

// leftBy adds what the attempts of jobs have left.
func (db *DB) leftBy(ctx context.Context, aged []Aged) error {
	if len(aged) == 0 {
		return nil
	}
	of := make(map[job.ID]*Aged, len(aged))
	ids := make([]job.ID, len(aged))
	for i := range aged {
		ids[i] = aged[i].ID
		of[ids[i]] = &aged[i]
	}
	rows, err := db.read.QueryContext(ctx, `
		SELECT job_id, host_id, stdout, stderr
		FROM attempt
		WHERE job_id IN (`+db.text.idsOf+`)
		ORDER BY job_id, attempt`, *toJSON(ids))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id job.ID
		var host, stdout, stderr string
		if err := rows.Scan((*string)(&id), &host, &stdout, &stderr); err != nil {
			return err
		}
		a := of[id]
		a.Hosts = append(a.Hosts, host)
		a.Left = a.Left || stdout != "" || stderr != "" || len(a.Hosts) > 1
	}
	return rows.Err()
}

// Remove forgets jobs that have ended, with their attempts, and returns how many.
// Those that have not ended stay, and those that still have something to clean up.
func (db *DB) Remove(ctx context.Context, ids []job.ID) (n int, err error) {
	for _, id := range ids {
		if err := checkID(id); err != nil {
			return 0, err
		}
	}
	if len(ids) == 0 {
		return 0, nil
	}
	err = db.write(ctx, func(ctx context.Context, tx transaction) error {
		gone, err := db.removeEnds(ctx, tx, ids)
		if err != nil || len(gone) == 0 {
			return err
		}
		n = len(gone)
		for _, statement := range []string{
			"DELETE FROM job_tag WHERE (tag, job_id) IN (" + db.text.tagsOf + " WHERE j.id IN (" + db.text.idsOf + "))",
			"DELETE FROM attempt WHERE job_id IN (" + db.text.idsOf + ")",
			"DELETE FROM checkpoint WHERE job_id IN (" + db.text.idsOf + ")",
			"DELETE FROM job WHERE id IN (" + db.text.idsOf + ")",
		} {
			if _, err := tx.ExecContext(ctx, statement, *toJSON(gone)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("remove old jobs: %w", err)
	}
	return n, nil
}

func (db *DB) removeEnds(ctx context.Context, tx transaction, ids []job.ID) ([]job.ID, error) {
	rows, err := tx.QueryContext(ctx, `
		DELETE FROM job_end
		WHERE job_id IN (`+db.text.idsOf+`)
			AND NOT EXISTS (SELECT 1 FROM cleanup c WHERE c.job_id = job_end.job_id)
		RETURNING job_id`, *toJSON(ids))
	return onlyColumn[job.ID](rows, err)
}

// Away returns those hosts of the given that do not run.
func (db *DB) Away(ctx context.Context, hosts []string) (away map[string]bool, err error) {
	away = make(map[string]bool, len(hosts))
	for _, id := range hosts {
		away[id] = true
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := db.read.QueryContext(ctx, "SELECT id FROM host WHERE lease_until > "+db.text.clock)
	live, err := onlyColumn[string](rows, err)
	if err != nil {
		return nil, fmt.Errorf("read which hosts run: %w", db.fault(err))
	}
	for _, id := range live {
		delete(away, id)
	}
	return away, nil
}
