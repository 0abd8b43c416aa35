package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

const claimReady = `
WITH
	picked AS MATERIALIZED (
		SELECT job_id
		FROM job_ready
		WHERE EXISTS (SELECT 1 FROM host WHERE id = $1 AND epoch = $2)
		ORDER BY priority DESC, created_at, job_id
		LIMIT $3
		FOR UPDATE SKIP LOCKED
	),
	taken AS (
		DELETE FROM job_ready r
		USING picked
		WHERE r.job_id = picked.job_id
		RETURNING r.job_id, r.attempt, r.priority, r.created_at
	),
	leased AS (
		INSERT INTO job_lease (job_id, attempt, host_id, epoch, created_at, updated_at)
		SELECT job_id, attempt, $1, $2, created_at, $4
		FROM taken
	)
SELECT ` + jobRequest + `, t.attempt
FROM taken t
JOIN job j ON j.id = t.job_id
ORDER BY t.priority DESC, j.created_at, j.id`

func (p *postgres) claim(ctx context.Context, host string, epoch int64, n int) ([]job.Claimed, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	claimed, err := p.claimReady(ctx, host, epoch, n)
	return claimed, p.fault(err)
}

func (p *postgres) claimReady(ctx context.Context, host string, epoch int64, n int) (claimed []job.Claimed, err error) {
	at := now()
	var work pgx.Batch
	work.Queue(shareHosts, []string{host})
	work.Queue("SELECT EXISTS (SELECT 1 FROM host WHERE id = $1 AND epoch = $2)", host, epoch)
	work.Queue(claimReady, host, epoch, n, at)
	results := p.pool.SendBatch(ctx, &work)
	defer func() { err = errors.Join(err, results.Close()) }()
	if _, err := results.Exec(); err != nil {
		return nil, err
	}
	var current bool
	if err := results.QueryRow().Scan(&current); err != nil {
		return nil, err
	}
	if !current {
		return nil, ErrFenced
	}
	rows, err := results.Query()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		c := job.Claimed{Job: &job.Job{}, Lease: job.Lease{HostID: host, Epoch: epoch}}
		if err := rows.Scan(append(requestFields(c.Job), &c.Lease.Attempt)...); err != nil {
			return nil, err
		}
		c.Lease.JobID = c.Job.ID
		accept(&c, at)
		claimed = append(claimed, c)
	}
	return claimed, rows.Err()
}

func (p *postgres) started(ctx context.Context, leases []job.Lease, at time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	n := len(leases)
	ids, attempts, hosts, epochs := make([][16]byte, n), make([]int32, n), make([]string, n), make([]int64, n)
	for i, l := range leases {
		ids[i], attempts[i], hosts[i], epochs[i] = key(l.JobID), int32(l.Attempt), l.HostID, l.Epoch
	}
	_, err := p.pool.Exec(ctx, `
		UPDATE job_lease l
		SET started_at = $5, updated_at = $5
		FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::bigint[]) AS i (job_id, attempt, host_id, epoch)
		WHERE l.job_id = i.job_id AND l.attempt = i.attempt AND l.host_id = i.host_id AND l.epoch = i.epoch
			AND l.started_at IS NULL`, ids, attempts, hosts, epochs, at)
	return p.fault(err)
}
