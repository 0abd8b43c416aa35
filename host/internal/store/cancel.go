package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Cancellation is what a wish to cancel a job came to.
type Cancellation struct {
	Status  job.Status // Canceled, Canceling, or the final one that came first
	Host    string     // the host that has to stop it, when Canceling
	Attempt int        // the attempt to stop, when Canceling
	Waited  bool       // it waited, and has ended by this
}

// CancelWish is a lease whose job somebody has asked to cancel.
type CancelWish struct {
	job.Lease
	By string
}

// Cancel ends a job that waits, and asks the host of one that does not to stop
// it. The first wish counts. A job that has ended stays as it is.
func (db *DB) Cancel(ctx context.Context, id job.ID, by string) (Cancellation, error) {
	if err := checkText(field{"user", by}); err != nil {
		return Cancellation{}, err
	}
	missing := &errs.Error{Kind: errs.NotFound, Message: fmt.Sprintf("there is no job %.60q", string(id)), ID: string(id)}
	if checkID(id) != nil {
		return Cancellation{}, missing
	}
	var c Cancellation
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		var err error
		c, err = cancelJob(ctx, tx, id, by)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Cancellation{}, missing
	}
	if err != nil {
		return Cancellation{}, fmt.Errorf("cancel job %s: %w", id, err)
	}
	return c, nil
}

// cancelJob looks for the job in each place. It may move while we look: then we look
// again, and each look sees what was committed before it.
func cancelJob(ctx context.Context, tx transaction, id job.ID, by string) (Cancellation, error) {
	const looks = 10
	for range looks {
		for _, look := range []func(context.Context, transaction, job.ID, string) (Cancellation, error){cancelReady, cancelLater, cancelLease, canceledEnd} {
			c, err := look(ctx, tx, id, by)
			if !errors.Is(err, sql.ErrNoRows) {
				return c, err
			}
		}
		var one int
		if err := tx.QueryRowContext(ctx, "SELECT 1 FROM job WHERE id = $1", string(id)).Scan(&one); err != nil {
			return Cancellation{}, err
		}
	}
	return Cancellation{}, errs.Errorf(errs.Unavailable, "job %s moves too fast to cancel: try again", id)
}

func cancelReady(ctx context.Context, tx transaction, id job.ID, by string) (Cancellation, error) {
	return cancelWaiting(ctx, tx, "DELETE FROM job_ready WHERE job_id = $1 RETURNING attempt", id, by)
}

func cancelLater(ctx context.Context, tx transaction, id job.ID, by string) (Cancellation, error) {
	return cancelWaiting(ctx, tx, "DELETE FROM job_later WHERE job_id = $1 RETURNING attempt", id, by)
}

func cancelWaiting(ctx context.Context, tx transaction, take string, id job.ID, by string) (Cancellation, error) {
	var attempt int
	if err := tx.QueryRowContext(ctx, take, string(id)).Scan(&attempt); err != nil {
		return Cancellation{}, err
	}
	return Cancellation{Status: job.Canceled, Waited: true}, endCanceled(ctx, tx, id, attempt-1, by)
}

// endCanceled writes the end of a job that was canceled before a new attempt.
func endCanceled(ctx context.Context, tx transaction, id job.ID, attempt int, by string) error {
	return endWaiting(ctx, tx, id, attempt, job.Canceled, by, &job.Error{Class: job.WasCanceled, Message: "canceled by " + by})
}

// endWaiting writes the end of a job that waited, after so many attempts.
func endWaiting(ctx context.Context, tx transaction, id job.ID, attempt int, status job.Status, by string, why *job.Error) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO job_end (job_id, attempt, status, cancel_by, error, ended_at)
		VALUES ($1, $2, $3, $4, $5, $6)`,
		string(id), attempt, string(status), orNull(by), encode(why, false), now())
	if err != nil {
		return err
	}
	return dropKept(ctx, tx, id)
}

// dropKept removes what is kept of a job only until it ends.
func dropKept(ctx context.Context, tx transaction, id job.ID) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM checkpoint WHERE job_id = $1", string(id)); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM job_unique WHERE job_id = $1", string(id))
	return err
}

func cancelLease(ctx context.Context, tx transaction, id job.ID, by string) (Cancellation, error) {
	c := Cancellation{Status: job.Canceling}
	err := tx.QueryRowContext(ctx, `
		UPDATE job_lease
		SET
			updated_at = CASE WHEN cancel_at IS NULL THEN $2 ELSE updated_at END,
			cancel_at = COALESCE(cancel_at, $2),
			cancel_by = COALESCE(cancel_by, $3)
		WHERE job_id = $1
		RETURNING host_id, attempt`, string(id), now(), by).Scan(&c.Host, &c.Attempt)
	return c, err
}

func canceledEnd(ctx context.Context, tx transaction, id job.ID, _ string) (Cancellation, error) {
	var c Cancellation
	err := tx.QueryRowContext(ctx, "SELECT status FROM job_end WHERE job_id = $1", string(id)).Scan((*string)(&c.Status))
	return c, err
}

// Canceling returns the leases of a host whose jobs somebody has asked to cancel.
func (db *DB) Canceling(ctx context.Context, host string, epoch int64) ([]CancelWish, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := db.read.QueryContext(ctx, `
		SELECT job_id, attempt, cancel_by
		FROM job_lease
		WHERE host_id = $1 AND epoch = $2 AND cancel_at IS NOT NULL
		ORDER BY cancel_at, job_id`, host, epoch)
	if err != nil {
		return nil, fmt.Errorf("read the jobs to cancel: %w", db.fault(err))
	}
	defer func() { _ = rows.Close() }()
	var wishes []CancelWish
	for rows.Next() {
		w := CancelWish{Lease: job.Lease{HostID: host, Epoch: epoch}}
		if err := rows.Scan((*string)(&w.JobID), &w.Attempt, &w.By); err != nil {
			return nil, fmt.Errorf("read the jobs to cancel: %w", db.fault(err))
		}
		wishes = append(wishes, w)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the jobs to cancel: %w", db.fault(err))
	}
	return wishes, nil
}
