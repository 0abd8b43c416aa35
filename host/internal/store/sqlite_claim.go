package store

import (
	"context"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

func (s *lite) claim(ctx context.Context, c Claim) ([]job.Claimed, error) {
	var claimed []job.Claimed
	err := s.do(ctx, func(tx transaction) error {
		claimed = nil
		if err := current(context.Background(), tx, c.Host, c.Epoch, ""); err != nil {
			return err
		}
		may, err := mayHave(tx, c.Host, c.Epoch)
		if err != nil || !may {
			return err
		}
		at := now()
		pick := firstReady
		if c.Lanes {
			pick = newLanes(tx, c.Host).pick
		}
		picked, err := pick(tx, c)
		if err != nil {
			return err
		}
		for _, id := range picked {
			taken, err := lease(tx, id, c, at)
			if err != nil {
				return err
			}
			claimed = append(claimed, taken)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

// lease gives a waiting job to a host.
func lease(tx transaction, id job.ID, c Claim, at time.Time) (job.Claimed, error) {
	taken := job.Claimed{Job: &job.Job{}, Lease: job.Lease{HostID: c.Host, Epoch: c.Epoch}}
	err := tx.QueryRowContext(context.Background(), "SELECT "+jobRequest+`, r.attempt, r.retries, r.resume
		FROM job_ready r
		CROSS JOIN job j
		WHERE r.job_id = $1 AND j.id = r.job_id`, string(id)).
		Scan(append(requestFields(taken.Job), &taken.Lease.Attempt, &taken.Retries, &taken.Resume)...)
	if err != nil {
		return taken, err
	}
	accept(&taken, at)
	_, err = tx.ExecContext(context.Background(), `
		INSERT INTO job_lease (job_id, attempt, host_id, epoch, username, command_id, cluster_id, retries, resume, created_at, updated_at)
		SELECT job_id, attempt, $2, $3, username, command_id, cluster_id, retries, resume, created_at, $4
		FROM job_ready
		WHERE job_id = $1`, string(id), c.Host, c.Epoch, stamp(at))
	if err != nil {
		return taken, err
	}
	_, err = tx.ExecContext(context.Background(), "DELETE FROM job_ready WHERE job_id = $1", string(id))
	return taken, err
}

// firstReady reads the first jobs of the queue that the host can run.
func firstReady(tx transaction, c Claim) ([]job.ID, error) {
	rows, err := tx.QueryContext(context.Background(), `
		SELECT job_id
		FROM job_ready r
		WHERE EXISTS (SELECT 1 FROM host_command h WHERE h.host_id = $1 AND h.command_id = r.command_id)
			AND NOT EXISTS (SELECT 1 FROM cap)
		ORDER BY priority DESC, turn, created_at, job_id
		LIMIT $2`, c.Host, c.Most)
	return onlyColumn[job.ID](rows, err)
}
