package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Checkpoint keeps the checkpoint of an attempt in place of any earlier one of
// its job, until the job ends. It returns ErrLeaseLost, and has changed nothing,
// when there is no such lease.
func (db *DB) Checkpoint(ctx context.Context, l job.Lease, c *job.Checkpoint) error {
	if err := checkID(l.JobID); err != nil {
		return err
	}
	if len(c.Data) > job.MaxCheckpoint {
		return errs.Errorf(errs.Invalid, "a checkpoint has %d bytes, want at most %d", len(c.Data), job.MaxCheckpoint)
	}
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		result, err := tx.ExecContext(ctx, `
			INSERT INTO checkpoint (job_id, attempt, format, data, outputs, usage)
			SELECT job_id, attempt, $5, $6, $7, $8
			FROM job_lease
			WHERE job_id = $1 AND attempt = $2 AND host_id = $3 AND epoch = $4 `+db.text.keepRow+`
			ON CONFLICT (job_id) DO UPDATE
			SET attempt = excluded.attempt, format = excluded.format, data = excluded.data,
				outputs = excluded.outputs, usage = excluded.usage`,
			string(l.JobID), l.Attempt, l.HostID, l.Epoch, c.Format, notNil(c.Data),
			toJSON(c.Outputs), encode(c.Usage, len(c.Usage) == 0))
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n > 0 {
			return err
		}
		return ErrLeaseLost
	})
	if err != nil {
		return fmt.Errorf("keep a checkpoint of job %s: %w", l.JobID, err)
	}
	return nil
}

// Resume records the end of an attempt that was lost, and gives its lease to the
// attempt that goes on from its checkpoint, with all that the job has shown, in one
// commit: the job runs on. When somebody has asked to cancel the job it does
// neither, and returns who. To repeat what was done is no error. It returns
// ErrLeaseLost, and has changed nothing, when there is no such lease.
func (db *DB) Resume(ctx context.Context, e job.End) (l job.Lease, canceledBy string, err error) {
	if err := checkEnd(e); err != nil {
		return l, "", err
	}
	if e.EndedAt.IsZero() {
		e.EndedAt = now()
	}
	err = db.write(ctx, func(ctx context.Context, tx transaction) (err error) {
		canceledBy, err = resume(ctx, tx, e)
		return err
	})
	if err != nil {
		return l, "", fmt.Errorf("go on with job %s: %w", e.JobID, err)
	}
	l = e.Lease
	if canceledBy == "" {
		l.Attempt++
	}
	return l, canceledBy, nil
}

func resume(ctx context.Context, tx transaction, e job.End) (canceledBy string, err error) {
	result, err := tx.ExecContext(ctx, `
		UPDATE job_lease
		SET attempt = attempt + 1, resume = TRUE, started_at = COALESCE(started_at, $5), updated_at = $6
		WHERE job_id = $1 AND attempt = $2 AND host_id = $3 AND epoch = $4 AND cancel_at IS NULL`,
		string(e.JobID), e.Attempt, e.HostID, e.Epoch, orNow(e.StartedAt), now())
	if err != nil {
		return "", err
	}
	n, err := result.RowsAffected()
	if err != nil {
		return "", err
	}
	if n > 0 {
		// The job has shown some since the checkpoint.
		if _, err := tx.ExecContext(ctx, "UPDATE checkpoint SET outputs = $2 WHERE job_id = $1", string(e.JobID), toJSON(e.Outputs)); err != nil {
			return "", err
		}
		return "", insertAttempt(ctx, tx, e, toTime(e.StartedAt))
	}

	var attempt int
	err = tx.QueryRowContext(ctx, `
		SELECT attempt, cancel_by
		FROM job_lease
		WHERE job_id = $1 AND host_id = $2 AND epoch = $3`,
		string(e.JobID), e.HostID, e.Epoch).Scan(&attempt, orZero(&canceledBy))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", ErrLeaseLost
	case err != nil:
		return "", err
	case attempt == e.Attempt+1:
		// This is a repeat, unless the lease came back to this host another way.
		if done, err := attempted(ctx, tx, e.Lease); err != nil || done {
			return "", err
		}
		return "", ErrLeaseLost
	case attempt != e.Attempt:
		return "", ErrLeaseLost
	}
	return canceledBy, nil
}

// attempted reports whether the end of an attempt by this very lease is recorded.
func attempted(ctx context.Context, tx transaction, l job.Lease) (done bool, err error) {
	err = tx.QueryRowContext(ctx, `
		SELECT EXISTS (SELECT 1 FROM attempt WHERE job_id = $1 AND attempt = $2 AND host_id = $3 AND epoch = $4)`,
		string(l.JobID), l.Attempt, l.HostID, l.Epoch).Scan(&done)
	return done, err
}

// insertAttempt writes the row of an attempt that has ended.
func insertAttempt(ctx context.Context, tx transaction, e job.End, startedAt any) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO attempt (job_id, attempt, host_id, epoch, command_id, cluster_id, build, status, error, usage, stdout, stderr,
			stdout_bytes, stderr_bytes, started_at, ended_at)
		SELECT $1, $2, $3, $4, j.command_id, j.cluster_id, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
		FROM job j
		WHERE j.id = $1`,
		string(e.JobID), e.Attempt, e.HostID, e.Epoch, e.Build, string(e.Status), encode(e.Error, e.Error == nil), encode(e.Usage, len(e.Usage) == 0),
		e.Logs.Stdout, e.Logs.Stderr, e.Logs.StdoutBytes, e.Logs.StderrBytes, startedAt, stamp(e.EndedAt))
	return err
}

// dropCheckpoint removes the checkpoint of a job whose attempt has ended. It goes
// with what is left to clean up, if anything is.
func dropCheckpoint(ctx context.Context, tx transaction, e job.End) error {
	if e.Remains != "" {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO cleanup (job_id, attempt, host_id, reason, format, data, due_at, created_at)
			SELECT j.id, $2, $3, $4, c.format, c.data, $5, $5
			FROM job j
			LEFT JOIN checkpoint c ON c.job_id = j.id
			WHERE j.id = $1`,
			string(e.JobID), e.Attempt, e.HostID, e.Remains, stamp(e.EndedAt))
		if err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM checkpoint WHERE job_id = $1", string(e.JobID))
	return err
}

// addCheckpoints gives jobs their last checkpoints.
func (db *DB) addCheckpoints(ctx context.Context, tx transaction, claimed []job.Claimed) error {
	if len(claimed) == 0 {
		return nil
	}
	of := make(map[job.ID]*job.Claimed, len(claimed))
	ids := make([]job.ID, len(claimed))
	for i := range claimed {
		ids[i] = claimed[i].Job.ID
		of[ids[i]] = &claimed[i]
	}
	rows, err := tx.QueryContext(ctx, `
		SELECT job_id, attempt, format, data, outputs, usage
		FROM checkpoint
		WHERE job_id IN (`+db.text.idsOf+`)`, *toJSON(ids))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id job.ID
		c := &job.Checkpoint{}
		if err := rows.Scan((*string)(&id), &c.Attempt, &c.Format, &c.Data, fromJSON(&c.Outputs), fromJSON(&c.Usage)); err != nil {
			return err
		}
		of[id].Checkpoint = c
	}
	return rows.Err()
}

// notNil returns what an empty column is written as.
func notNil(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}
