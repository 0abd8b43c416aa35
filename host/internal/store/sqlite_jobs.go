package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

func (s *lite) submit(ctx context.Context, sub Submission) (bool, error) {
	j := *sub.Job
	j.CreatedAt = orNow(j.CreatedAt)
	sub.Job = &j
	var leased bool
	err := s.do(ctx, func(tx transaction) (err error) {
		leased = false
		if err := insertJob(context.Background(), tx, &j); err != nil {
			return err
		}
		if !j.StartAfter.IsZero() {
			return postpone(context.Background(), tx, again{id: j.ID, attempt: 1}, j.StartAfter)
		}
		if sub.Claim {
			if leased, err = admits(tx, sub); err != nil {
				return err
			}
		}
		if !leased {
			return requeue(context.Background(), tx, again{id: j.ID, attempt: 1}, nextTurn)
		}
		return insertLease(tx, job.Lease{JobID: j.ID, Attempt: 1, HostID: sub.Host, Epoch: sub.Epoch}, &j, j.CreatedAt)
	})
	if err != nil {
		return false, err // leased may still be written: the caller may have left early
	}
	return leased, nil
}

// admits reports whether a host may have a job that it submits: its right to run
// is not over, nothing waits that it could run, and caps leave room.
func admits(tx transaction, s Submission) (bool, error) {
	if may, err := mayHave(tx, s.Host, s.Epoch); err != nil || !may {
		return false, err
	}
	if !s.Lanes {
		var waits bool
		err := tx.QueryRowContext(context.Background(), "SELECT EXISTS (SELECT 1 FROM job_ready) OR EXISTS (SELECT 1 FROM cap)").Scan(&waits)
		return !waits, err
	}
	l := newLanes(tx, s.Host)
	if open, err := l.open(); err != nil || len(open) > 0 {
		return false, err
	}
	return l.room(lane{s.Job.Pair.CommandID, s.Job.Pair.ClusterID, s.Job.User})
}

// mayHave reports whether the right of a host to run is not over.
func mayHave(tx transaction, host string, epoch int64) (may bool, err error) {
	err = tx.QueryRowContext(context.Background(), `
		SELECT EXISTS (
			SELECT 1
			FROM host
			WHERE id = $1 AND epoch = $2 AND `+liveUntil+liteClock+`)`, host, epoch).Scan(&may)
	return may, err
}

func insertLease(tx transaction, l job.Lease, j *job.Job, at time.Time) error {
	_, err := tx.ExecContext(context.Background(), `
		INSERT INTO job_lease (job_id, attempt, host_id, epoch, username, command_id, cluster_id, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		string(l.JobID), l.Attempt, l.HostID, l.Epoch, j.User, j.Pair.CommandID, j.Pair.ClusterID, stamp(j.CreatedAt), stamp(at))
	return err
}

func (s *lite) end(ctx context.Context, e job.End) (bool, error) {
	var consumed bool
	err := s.do(ctx, func(tx transaction) error {
		consumed = false
		var by, startedAt any
		err := tx.QueryRowContext(context.Background(), `
			DELETE FROM job_lease
			WHERE job_id = $1 AND attempt = $2 AND host_id = $3 AND epoch = $4
			RETURNING cancel_by, started_at`,
			string(e.JobID), e.Attempt, e.HostID, e.Epoch).Scan(&by, &startedAt)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if at := toTime(e.StartedAt); at != nil {
			startedAt = *at
		}
		consumed = true
		if err := insertAttempt(context.Background(), tx, e, startedAt); err != nil {
			return err
		}
		if unsettled(e) {
			if err := dropCheckpoint(context.Background(), tx, e); err != nil {
				return err
			}
			if err := dropKept(context.Background(), tx, e.JobID); err != nil {
				return err
			}
		}
		r := resultOf(e)
		_, err = tx.ExecContext(context.Background(), `
			INSERT INTO job_end (job_id, attempt, status, cancel_by, error, outputs, result_type, result_rows,
				result_bytes, result_inline, result_object, ended_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
			string(e.JobID), e.Attempt, string(e.Status), by, encode(e.Error, e.Error == nil), toJSON(e.Outputs), r.kind, r.Rows,
			r.Bytes, r.Inline, r.Object, stamp(e.EndedAt))
		return err
	})
	if err != nil {
		return false, err
	}
	return consumed, nil
}

// unsettled reports whether a job that ends may have a checkpoint, a unique key, or
// something to clean up.
func unsettled(e job.End) bool { return e.Saved || e.Checkpoint != nil || e.Remains != "" || e.Unique }

// result is a result as it is written: kind is nil when there is none.
type result struct {
	job.Result
	kind *string
}

func resultOf(e job.End) result {
	if e.Result == nil {
		return result{}
	}
	return result{*e.Result, &e.Result.ContentType}
}

func (s *lite) started(ctx context.Context, leases []job.Lease, at time.Time) error {
	return s.do(ctx, func(tx transaction) error {
		for _, l := range leases {
			_, err := tx.ExecContext(context.Background(), `
				UPDATE job_lease
				SET started_at = $5, updated_at = $5
				WHERE job_id = $1 AND attempt = $2 AND host_id = $3 AND epoch = $4 AND started_at IS NULL`,
				string(l.JobID), l.Attempt, l.HostID, l.Epoch, at)
			if err != nil {
				return err
			}
		}
		return nil
	})
}
