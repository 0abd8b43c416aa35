package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// reapSteps is how many leases of a lost host one commit looks at.
const reapSteps = 50

// Reaped is what one step of reaping came to.
type Reaped struct {
	Host  string   // its name
	Again int      // jobs that run again elsewhere, or are resumed there
	Ended []job.ID // jobs that have ended by it
	Kept  int      // leases that wait for their owner
	Next  job.ID   // where the next step begins; "" when there is none
}

// Lapsed returns the hosts beside one whose right to run is over, and that are not
// known as lost yet or have leases.
func (db *DB) Lapsed(ctx context.Context, self string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := db.read.QueryContext(ctx, `
		SELECT id
		FROM host
		WHERE id <> $1 AND lease_until < `+db.text.clock+`
			AND (lost_at IS NULL OR EXISTS (SELECT 1 FROM job_lease l WHERE l.host_id = host.id))
		ORDER BY id`, self)
	hosts, err := onlyColumn[string](rows, err)
	if err != nil {
		return nil, fmt.Errorf("look for lost hosts: %w", db.fault(err))
	}
	return hosts, nil
}

// Reap takes from a host whose right to run is over the leases behind the job
// after, some at a time. Jobs that may be retried after a loss run again elsewhere,
// and those with a checkpoint are resumed there. What else it had waits for it, and
// ends as lost, or canceled, once it is lost for longer than lostAfter. A host that
// is back has nothing taken. To repeat a step, or to take it beside another reaper,
// does no harm.
func (db *DB) Reap(ctx context.Context, self, host string, after job.ID, lostAfter time.Duration) (Reaped, error) {
	var r Reaped
	err := db.write(ctx, func(ctx context.Context, tx transaction) (err error) {
		r, err = db.reap(ctx, tx, self, host, after, lostAfter)
		return err
	})
	if err != nil {
		return Reaped{}, fmt.Errorf("take the jobs of lost host %s: %w", host, err)
	}
	return r, nil
}

