package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// again is a job that is to wait for another attempt.
type again struct {
	id      job.ID
	attempt int // the next one
	retries int // before it
	resume  bool
	due     time.Time // of one that waited for its time
}

// The turn of a job j in the queue: at its head, or behind all of its user.
const (
	headTurn = `COALESCE(
		(SELECT r.turn FROM job_ready r WHERE r.priority = j.priority ORDER BY r.turn LIMIT 1),
		0)`
	nextTurn = `COALESCE(
		(SELECT r.turn + 1 FROM job_ready r WHERE r.username = j.username AND r.priority = j.priority ORDER BY r.turn DESC LIMIT 1),
		(SELECT r.turn FROM job_ready r WHERE r.priority = j.priority ORDER BY r.turn LIMIT 1),
		0)`
)

// requeue makes a job wait that is in no table of states.
func requeue(ctx context.Context, tx transaction, a again, turn string) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO job_ready (priority, turn, created_at, job_id, attempt, retries, resume, username, command_id, cluster_id, deadline, updated_at)
		SELECT j.priority, `+turn+`, j.created_at, j.id, $2, $3, $4, j.username, j.command_id, j.cluster_id, j.deadline, $5
		FROM job j
		WHERE j.id = $1`,
		string(a.id), a.attempt, a.retries, a.resume, now())
	return err
}

// postpone makes a job wait for a time that is in no table of states.
func postpone(ctx context.Context, tx transaction, a again, due time.Time) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO job_later (job_id, due_at, attempt, retries, username, created_at, updated_at)
		SELECT id, $2, $3, $4, username, created_at, $5
		FROM job
		WHERE id = $1`,
		string(a.id), stamp(due), a.attempt, a.retries, now())
	return err
}

// Retry records the end of an attempt and makes its job wait for another one until
// the time due, in one commit. The job's checkpoint goes. When somebody has asked
// to cancel the job it does neither, and returns who. To repeat what was done is no
// error. It returns ErrLeaseLost, and has changed nothing, when there is no such
// lease.
func (db *DB) Retry(ctx context.Context, e job.End, due time.Time) (canceledBy string, err error) {
	if err := checkEnd(e); err != nil {
		return "", err
	}
	if e.EndedAt.IsZero() {
		e.EndedAt = now()
	}
	e.Remains = legible(e.Remains)
	err = db.write(ctx, func(ctx context.Context, tx transaction) (err error) {
		canceledBy, err = retry(ctx, tx, e, due)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("retry job %s: %w", e.JobID, err)
	}
	return canceledBy, nil
}

func retry(ctx context.Context, tx transaction, e job.End, due time.Time) (canceledBy string, err error) {
	var retries int
	err = tx.QueryRowContext(ctx, `
		DELETE FROM job_lease
		WHERE job_id = $1 AND attempt = $2 AND host_id = $3 AND epoch = $4 AND cancel_at IS NULL
		RETURNING retries`,
		string(e.JobID), e.Attempt, e.HostID, e.Epoch).Scan(&retries)
	if err == nil {
		if err := insertAttempt(ctx, tx, e, toTime(e.StartedAt)); err != nil {
			return "", err
		}
		if err := dropCheckpoint(ctx, tx, e); err != nil {
			return "", err
		}
		return "", postpone(ctx, tx, again{id: e.JobID, attempt: e.Attempt + 1, retries: retries + 1}, due)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return "", err
	}
	err = tx.QueryRowContext(ctx, `
		SELECT cancel_by
		FROM job_lease
		WHERE job_id = $1 AND attempt = $2 AND host_id = $3 AND epoch = $4`,
		string(e.JobID), e.Attempt, e.HostID, e.Epoch).Scan(orZero(&canceledBy))
	if !errors.Is(err, sql.ErrNoRows) {
		return canceledBy, err
	}
	done, err := attempted(ctx, tx, e.Lease)
	if err == nil && !done {
		return "", ErrLeaseLost
	}
	return "", err
}

// steps is how many jobs one commit moves, where their number is unknown.
const steps = 500

// Due lets jobs wait for a host whose time has come, those that are due for
// longest first, and returns how many. It moves so many at most and is to be called
// until it moves none.
func (db *DB) Due(ctx context.Context) (int, error) {
	var n int // written to also after a caller has left early
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		moved, err := takeDue(ctx, tx, db.text)
		if err != nil {
			return err
		}
		n = len(moved)
		return requeueMany(ctx, tx, db.text, moved)
	})
	if err != nil {
		return 0, fmt.Errorf("move jobs that are due: %w", err)
	}
	return n, nil
}

