package store

import (
	"context"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Cleanups returns up to n attempts of a host whose remains are due to be
// removed, those that are due for longest first; none once the epoch is over.
func (db *DB) Cleanups(ctx context.Context, host string, epoch int64, n int) ([]job.Cleanup, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	due, err := db.cleanups(ctx, host, epoch, n)
	if err != nil {
		return nil, fmt.Errorf("read what is left to clean up: %w", db.fault(err))
	}
	return due, nil
}

func (db *DB) cleanups(ctx context.Context, host string, epoch int64, n int) ([]job.Cleanup, error) {
	rows, err := db.read.QueryContext(ctx, "SELECT "+jobRequest+`, c.attempt, c.reason, c.format, c.data, c.tries, c.created_at
		FROM cleanup c
		JOIN job j ON j.id = c.job_id
		JOIN host h ON h.id = c.host_id
		WHERE c.host_id = $1 AND h.epoch = $2 AND c.due_at <= $3
		ORDER BY c.due_at, c.job_id
		LIMIT $4`, host, epoch, now(), n)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var due []job.Cleanup
	for rows.Next() {
		c := job.Cleanup{Job: &job.Job{}}
		var format *int32
		var data []byte
		if err := rows.Scan(append(requestFields(c.Job), &c.Attempt, &c.Reason, &format, &data, &c.Tries, fromTime(&c.Since))...); err != nil {
			return nil, err
		}
		if format != nil {
			c.Checkpoint = &job.Checkpoint{Format: *format, Data: data}
		}
		due = append(due, c)
	}
	return due, rows.Err()
}

// TakeCleanups gives a host what others have left to clean up that are lost for
// longer than lostAfter, where it can run the command of the job. It returns how many
// it got; there may be more. It gets none once its epoch is over.
func (db *DB) TakeCleanups(ctx context.Context, host string, epoch int64, lostAfter time.Duration) (int64, error) {
	var n int64
	err := db.write(ctx, func(ctx context.Context, tx transaction) (err error) {
		n, err = affected(ctx, tx, `
			UPDATE cleanup
			SET host_id = $1
			WHERE (job_id, attempt) IN (
				SELECT c.job_id, c.attempt
				FROM cleanup c
				JOIN job j ON j.id = c.job_id
				JOIN host_command k ON k.host_id = $1 AND k.command_id = j.command_id
				WHERE c.host_id <> $1
					AND EXISTS (SELECT 1 FROM host h WHERE h.id = $1 AND h.epoch = $2)
					AND NOT EXISTS (
						SELECT 1
						FROM host h
						WHERE h.id = c.host_id AND (h.lost_at IS NULL OR h.lost_at > `+db.text.until+`))
				LIMIT $4)`, host, epoch, -lostAfter.Microseconds(), steps)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("take over what others have left to clean up: %w", err)
	}
	return n, nil
}

// Postpone notes how many tries to clean up have failed, and when the next is due.
// It returns ErrFenced, and has changed nothing, when the epoch of the host is over.
func (db *DB) Postpone(ctx context.Context, host string, epoch int64, c job.Cleanup, due time.Time) error {
	return db.settleCleanup(ctx, host, epoch, c, "UPDATE cleanup SET tries = $3, due_at = $4 WHERE job_id = $1 AND attempt = $2", c.Tries, stamp(due))
}

// Cleaned forgets an attempt whose remains are gone, or given up. It returns
// ErrFenced, and has changed nothing, when the epoch of the host is over.
func (db *DB) Cleaned(ctx context.Context, host string, epoch int64, c job.Cleanup) error {
	return db.settleCleanup(ctx, host, epoch, c, "DELETE FROM cleanup WHERE job_id = $1 AND attempt = $2")
}

func (db *DB) settleCleanup(ctx context.Context, host string, epoch int64, c job.Cleanup, statement string, more ...any) error {
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		if err := current(ctx, tx, host, epoch, db.text.keepRow); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, statement, append([]any{string(c.Job.ID), c.Attempt}, more...)...)
		return err
	})
	if err != nil {
		return fmt.Errorf("record the cleanup after job %s: %w", c.Job.ID, err)
	}
	return nil
}