func (db *DB) reap(ctx context.Context, tx transaction, self, host string, after job.ID, lostAfter time.Duration) (r Reaped, err error) {
	// What leases to it has been committed, or sees that it is lost.
	if err := lock(ctx, tx, db.text.lockHost, host); err != nil {
		return r, err
	}
	var over bool
	err = tx.QueryRowContext(ctx, `
		UPDATE host
		SET state = CASE WHEN state = 'stopped' THEN state ELSE 'lost' END, lost_at = COALESCE(lost_at, `+db.text.clock+`)
		WHERE id = $1 AND id <> $2 AND lease_until < `+db.text.clock+`
		RETURNING name, lost_at < `+db.text.until, host, self, -lostAfter.Microseconds()).Scan(&r.Host, &over)
	if errors.Is(err, sql.ErrNoRows) {
		return Reaped{}, nil // it is back
	}
	if err != nil {
		return r, err
	}
	if after == "" {
		after = leastID
	}
	ids, err := keepLeases(ctx, tx, host, after, db.text)
	if err != nil || len(ids) == 0 {
		return r, err
	}
	if len(ids) == reapSteps {
		r.Next = ids[len(ids)-1]
	}
	leases, err := orphans(ctx, tx, host, ids, db.text)
	if err != nil {
		return r, err
	}
	for _, o := range leases {
		o.over, o.name = over, r.Host
		if err := o.settle(ctx, tx, &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

// keepLeases returns the next jobs that a host has leases of, which nobody else
// takes until the commit. Those that somebody else is taking now are passed over.
func keepLeases(ctx context.Context, tx transaction, host string, after job.ID, text dialect) ([]job.ID, error) {
	rows, err := tx.QueryContext(ctx, `
		SELECT job_id
		FROM job_lease
		WHERE host_id = $1 AND job_id > $2
		ORDER BY job_id
		LIMIT $3 `+text.skipLocked, host, string(after), reapSteps)
	return onlyColumn[job.ID](rows, err)
}

// orphan is a lease of a host that is lost.
type orphan struct {
	job.Lease
	name       string // of the host
	over       bool   // it is lost for too long
	retries    int
	startedAt  time.Time
	canceled   bool
	by         string
	retry      *job.Retry
	checkpoint bool
}

func orphans(ctx context.Context, tx transaction, host string, ids []job.ID, text dialect) (found []orphan, err error) {
	rows, err := tx.QueryContext(ctx, `
		SELECT l.job_id, l.attempt, l.epoch, l.retries, l.started_at, l.cancel_at IS NOT NULL, l.cancel_by, j.retry,
			EXISTS (SELECT 1 FROM checkpoint c WHERE c.job_id = l.job_id)
		FROM job_lease l
		JOIN job j ON j.id = l.job_id
		WHERE l.host_id = $2 AND l.job_id IN (`+text.idsOf+`)
		ORDER BY l.job_id`, *toJSON(ids), host)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		o := orphan{Lease: job.Lease{HostID: host}}
		err := rows.Scan((*string)(&o.JobID), &o.Attempt, &o.Epoch, &o.retries, fromTime(&o.startedAt), &o.canceled, orZero(&o.by),
			fromJSON(&o.retry), &o.checkpoint)
		if err != nil {
			return nil, err
		}
		found = append(found, o)
	}
	return found, rows.Err()
}

// settle does with the job of a lease what its owner cannot do any more.
func (o *orphan) settle(ctx context.Context, tx transaction, r *Reaped) error {
	elsewhere := o.retry.RunsElsewhere(o.retries)
	switch {
	case o.canceled && (elsewhere || o.over):
		r.Ended = append(r.Ended, o.JobID)
		return o.end(ctx, tx, job.Canceled, job.CanceledWhileLost(o.by, o.name))
	case o.canceled:
	case o.checkpoint || elsewhere:
		r.Again++
		return o.again(ctx, tx)
	case o.over:
		r.Ended = append(r.Ended, o.JobID)
		return o.end(ctx, tx, job.Failed, job.LostForGood(o.name))
	}
	r.Kept++
	return nil
}

// take consumes the lease, and returns the end of its attempt.
func (o *orphan) take(ctx context.Context, tx transaction, status job.Status, why *job.Error) (job.End, error) {
	e := job.End{Lease: o.Lease, Outcome: job.Outcome{
		Status: status, Error: why, StartedAt: o.startedAt, EndedAt: now(), Remains: job.RemainsOfLost(o.name),
	}}
	e.Epoch = 0 // nobody's: a late end by the owner is no repeat of this one
	_, err := tx.ExecContext(ctx, "DELETE FROM job_lease WHERE job_id = $1 AND attempt = $2", string(o.JobID), o.Attempt)
	if err != nil {
		return e, err
	}
	return e, insertAttempt(ctx, tx, e, toTime(o.startedAt))
}

// again lets another host have the job: from its checkpoint, or anew.
func (o *orphan) again(ctx context.Context, tx transaction) error {
	e, err := o.take(ctx, tx, job.Failed, job.LostWith(o.name))
	if err != nil {
		return err
	}
	next := again{id: o.JobID, attempt: o.Attempt + 1, retries: o.retries, resume: o.checkpoint}
	if !o.checkpoint {
		next.retries++
		if err := dropCheckpoint(ctx, tx, e); err != nil {
			return err
		}
	}
	return requeue(ctx, tx, next, headTurn)
}

func (o *orphan) end(ctx context.Context, tx transaction, status job.Status, why *job.Error) error {
	e, err := o.take(ctx, tx, status, why)
	if err != nil {
		return err
	}
	if err := dropCheckpoint(ctx, tx, e); err != nil {
		return err
	}
	return endWaiting(ctx, tx, o.JobID, o.Attempt, status, o.by, why)
}
