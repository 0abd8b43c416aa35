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

// Columns of the members of a batch, in the order of their calls.
const (
	memberTypes = `
			$1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
			$10::bigint[], $11::text[], $12::text[], $13::text[], $14::text[], $15::boolean[], $16::text[], $17::timestamptz[],
			$18::boolean[], $19::text[], $20::bigint[], $21::smallint[], $22::text[], $23::timestamptz[], $24::timestamptz[], $25::text[], $26::text[], $27::text[]`
	memberNames = `
			id, username, name, version, description, context, command_criteria, cluster_criteria, tags,
			timeout, command_id, command_name, cluster_id, cluster_name, is_sync, resolution, created_at,
			claim, host_id, epoch, priority, retry, start_after, deadline, unique_key, trace, attachments`
	// Of those that may be leased, the how many-th of its command, its cluster, its
	// user each is.
	placeTypes = `, $28::integer[], $29::integer[], $30::integer[]`
	placeNames = `, of_command, of_cluster, of_user`
)

// admitFree lets a host have the jobs that it submits while nothing waits.
const admitFree = `
WITH
	member AS MATERIALIZED (
		SELECT *
		FROM unnest(` + memberTypes + `) WITH ORDINALITY AS t (` + memberNames + `, n)
	),
	input AS MATERIALIZED (
		SELECT
			t.*,
			claim
				AND (SELECT job_id FROM job_ready ORDER BY priority DESC, turn, created_at, job_id LIMIT 1) IS NULL
				AND NOT EXISTS (SELECT 1 FROM cap)
				AND EXISTS (SELECT 1 FROM host WHERE host.id = t.host_id AND ` + mayClaim + ` AND host.epoch = t.epoch) AS lease
		FROM member t
	),`

// admitLanes lets it have them while nothing waits that it could run, and caps
// leave room for them.
const admitLanes = `
WITH RECURSIVE
	member AS MATERIALIZED (
		SELECT *
		FROM unnest(` + memberTypes + placeTypes + `) WITH ORDINALITY AS t (` + memberNames + placeNames + `, n)
	),
	claimer AS (SELECT host_id AS id FROM member WHERE claim LIMIT 1),` + openLanes + `,
	room AS MATERIALIZED (
		SELECT 'command' AS kind, t.command_id AS id, ` + commandRoom + ` AS room
		FROM (SELECT DISTINCT command_id FROM member WHERE claim) t
		UNION ALL
		SELECT 'cluster', t.cluster_id, ` + clusterRoom + `
		FROM (SELECT DISTINCT cluster_id FROM member WHERE claim) t
		UNION ALL
		SELECT 'user', t.username, ` + userRoom + `
		FROM (SELECT DISTINCT username FROM member WHERE claim) t
	),
	input AS MATERIALIZED (
		SELECT
			t.*,
			claim
				AND (SELECT command_id FROM open_lane LIMIT 1) IS NULL
				AND EXISTS (SELECT 1 FROM host WHERE host.id = t.host_id AND ` + mayClaim + ` AND host.epoch = t.epoch)
				AND NOT EXISTS (
					SELECT 1
					FROM room r
					WHERE (r.kind = 'command' AND r.id = t.command_id AND t.of_command > r.room)
						OR (r.kind = 'cluster' AND r.id = t.cluster_id AND t.of_cluster > r.room)
						OR (r.kind = 'user' AND r.id = t.username AND t.of_user > r.room))
				AS lease
		FROM member t
	),`

// recordJobs goes on with one of these.
const recordJobs = `
	recorded AS (
		INSERT INTO job (id, username, name, version, description, context, command_criteria, cluster_criteria,
			tags, timeout, command_id, command_name, cluster_id, cluster_name, is_sync, resolution, created_at,
			priority, retry, start_after, deadline, unique_key, trace, attachments)
		SELECT id, username, name, version, description, context::json, command_criteria::json, cluster_criteria::json,
			tags::jsonb, timeout, command_id, command_name, cluster_id, cluster_name, is_sync, resolution::json, created_at,
			priority, retry::json, start_after, deadline, unique_key, trace, attachments::json
		FROM input
	),
	leased AS (
		INSERT INTO job_lease (job_id, attempt, host_id, epoch, username, command_id, cluster_id, created_at, updated_at)
		SELECT id, 1, host_id, epoch, username, command_id, cluster_id, created_at, created_at
		FROM input
		WHERE lease
	),
	later AS (
		INSERT INTO job_later (job_id, due_at, attempt, username, created_at, updated_at)
		SELECT id, start_after, 1, username, created_at, created_at
		FROM input
		WHERE start_after IS NOT NULL
	),
	waiting AS (
		SELECT *, row_number() OVER (PARTITION BY username, priority ORDER BY n) AS nth
		FROM input
		WHERE NOT lease AND start_after IS NULL
	),
	ready AS (
		INSERT INTO job_ready (priority, turn, created_at, job_id, attempt, username, command_id, cluster_id, deadline, updated_at)
		SELECT
			priority,
			max(CASE WHEN nth = 1 THEN COALESCE(
				(SELECT turn + 1 FROM job_ready r WHERE r.username = w.username AND r.priority = w.priority ORDER BY turn DESC LIMIT 1),
				(SELECT turn FROM job_ready r WHERE r.priority = w.priority ORDER BY turn LIMIT 1),
				0) END) OVER (PARTITION BY username, priority) + nth - 1,
			created_at, id, 1, username, command_id, cluster_id, deadline, created_at
		FROM waiting w
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
	query := admitFree + recordJobs
	lanes := slices.ContainsFunc(batch, func(k *call[Submission, bool]) bool { return k.in.Lanes })
	if lanes {
		query = admitLanes + recordJobs
		if len(hosts) > 0 {
			work.Queue(lockCaps)
		}
	}
	args := []any{
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
		list(batch, func(s Submission) int16 { return int16(s.Job.Priority) }),
		null(func(j *job.Job) *string { return encode(j.Retry, j.Retry == nil) }),
		list(batch, func(s Submission) *time.Time { return toTime(s.Job.StartAfter) }),
		list(batch, func(s Submission) *time.Time { return toTime(s.Job.Deadline) }),
		null(func(j *job.Job) *string { return orNull(j.UniqueKey) }),
		null(func(j *job.Job) *string { return orNull(string(j.Trace)) }),
		null(func(j *job.Job) *string { return encode(j.Attachments, len(j.Attachments) == 0) }),
	}
	if lanes {
		args = append(args,
			ordinals(batch, claims, func(j *job.Job) string { return j.Pair.CommandID }),
			ordinals(batch, claims, func(j *job.Job) string { return j.Pair.ClusterID }),
			ordinals(batch, claims, func(j *job.Job) string { return j.User }))
	}
	work.Queue(query, args...).Query(members(batch))
	insertTags(batch, work)
}

// ordinals counts the members of a batch that may be leased by what they have in
// common: the first of its kind is 1.
func ordinals(batch []*call[Submission, bool], claims []bool, of func(*job.Job) string) []int32 {
	ordinals, seen := make([]int32, len(batch)), map[string]int32{}
	for i, k := range batch {
		if kind := of(k.in.Job); claims[i] {
			seen[kind]++
			ordinals[i] = seen[kind]
		}
	}
	return ordinals
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
// sorted. Behind one that found no free slot the others wait too: they are
// younger. One that is to start later is in nobody's way.
func claimsOf(batch []*call[Submission, bool]) (claims []bool, hosts []string) {
	claims = make([]bool, len(batch))
	for i, k := range batch {
		if !k.in.Job.StartAfter.IsZero() {
			continue
		}
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
