package store

// A lane is the jobs of one user that wait for one command and one cluster. A
// host that cannot run all that waits, or that caps hold back, looks at the heads
// of lanes, so that it never reads its way through what it may not have.

// mayClaim is true of a host whose right to run is not over.
const mayClaim = liveUntil + "clock_timestamp()"

// lockCaps keeps others from leasing what a cap counts until the commit. It is a
// statement of its own: the one behind it counts what was leased before.
const lockCaps = "SELECT pg_advisory_xact_lock(hashtextextended('heimdall caps', 0))"

// Each of these is how many more jobs a cap lets run of the command, the cluster
// or the user of a row t; null when there is no cap. No more is counted than the
// cap is, which also makes the planner go by the index alone: a bitmap of it would
// be one of all the leases that ended since the last vacuum, each time.
const (
	commandRoom = `(SELECT k.max_running - (SELECT count(*) FROM (SELECT FROM job_lease l WHERE l.command_id = t.command_id LIMIT k.max_running) AS leased)
			FROM cap k WHERE k.kind = 'command' AND k.id = t.command_id)`
	clusterRoom = `(SELECT k.max_running - (SELECT count(*) FROM (SELECT FROM job_lease l WHERE l.cluster_id = t.cluster_id LIMIT k.max_running) AS leased)
			FROM cap k WHERE k.kind = 'cluster' AND k.id = t.cluster_id)`
	userRoom = `(SELECT k.max_running - (SELECT count(*) FROM (SELECT FROM job_lease l WHERE l.username = t.username LIMIT k.max_running) AS leased)
			FROM cap k WHERE k.kind = 'user' AND k.id = '')`
)

// openLanes finds the lanes from which the host of the row claimer may take jobs,
// and how many. Commands, and the lanes of one command, are found by stepping
// through an index from each to the next.
const openLanes = `
	waiting_command (command_id) AS (
		(SELECT command_id FROM job_ready ORDER BY command_id LIMIT 1)
		UNION ALL
		SELECT (SELECT r.command_id FROM job_ready r WHERE r.command_id > c.command_id ORDER BY r.command_id LIMIT 1)
		FROM waiting_command c
		WHERE c.command_id IS NOT NULL
	),
	command AS MATERIALIZED (
		SELECT t.command_id, COALESCE(` + commandRoom + `, 1000000000) AS room
		FROM waiting_command t
		CROSS JOIN claimer
		JOIN host_command h ON h.host_id = claimer.id AND h.command_id = t.command_id
	),
	lane (command_id, command_room, cluster_id, username) AS (
		SELECT c.command_id, c.room, r.cluster_id, r.username
		FROM command c
		CROSS JOIN LATERAL (
			SELECT cluster_id, username
			FROM job_ready
			WHERE command_id = c.command_id
			ORDER BY cluster_id, username
			LIMIT 1
		) r
		WHERE c.room > 0
		UNION ALL
		SELECT l.command_id, l.command_room, r.cluster_id, r.username
		FROM lane l
		CROSS JOIN LATERAL (
			SELECT cluster_id, username
			FROM job_ready
			WHERE command_id = l.command_id AND (cluster_id, username) > (l.cluster_id, l.username)
			ORDER BY cluster_id, username
			LIMIT 1
		) r
	),
	placed_lane AS (
		SELECT
			l.*,
			row_number() OVER (PARTITION BY cluster_id) AS of_cluster,
			row_number() OVER (PARTITION BY username) AS of_user
		FROM lane l
	),
	roomy_lane AS (
		SELECT
			t.*,
			COALESCE(max(CASE WHEN of_cluster = 1 THEN ` + clusterRoom + ` END) OVER (PARTITION BY cluster_id), 1000000000) AS cluster_room,
			COALESCE(max(CASE WHEN of_user = 1 THEN ` + userRoom + ` END) OVER (PARTITION BY username), 1000000000) AS user_room
		FROM placed_lane t
	),
	open_lane AS MATERIALIZED (
		SELECT *
		FROM roomy_lane r
		WHERE cluster_room > 0 AND user_room > 0
			AND NOT EXISTS (SELECT 1 FROM claimer JOIN host_lacks_cluster k ON k.host_id = claimer.id AND k.cluster_id = r.cluster_id)
	)`
