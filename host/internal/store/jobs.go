package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Submission is a job to record.
type Submission struct {
	Job   *job.Job
	Host  string // who submits
	Epoch int64
	Claim bool // the host is free to run it at once
	Lanes bool // see Claim
}

// Claim is a host's wish for waiting jobs.
type Claim struct {
	Host  string
	Epoch int64
	Most  int // so many jobs
	// Lanes says that caps may hold jobs back, or that some wait which the host
	// cannot run. Without it a claim is cheaper, and gets nothing while there are
	// caps.
	Lanes bool
}

// Submit records a job. When the host is free, its epoch is current and nothing
// waits that would be older, the job is leased to it in the same commit and the
// lease is returned; else the job waits and the lease is nil.
//
// After ErrUnknown, or when ctx ended first, it is unknown whether the job was
// recorded and leased. After any other error it was not.
func (db *DB) Submit(ctx context.Context, s Submission) (*job.Lease, error) {
	if err := checkJob(s.Job); err != nil {
		return nil, err
	}
	if err := checkText(field{"host", s.Host}); err != nil {
		return nil, err
	}
	leased, err := db.submit(ctx, s)
	if err != nil {
		return nil, submitError(s.Job.ID, err)
	}
	if !leased {
		return nil, nil
	}
	return &job.Lease{JobID: s.Job.ID, Attempt: 1, HostID: s.Host, Epoch: s.Epoch}, nil
}

func submitError(id job.ID, err error) error {
	if e, ok := errors.AsType[*errs.Error](err); ok {
		told := *e // a batch shares its error
		told.ID = cmp.Or(e.ID, string(id))
		if e.Kind == errs.Conflict && e.ID == "" {
			told.Message = fmt.Sprintf("there is a job %s already", id)
		}
		return &told
	}
	return fmt.Errorf("record job %s: %w", id, err)
}

// Claim leases waiting jobs to a host whose right to run is not over: those of
// higher priority first, then those whose turn it is, then the oldest. A host whose
// epoch is over gets ErrFenced. After another error there may be leases all the
// same: see Leases.
func (db *DB) Claim(ctx context.Context, c Claim) ([]job.Claimed, error) {
	if c.Most <= 0 {
		return nil, nil
	}
	c.Most = min(c.Most, batchCount)
	if c.Lanes {
		c.Most = min(c.Most, laneClaims)
	}
	claimed, err := db.claim(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("claim jobs: %w", err)
	}
	if slices.ContainsFunc(claimed, func(c job.Claimed) bool { return c.Resume }) {
		if err := db.readCheckpoints(ctx, claimed); err != nil {
			return nil, fmt.Errorf("read the checkpoints of claimed jobs: %w", err)
		}
	}
	return claimed, nil
}

// readCheckpoints gives claimed jobs that are to be resumed their checkpoints.
func (db *DB) readCheckpoints(ctx context.Context, claimed []job.Claimed) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return db.fault(db.addCheckpoints(ctx, db.read, claimed))
}

// laneClaims is how many jobs are claimed at once by lanes: as many are read of
// each of as many lanes.
const laneClaims = 64

// accept gives a job the state that its claim gave it.
func accept(c *job.Claimed, at time.Time) {
	c.Lease.JobID = c.Job.ID
	c.Job.Status = job.Accepted
	c.Job.Attempt, c.Job.Retries = c.Lease.Attempt, c.Retries
	c.Job.HostID, c.Job.UpdatedAt = c.Lease.HostID, at
}

// Started marks jobs as running. Leases that are gone or marked are passed over.
func (db *DB) Started(ctx context.Context, leases []job.Lease, at time.Time) error {
	if len(leases) == 0 {
		return nil
	}
	for _, l := range leases {
		if err := checkID(l.JobID); err != nil {
			return err
		}
	}
	if err := db.started(ctx, leases, stamp(at)); err != nil {
		return fmt.Errorf("mark jobs as running: %w", err)
	}
	return nil
}

// End records the end of a job, and consumes the lease of its last attempt in the
// same commit. The job's checkpoint goes; when something may remain outside, it
// is among the Cleanups from then on. To repeat an end that was recorded is no error. It returns
// ErrLeaseLost, and has changed nothing, when there is no such lease.
func (db *DB) End(ctx context.Context, e job.End) error {
	if err := checkEnd(e); err != nil {
		return err
	}
	if e.EndedAt.IsZero() {
		e.EndedAt = now()
	}
	e.Remains = legible(e.Remains)
	consumed, err := db.end(ctx, e)
	if err == nil && !consumed {
		err = db.ended(ctx, e.Lease)
	}
	if err != nil {
		return fmt.Errorf("record the end of job %s: %w", e.JobID, err)
	}
	return nil
}

// ended returns ErrLeaseLost unless this very attempt is recorded as the one that
// ended its job.
func (db *DB) ended(ctx context.Context, l job.Lease) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var found bool
	err := db.read.QueryRowContext(ctx, `
		SELECT EXISTS (
			SELECT 1
			FROM attempt a
			JOIN job_end e ON e.job_id = a.job_id AND e.attempt = a.attempt
			WHERE a.job_id = $1 AND a.attempt = $2 AND a.host_id = $3 AND a.epoch = $4)`,
		string(l.JobID), l.Attempt, l.HostID, l.Epoch).Scan(&found)
	if err == nil && !found {
		return ErrLeaseLost
	}
	return db.fault(err)
}

// GiveBack returns jobs that were claimed and never started: they wait again, at
// their old place, and the attempt does not count. One that somebody has asked to
// cancel ends instead. Leases that are gone, or marked as started, are passed
// over. The row is taken, and that answered, before the commit is asked for: what a
// server does long after cannot hit the lease of a later claim, which looks the same.
func (db *DB) GiveBack(ctx context.Context, leases []job.Lease) error {
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		for _, l := range leases {
			if err := giveBack(ctx, tx, l); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("give back jobs: %w", err)
	}
	return nil
}

func giveBack(ctx context.Context, tx transaction, l job.Lease) error {
	if err := checkID(l.JobID); err != nil {
		return err
	}
	var (
		by      sql.NullString
		retries int
		resumed bool
	)
	err := tx.QueryRowContext(ctx, `
		DELETE FROM job_lease
		WHERE job_id = $1 AND attempt = $2 AND host_id = $3 AND epoch = $4 AND started_at IS NULL
		RETURNING cancel_by, retries, resume`,
		string(l.JobID), l.Attempt, l.HostID, l.Epoch).Scan(&by, &retries, &resumed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if by.Valid {
		return endCanceled(ctx, tx, l.JobID, l.Attempt-1, by.String)
	}
	return requeue(ctx, tx, again{id: l.JobID, attempt: l.Attempt, retries: retries, resume: resumed}, headTurn)
}

// Ended returns those of the jobs that have ended.
func (db *DB) Ended(ctx context.Context, ids []job.ID) ([]job.ID, error) {
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
	found, err := db.endedOf(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("read which jobs have ended: %w", db.fault(err))
	}
	return found, nil
}

func (db *DB) endedOf(ctx context.Context, ids []job.ID) ([]job.ID, error) {
	rows, err := db.read.QueryContext(ctx, "SELECT job_id FROM job_end WHERE job_id IN ("+db.text.idsOf+")", *toJSON(ids))
	return onlyColumn[job.ID](rows, err)
}
