package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

func (p *postgres) end(ctx context.Context, e job.End) (bool, error) {
	return p.ends.do(ctx, e)
}

func endSize(e job.End) int {
	n := 500
	if e.Result != nil {
		n += len(e.Result.Inline)
	}
	if e.Error != nil {
		n += len(e.Error.Message)
	}
	for _, o := range e.Outputs {
		n += len(o.Key) + len(o.Value)
	}
	return n
}

const insertEndsQuery = `
WITH
	input AS MATERIALIZED (
		SELECT *
		FROM unnest(
			$1::uuid[], $2::integer[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
			$10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::text[], $15::bigint[], $16::bigint[], $17::bytea[], $18::text[],
			$19::timestamptz[], $20::timestamptz[], $21::text[]
		) WITH ORDINALITY AS t (
			job_id, attempt, host_id, epoch, status, error, outputs, usage, build,
			stdout, stderr, stdout_bytes, stderr_bytes, result_type, result_rows, result_bytes, result_inline, result_object,
			started_at, ended_at, remains, n)
	),
	gone AS (
		DELETE FROM job_lease l
		USING input i
		WHERE l.job_id = i.job_id AND l.attempt = i.attempt AND l.host_id = i.host_id AND l.epoch = i.epoch
		RETURNING i.*, l.cancel_by, l.started_at AS marked_at, l.command_id, l.cluster_id
	),
	tried AS (
		INSERT INTO attempt (job_id, attempt, host_id, epoch, command_id, cluster_id, build, status, error, usage, stdout, stderr,
			stdout_bytes, stderr_bytes, started_at, ended_at)
		SELECT job_id, attempt, host_id, epoch, command_id, cluster_id, build, status, error::json, usage::json, stdout, stderr,
			stdout_bytes, stderr_bytes, COALESCE(started_at, marked_at), ended_at
		FROM gone
	),
	ended AS (
		INSERT INTO job_end (job_id, attempt, status, cancel_by, error, outputs, result_type, result_rows,
			result_bytes, result_inline, result_object, ended_at)
		SELECT job_id, attempt, status, cancel_by, error::json, outputs::json, result_type, result_rows,
			result_bytes, result_inline, result_object, ended_at
		FROM gone
	)`

// insertCleanups goes on with insertEndsQuery for batches in which a job may have
// something to clean up. Most have not.
const insertCleanups = `,
	unclean AS (
		INSERT INTO cleanup (job_id, attempt, host_id, reason, due_at, created_at)
		SELECT job_id, attempt, host_id, remains, ended_at, ended_at
		FROM gone
		WHERE remains <> ''
	)`

const endedMembers = `
SELECT n
FROM gone`

// dropUnique comes behind these for the jobs that may have a unique key.
const dropUnique = `
DELETE FROM job_unique u
USING job_end e
WHERE u.job_id = ANY ($1::uuid[]) AND e.job_id = u.job_id`

// dropCheckpoints does for those that may have a checkpoint, and gives it to what is
// left to clean up. It is a statement of its own: the one before it
// has waited for the saves that were under way, and does not see what they wrote.
const dropCheckpoints = `
WITH dropped AS (
	DELETE FROM checkpoint c
	USING job_end e
	WHERE c.job_id = ANY ($1::uuid[]) AND e.job_id = c.job_id
	RETURNING c.job_id, e.attempt, c.format, c.data
)
UPDATE cleanup u
SET format = d.format, data = d.data
FROM dropped d
WHERE u.job_id = d.job_id AND u.attempt = d.attempt`

func insertEnds(batch []*call[job.End, bool], work *pgx.Batch) {
	text := func(get func(job.End) string) []string { return list(batch, get) }
	null := func(get func(job.End) *string) []*string { return list(batch, get) }
	number := func(get func(job.End) int64) []int64 { return list(batch, get) }
	var open [][16]byte
	for _, k := range batch {
		if unsettled(k.in) {
			open = append(open, key(k.in.JobID))
		}
	}
	query := insertEndsQuery + endedMembers
	if len(open) > 0 {
		query = insertEndsQuery + insertCleanups + endedMembers
	}
	work.Queue(query,
		list(batch, func(e job.End) [16]byte { return key(e.JobID) }),
		list(batch, func(e job.End) int32 { return int32(e.Attempt) }),
		text(func(e job.End) string { return e.HostID }),
		number(func(e job.End) int64 { return e.Epoch }),
		text(func(e job.End) string { return string(e.Status) }),
		null(func(e job.End) *string { return encode(e.Error, e.Error == nil) }),
		null(func(e job.End) *string { return toJSON(e.Outputs) }),
		null(func(e job.End) *string { return encode(e.Usage, len(e.Usage) == 0) }),
		text(func(e job.End) string { return e.Build }),
		text(func(e job.End) string { return e.Logs.Stdout }),
		text(func(e job.End) string { return e.Logs.Stderr }),
		number(func(e job.End) int64 { return e.Logs.StdoutBytes }),
		number(func(e job.End) int64 { return e.Logs.StderrBytes }),
		null(func(e job.End) *string { return resultOf(e).kind }),
		number(func(e job.End) int64 { return resultOf(e).Rows }),
		number(func(e job.End) int64 { return resultOf(e).Bytes }),
		list(batch, func(e job.End) []byte { return resultOf(e).Inline }),
		text(func(e job.End) string { return resultOf(e).Object }),
		list(batch, func(e job.End) *time.Time { return toTime(e.StartedAt) }),
		list(batch, func(e job.End) time.Time { return orNow(e.EndedAt) }),
		text(func(e job.End) string { return e.Remains }),
	).Query(members(batch))
	if len(open) > 0 {
		work.Queue(dropCheckpoints, open)
		work.Queue(dropUnique, open)
	}
}
