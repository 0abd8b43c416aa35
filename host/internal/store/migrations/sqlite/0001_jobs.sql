-- +goose Up

-- Times are microseconds since 1970 in UTC; ids are UUIDs in lower case.

-- A host that runs jobs. Its epoch grows with each start; the right to run ends
-- at lease_until.
CREATE TABLE host (
	id TEXT PRIMARY KEY,
	name TEXT NOT NULL,
	epoch INTEGER NOT NULL,
	lease_until INTEGER
) STRICT, WITHOUT ROWID;

-- The commands and clusters that a choice was made from.
CREATE TABLE catalog_revision (
	revision TEXT PRIMARY KEY,
	content BLOB NOT NULL,
	saved_at INTEGER NOT NULL
) STRICT;

-- What was asked for and how the pair was chosen. Never updated: the state of a
-- job is which one of job_ready, job_lease and job_end has its row.
CREATE TABLE job (
	id TEXT PRIMARY KEY,
	username TEXT NOT NULL,
	name TEXT NOT NULL,
	version TEXT NOT NULL,
	description TEXT NOT NULL,
	context TEXT,
	command_criteria TEXT,
	cluster_criteria TEXT,
	tags TEXT,
	timeout INTEGER NOT NULL, -- nanoseconds
	command_id TEXT NOT NULL,
	command_name TEXT NOT NULL,
	cluster_id TEXT NOT NULL,
	cluster_name TEXT NOT NULL,
	is_sync INTEGER NOT NULL,
	priority INTEGER NOT NULL DEFAULT 0,
	resolution TEXT,
	created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX job_created ON job (created_at, id);

-- NEW: waits for a host. The first index is the order of the queue.
CREATE TABLE job_ready (
	priority INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	job_id TEXT PRIMARY KEY,
	attempt INTEGER NOT NULL, -- the next one
	updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX job_ready_queue ON job_ready (priority DESC, created_at, job_id);
CREATE INDEX job_ready_created ON job_ready (created_at, job_id);
CREATE INDEX job_ready_updated ON job_ready (updated_at, job_id);

-- ACCEPTED, RUNNING (started_at is set) or CANCELING (cancel_at is set).
CREATE TABLE job_lease (
	job_id TEXT PRIMARY KEY,
	attempt INTEGER NOT NULL,
	host_id TEXT NOT NULL,
	epoch INTEGER NOT NULL,
	started_at INTEGER,
	cancel_at INTEGER,
	cancel_by TEXT,
	created_at INTEGER NOT NULL, -- of the job
	updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX job_lease_cancel ON job_lease (host_id) WHERE cancel_at IS NOT NULL;

-- SUCCEEDED, FAILED, KILLED or CANCELED, for ever.
CREATE TABLE job_end (
	job_id TEXT PRIMARY KEY,
	attempt INTEGER NOT NULL, -- the last one; 0: there was none
	status TEXT NOT NULL,
	cancel_by TEXT,
	error TEXT,
	outputs TEXT,
	result_type TEXT, -- null: no result
	result_rows INTEGER NOT NULL DEFAULT 0,
	result_bytes INTEGER NOT NULL DEFAULT 0,
	result_inline BLOB,
	result_object TEXT NOT NULL DEFAULT '',
	ended_at INTEGER NOT NULL
) STRICT;
CREATE INDEX job_end_ended ON job_end (ended_at, job_id);
CREATE INDEX job_end_status ON job_end (status, job_id) WHERE status <> 'SUCCEEDED';

-- An attempt that has ended.
CREATE TABLE attempt (
	job_id TEXT NOT NULL,
	attempt INTEGER NOT NULL,
	host_id TEXT NOT NULL,
	epoch INTEGER NOT NULL,
	build TEXT NOT NULL,
	error TEXT,
	usage TEXT,
	stdout TEXT NOT NULL,
	stderr TEXT NOT NULL,
	stdout_bytes INTEGER NOT NULL,
	stderr_bytes INTEGER NOT NULL,
	started_at INTEGER,
	ended_at INTEGER NOT NULL,
	PRIMARY KEY (job_id, attempt)
) STRICT, WITHOUT ROWID;