// takeDue reads the clock in a subquery: once, so that it is a bound of the index.
// One that is read anew for each row makes it look at all that wait.
func takeDue(ctx context.Context, tx transaction, text dialect) (moved []again, err error) {
	rows, err := tx.QueryContext(ctx, `
		WITH due AS MATERIALIZED (
			SELECT job_id
			FROM job_later
			WHERE due_at <= (SELECT `+text.clock+`)
			ORDER BY due_at
			LIMIT $1 `+text.skipLocked+`
		)
		DELETE FROM job_later
		WHERE job_id IN (SELECT job_id FROM due)
		RETURNING job_id, attempt, retries, due_at`, steps)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var a again
		if err := rows.Scan((*string)(&a.id), &a.attempt, &a.retries, fromTime(&a.due)); err != nil {
			return nil, err
		}
		moved = append(moved, a)
	}
	slices.SortFunc(moved, func(a, b again) int { return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.id, b.id)) })
	return moved, rows.Err()
}

// requeueMany makes jobs wait, each behind those of its user and before those that
// come after it in the list. However many they are, it is one statement: each is a
// way to the database and back.
func requeueMany(ctx context.Context, tx transaction, text dialect, jobs []again) error {
	if len(jobs) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		WITH waiting AS MATERIALIZED (
			SELECT j.id, j.priority, j.created_at, j.username, j.command_id, j.cluster_id, j.deadline, m.attempt, m.retries,
				row_number() OVER (PARTITION BY j.username, j.priority ORDER BY m.n) AS nth
			FROM (`+text.jobsOf+`) AS m
			JOIN job j ON j.id = m.id
		)
		INSERT INTO job_ready (priority, turn, created_at, job_id, attempt, retries, username, command_id, cluster_id, deadline, updated_at)
		SELECT
			j.priority,
			max(CASE WHEN j.nth = 1 THEN `+nextTurn+` END) OVER (PARTITION BY j.username, j.priority) + j.nth - 1,
			j.created_at, j.id, j.attempt, j.retries, j.username, j.command_id, j.cluster_id, j.deadline, $2
		FROM waiting j`, listed(jobs), now())
	return err
}

// endMany writes the ends of jobs that waited for the attempts of the list. It is as
// many statements for many as for one.
func endMany(ctx context.Context, tx transaction, text dialect, jobs []again, status job.Status, why *job.Error) error {
	if len(jobs) == 0 {
		return nil
	}
	list := listed(jobs)
	_, err := tx.ExecContext(ctx, `
		INSERT INTO job_end (job_id, attempt, status, error, ended_at)
		SELECT m.id, m.attempt - 1, $2, $3, $4
		FROM (`+text.jobsOf+`) AS m`, list, string(status), encode(why, false), now())
	if err != nil {
		return err
	}
	for _, table := range []string{"checkpoint", "job_unique"} { // as dropKept does
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE job_id IN (SELECT m.id FROM ("+text.jobsOf+") AS m)", list); err != nil {
			return err
		}
	}
	return nil
}

// listed returns jobs as dialect.jobsOf reads them.
func listed(jobs []again) string {
	type row struct {
		N       int    `json:"n"`
		ID      job.ID `json:"id"`
		Attempt int    `json:"attempt"`
		Retries int    `json:"retries"`
	}
	rows := make([]row, len(jobs))
	for i, a := range jobs {
		rows[i] = row{N: i, ID: a.id, Attempt: a.attempt, Retries: a.retries}
	}
	return *toJSON(rows)
}

// NextDue returns how long it is until a job that waits for its time is due, by the
// clock of the database; false when none waits so.
func (db *DB) NextDue(ctx context.Context) (time.Duration, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var due, clock time.Time
	err := db.read.QueryRowContext(ctx, "SELECT due_at, "+db.text.clock+" FROM job_later ORDER BY due_at LIMIT 1").Scan(fromTime(&due), fromTime(&clock))
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("read which job is due next: %w", db.fault(err))
	}
	return max(due.Sub(clock), 0), true, nil
}

// Expire ends waiting jobs whose deadline has passed, some at a time, and returns
// them.
func (db *DB) Expire(ctx context.Context) ([]job.ID, error) {
	var expired []job.ID // written to also after a caller has left early
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		over, err := takeExpired(ctx, tx, db.text)
		if err != nil {
			return err
		}
		expired = nil
		for _, a := range over {
			expired = append(expired, a.id)
		}
		return endMany(ctx, tx, db.text, over, job.Killed, &job.Error{
			Class: job.TimedOut, Message: "the deadline passed while the job waited", RetrySafe: true,
		})
	})
	if err != nil {
		return nil, fmt.Errorf("end jobs whose deadline has passed: %w", err)
	}
	return expired, nil
}

// takeExpired reads the clock as takeDue does.
func takeExpired(ctx context.Context, tx transaction, text dialect) (over []again, err error) {
	rows, err := tx.QueryContext(ctx, `
		WITH expired AS MATERIALIZED (
			SELECT job_id
			FROM job_ready
			WHERE deadline <= (SELECT `+text.clock+`)
			ORDER BY deadline
			LIMIT $1 `+text.skipLocked+`
		)
		DELETE FROM job_ready
		WHERE job_id IN (SELECT job_id FROM expired)
		RETURNING job_id, attempt`, steps)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var a again
		if err := rows.Scan((*string)(&a.id), &a.attempt); err != nil {
			return nil, err
		}
		over = append(over, a)
	}
	return over, rows.Err()
}
