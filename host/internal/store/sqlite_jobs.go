package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

func (s *lite) submit(ctx context.Context, sub Submission) (bool, error) {
	j := sub.Job
	if j.CreatedAt.IsZero() {
		j = new(*j)
		j.CreatedAt = now()
	}
	args := []any{
		string(j.ID),
		j.User,
		j.Name,
		j.Version,
		j.Description,
		toText(j.Context),
		toJSON(j.CommandCriteria),
		toJSON(j.ClusterCriteria),
		toJSON(j.Tags),
		int64(j.Timeout),
		j.Pair.CommandID,
		j.Pair.CommandName,
		j.Pair.ClusterID,
		j.Pair.ClusterName,
		j.Sync,
		toText(j.Resolution),
		stamp(j.CreatedAt),
	}
	var leased bool
	err := s.do(ctx, func(tx transaction) error {
		leased = false
		_, err := tx.ExecContext(context.Background(), `
			INSERT INTO job (id, username, name, version, description, context, command_criteria, cluster_criteria,
				tags, timeout, command_id, command_name, cluster_id, cluster_name, is_sync, resolution, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`, args...)
		if err != nil {
			return err
		}
		for _, t := range ownTags(j) {
			if _, err := tx.ExecContext(context.Background(), "INSERT INTO job_tag (tag, job_id) VALUES ($1, $2)", t, string(j.ID)); err != nil {
				return err
			}
		}
		if sub.Claim {
			n, err := affected(tx, `
				INSERT INTO job_lease (job_id, attempt, host_id, epoch, created_at, updated_at)
				SELECT $1, 1, $2, $3, $4, $4
				WHERE NOT EXISTS (SELECT 1 FROM job_ready)
					AND EXISTS (SELECT 1 FROM host WHERE id = $2 AND epoch = $3)`,
				string(j.ID), sub.Host, sub.Epoch, stamp(j.CreatedAt))
			if err != nil || n > 0 {
				leased = n > 0
				return err
			}
		}
		_, err = tx.ExecContext(context.Background(), `
			INSERT INTO job_ready (priority, created_at, job_id, attempt, updated_at)
			VALUES (0, $2, $1, 1, $2)`, string(j.ID), stamp(j.CreatedAt))
		return err
	})
	if err != nil {
		return false, err // leased may still be written: the caller may have left early
	}
	return leased, nil
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
		if err := dropCheckpoint(tx, e); err != nil {
			return err
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

// dropCheckpoint removes the checkpoint of a job that ends. It goes with what is
// left to clean up, if anything is.
func dropCheckpoint(tx transaction, e job.End) error {
	if e.Remains != "" {
		_, err := tx.ExecContext(context.Background(), `
			INSERT INTO cleanup (job_id, attempt, host_id, reason, format, data, due_at, created_at)
			SELECT $1, $2, $3, $4, c.format, c.data, $5, $5
			FROM (SELECT 1)
			LEFT JOIN checkpoint c ON c.job_id = $1`,
			string(e.JobID), e.Attempt, e.HostID, e.Remains, stamp(e.EndedAt))
		if err != nil {
			return err
		}
	}
	if !unsettled(e) {
		return nil
	}
	_, err := tx.ExecContext(context.Background(), "DELETE FROM checkpoint WHERE job_id = $1", string(e.JobID))
	return err
}

// unsettled reports whether a job that ends may have a checkpoint, or something
// to clean up.
func unsettled(e job.End) bool { return e.Checkpoint != nil || e.Remains != "" }

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

func (s *lite) claim(ctx context.Context, host string, epoch int64, n int) ([]job.Claimed, error) {
	var claimed []job.Claimed
	err := s.do(ctx, func(tx transaction) error {
		var err error
		if err = current(tx, host, epoch); err != nil {
			return err
		}
		if claimed, err = oldest(tx, n); err != nil {
			return err
		}
		at := now()
		for i := range claimed {
			l := &claimed[i].Lease
			l.HostID, l.Epoch = host, epoch
			if _, err := tx.ExecContext(context.Background(), "DELETE FROM job_ready WHERE job_id = $1", string(l.JobID)); err != nil {
				return err
			}
			_, err := tx.ExecContext(context.Background(), `
				INSERT INTO job_lease (job_id, attempt, host_id, epoch, created_at, updated_at)
				VALUES ($1, $2, $3, $4, $5, $6)`,
				string(l.JobID), l.Attempt, host, epoch, stamp(claimed[i].Job.CreatedAt), at)
			if err != nil {
				return err
			}
			accept(&claimed[i], at)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

// accept gives a job the state that its claim gave it.
func accept(c *job.Claimed, at time.Time) {
	c.Job.Status = job.Accepted
	c.Job.Attempt, c.Job.HostID, c.Job.UpdatedAt = c.Lease.Attempt, c.Lease.HostID, at
}

// current returns ErrFenced when the epoch of a host is over.
func current(tx transaction, host string, epoch int64) error {
	var is bool
	err := tx.QueryRowContext(context.Background(), "SELECT EXISTS (SELECT 1 FROM host WHERE id = $1 AND epoch = $2)", host, epoch).Scan(&is)
	if err == nil && !is {
		return ErrFenced
	}
	return err
}

// oldest reads the first n jobs of the queue.
func oldest(tx transaction, n int) ([]job.Claimed, error) {
	rows, err := tx.QueryContext(context.Background(), "SELECT "+jobRequest+`, r.attempt
		FROM job_ready r
		CROSS JOIN job j
		WHERE j.id = r.job_id
		ORDER BY r.priority DESC, r.created_at, r.job_id
		LIMIT $1`, n)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var claimed []job.Claimed
	for rows.Next() {
		c := job.Claimed{Job: &job.Job{}}
		if err := rows.Scan(append(requestFields(c.Job), &c.Lease.Attempt)...); err != nil {
			return nil, err
		}
		c.Lease.JobID = c.Job.ID
		claimed = append(claimed, c)
	}
	return claimed, rows.Err()
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

func affected(tx transaction, query string, args ...any) (int64, error) {
	result, err := tx.ExecContext(context.Background(), query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
