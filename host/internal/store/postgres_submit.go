package store

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

func (p *postgres) submit(ctx context.Context, s Submission) (bool, error) {
	return p.submits.do(ctx, s)
}

func submissionSize(s Submission) int {
	return 500 + len(s.Job.Context) + len(s.Job.Resolution) + len(s.Job.Description)
}

const insertJobsQuery = `
WITH
	input AS MATERIALIZED (
		SELECT
			t.*,
			claim
				AND (SELECT job_id FROM job_ready ORDER BY priority DESC, created_at, job_id LIMIT 1) IS NULL
				AND EXISTS (SELECT 1 FROM host WHERE host.id = t.host_id AND host.epoch = t.epoch) AS lease
		FROM unnest(
			$1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
			$10::bigint[], $11::text[], $12::text[], $13::text[], $14::text[], $15::boolean[], $16::text[], $17::timestamptz[],
			$18::boolean[], $19::text[], $20::bigint[]
		) WITH ORDINALITY AS t (
			id, username, name, version, description, context, command_criteria, cluster_criteria, tags,
			timeout, command_id, command_name, cluster_id, cluster_name, is_sync, resolution, created_at,
			claim, host_id, epoch, n)
	),
	recorded AS (
		INSERT INTO job (id, username, name, version, description, context, command_criteria, cluster_criteria,
			tags, timeout, command_id, command_name, cluster_id, cluster_name, is_sync, resolution, created_at)
		SELECT id, username, name, version, description, context::json, command_criteria::json, cluster_criteria::json,
			tags::jsonb, timeout, command_id, command_name, cluster_id, cluster_name, is_sync, resolution::json, created_at
		FROM input
	),
	leased AS (
		INSERT INTO job_lease (job_id, attempt, host_id, epoch, created_at, updated_at)
		SELECT id, 1, host_id, epoch, created_at, created_at
		FROM input
		WHERE lease
	),
	waiting AS (
		INSERT INTO job_ready (priority, created_at, job_id, attempt, updated_at)
		SELECT 0, created_at, id, 1, created_at
		FROM input
		WHERE NOT lease
	)
SELECT n
FROM input
WHERE lease`

func insertJobs(batch []*call[Submission, bool], work *pgx.Batch) {
	text := func(get func(*job.Job) string) []string {
		return list(batch, func(s Submission) string { return get(s.Job) })
	}
	null := func(get func(*job.Job) *string) []*string {
		return list(batch, func(s Submission) *string { return get(s.Job) })
	}
	claims, hosts := claimsOf(batch)
	if len(hosts) > 0 {
		work.Queue(shareHosts, hosts)
	}
	work.Queue(insertJobsQuery,
		list(batch, func(s Submission) [16]byte { return key(s.Job.ID) }),
		text(func(j *job.Job) string { return j.User }),
		text(func(j *job.Job) string { return j.Name }),
		text(func(j *job.Job) string { return j.Version }),
		text(func(j *job.Job) string { return j.Description }),
		null(func(j *job.Job) *string { return toText(j.Context) }),
		null(func(j *job.Job) *string { return toJSON(j.CommandCriteria) }),
		null(func(j *job.Job) *string { return toJSON(j.ClusterCriteria) }),
		null(func(j *job.Job) *string { return toJSON(j.Tags) }),
		list(batch, func(s Submission) int64 { return int64(s.Job.Timeout) }),
		text(func(j *job.Job) string { return j.Pair.CommandID }),
		text(func(j *job.Job) string { return j.Pair.CommandName }),
		text(func(j *job.Job) string { return j.Pair.ClusterID }),
		text(func(j *job.Job) string { return j.Pair.ClusterName }),
		list(batch, func(s Submission) bool { return s.Job.Sync }),
		null(func(j *job.Job) *string { return toText(j.Resolution) }),
		list(batch, func(s Submission) time.Time { return orNow(s.Job.CreatedAt) }),
		claims,
		list(batch, func(s Submission) string { return s.Host }),
		list(batch, func(s Submission) int64 { return s.Epoch }),
	).Query(members(batch))
	insertTags(batch, work)
}

// insertTags adds what lists find jobs by their tags with.
func insertTags(batch []*call[Submission, bool], work *pgx.Batch) {
	var (
		tags []string
		jobs [][16]byte
	)
	for _, k := range batch {
		for _, t := range ownTags(k.in.Job) {
			tags, jobs = append(tags, t), append(jobs, key(k.in.Job.ID))
		}
	}
	if len(tags) > 0 {
		work.Queue("INSERT INTO job_tag (tag, job_id) SELECT * FROM unnest($1::text[], $2::uuid[])", tags, jobs)
	}
}

// claimsOf returns which members of a batch may be leased, and their hosts,
// sorted. Behind one that has to wait the others wait too: they are younger.
func claimsOf(batch []*call[Submission, bool]) (claims []bool, hosts []string) {
	claims = make([]bool, len(batch))
	for i, k := range batch {
		if !k.in.Claim {
			break
		}
		claims[i] = true
		hosts = append(hosts, k.in.Host)
	}
	slices.Sort(hosts)
	return claims, slices.Compact(hosts)
}

// key is an id as PostgreSQL keeps it. The caller has checked it.
func key(id job.ID) [16]byte {
	u, err := uuid.Parse(string(id))
	if err != nil {
		return [16]byte{}
	}
	return u
}
