package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// pickReady takes the first jobs of the queue.
const pickReady = `
WITH
	picked AS MATERIALIZED (
		SELECT job_id
		FROM job_ready r
		WHERE EXISTS (SELECT 1 FROM host_command h WHERE h.host_id = $1 AND h.command_id = r.command_id)
			AND EXISTS (SELECT 1 FROM host WHERE host.id = $1 AND host.epoch = $2 AND ` + mayClaim + `)
			AND NOT EXISTS (SELECT 1 FROM host_lacks_cluster k WHERE k.host_id = $1 AND k.cluster_id = r.cluster_id)
			AND NOT EXISTS (SELECT 1 FROM cap)
		ORDER BY priority DESC, turn, created_at, job_id
		LIMIT $3
		FOR UPDATE SKIP LOCKED
	)`

// pickLanes takes the first jobs of the open lanes. Of all that are open, those
// with the first heads hold the first jobs.
const pickLanes = `
WITH RECURSIVE
	claimer AS (SELECT host.id FROM host WHERE host.id = $1 AND host.epoch = $2 AND ` + mayClaim + `),` + openLanes + `,
	first_lane AS MATERIALIZED (
		SELECT l.*
		FROM open_lane l
		CROSS JOIN LATERAL (
			SELECT priority, turn, created_at, job_id
			FROM job_ready r
			WHERE r.command_id = l.command_id AND r.cluster_id = l.cluster_id AND r.username = l.username
			ORDER BY priority DESC, turn, created_at, job_id
			LIMIT 1
		) head
		ORDER BY head.priority DESC, head.turn, head.created_at, head.job_id
		LIMIT $3
	),
	found AS (
		SELECT
			r.*,
			l.command_room,
			l.cluster_room,
			l.user_room,
			row_number() OVER (PARTITION BY l.command_id ORDER BY priority DESC, turn, created_at, job_id) AS of_command,
			row_number() OVER (PARTITION BY l.cluster_id ORDER BY priority DESC, turn, created_at, job_id) AS of_cluster,
			row_number() OVER (PARTITION BY l.username ORDER BY priority DESC, turn, created_at, job_id) AS of_user
		FROM first_lane l
		CROSS JOIN LATERAL (
			SELECT priority, turn, created_at, job_id
			FROM job_ready q
			WHERE q.command_id = l.command_id AND q.cluster_id = l.cluster_id AND q.username = l.username
			ORDER BY priority DESC, turn, created_at, job_id
			LIMIT $3
		) r
	),
	picked AS MATERIALIZED (
		SELECT r.job_id
		FROM found f
		JOIN job_ready r ON r.job_id = f.job_id
		WHERE of_command <= command_room AND of_cluster <= cluster_room AND of_user <= user_room
		ORDER BY f.priority DESC, f.turn, f.created_at, f.job_id
		LIMIT $3
		FOR UPDATE OF r SKIP LOCKED
	)`

// takePicked goes on with one of these.
const takePicked = `,
	taken AS (
		DELETE FROM job_ready r
		USING picked
		WHERE r.job_id = picked.job_id
		RETURNING r.*
	),
	leased AS (
		INSERT INTO job_lease (job_id, attempt, host_id, epoch, username, command_id, cluster_id, retries, resume, created_at, updated_at)
		SELECT job_id, attempt, $1, $2, username, command_id, cluster_id, retries, resume, created_at, $4
		FROM taken
	)
SELECT ` + jobRequest + `, t.attempt, t.retries, t.resume
FROM taken t
JOIN job j ON j.id = t.job_id
ORDER BY t.priority DESC, t.turn, t.created_at, t.job_id`

func (p *postgres) claim(ctx context.Context, c Claim) ([]job.Claimed, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	claimed, err := p.claimReady(ctx, c)
	return claimed, p.fault(err)
}

func (p *postgres) claimReady(ctx context.Context, c Claim) (claimed []job.Claimed, err error) {
	at := now()
	var work pgx.Batch
	work.Queue(shareHosts, []string{c.Host})
	work.Queue("SELECT EXISTS (SELECT 1 FROM host WHERE id = $1 AND epoch = $2)", c.Host, c.Epoch)
	query := pickReady + takePicked
	if c.Lanes {
		work.Queue(lockCaps)
		query = pickLanes + takePicked
	}
	work.Queue(query, c.Host, c.Epoch, c.Most, at)
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
	if c.Lanes {
		if _, err := results.Exec(); err != nil {
			return nil, err
		}
	}
	rows, err := results.Query()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		taken := job.Claimed{Job: &job.Job{}, Lease: job.Lease{HostID: c.Host, Epoch: c.Epoch}}
		if err := rows.Scan(append(requestFields(taken.Job), &taken.Lease.Attempt, &taken.Retries, &taken.Resume)...); err != nil {
			return nil, err
		}
		accept(&taken, at)
		claimed = append(claimed, taken)
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
