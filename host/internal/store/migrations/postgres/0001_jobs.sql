-- +goose Up

-- A host that runs jobs. Its epoch grows with each start; the right to run ends
-- at lease_until.
CREATE TABLE host (
	id text PRIMARY KEY,
	name text NOT NULL,
	epoch bigint NOT NULL,
	lease_until timestamptz
) WITH (fillfactor = 20);

-- The commands and clusters that a choice was made from.
CREATE TABLE catalog_revision (
	revision text PRIMARY KEY,
	content bytea NOT NULL,
	saved_at timestamptz NOT NULL
);

-- What was asked for and how the pair was chosen. Never updated: the state of a
-- job is which one of job_ready, job_lease and job_end has its row.
CREATE TABLE job (
	id uuid PRIMARY KEY,
	username text NOT NULL,
	name text NOT NULL,
	version text NOT NULL,
	description text NOT NULL,
	context json,
	command_criteria json,
	cluster_criteria json,
	tags jsonb,
	timeout bigint NOT NULL, -- nanoseconds
	command_id text NOT NULL,
	command_name text NOT NULL,
	cluster_id text NOT NULL,
	cluster_name text NOT NULL,
	is_sync boolean NOT NULL,
	priority smallint NOT NULL DEFAULT 0,
	resolution json,
	created_at timestamptz NOT NULL
);
CREATE INDEX job_created ON job (created_at, id);

-- NEW: waits for a host. The first index is the order of the queue.
CREATE TABLE job_ready (
	priority smallint NOT NULL,
	created_at timestamptz NOT NULL,
	job_id uuid NOT NULL UNIQUE,
	attempt integer NOT NULL, -- the next one
	updated_at timestamptz NOT NULL
);
CREATE INDEX job_ready_queue ON job_ready (priority DESC, created_at, job_id);
CREATE INDEX job_ready_created ON job_ready (created_at, job_id);
CREATE INDEX job_ready_updated ON job_ready (updated_at, job_id);

-- ACCEPTED, RUNNING (started_at is set) or CANCELING (cancel_at is set).
CREATE TABLE job_lease (
	job_id uuid PRIMARY KEY,
	attempt integer NOT NULL,
	host_id text NOT NULL,
	epoch bigint NOT NULL,
	started_at timestamptz,
	cancel_at timestamptz,
	cancel_by text,
	created_at timestamptz NOT NULL, -- of the job
	updated_at timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX job_lease_cancel ON job_lease (host_id) WHERE cancel_at IS NOT NULL;

-- SUCCEEDED, FAILED, KILLED or CANCELED, for ever.
CREATE TABLE job_end (
	job_id uuid PRIMARY KEY,
	attempt integer NOT NULL, -- the last one; 0: there was none
	status text NOT NULL,
	cancel_by text,
	error json,
	outputs json,
	result_type text, -- null: no result
	result_rows bigint NOT NULL DEFAULT 0,
	result_bytes bigint NOT NULL DEFAULT 0,
	result_inline bytea,
	result_object text NOT NULL DEFAULT '',
	ended_at timestamptz NOT NULL
);
CREATE INDEX job_end_ended ON job_end (ended_at, job_id);
CREATE INDEX job_end_status ON job_end (status, job_id) WHERE status <> 'SUCCEEDED';

-- An attempt that has ended.
CREATE TABLE attempt (
	job_id uuid NOT NULL,
	attempt integer NOT NULL,
	host_id text NOT NULL,
	epoch bigint NOT NULL,
	build text NOT NULL,
	error json,
	usage json,
	stdout text NOT NULL,
	stderr text NOT NULL,
	stdout_bytes bigint NOT NULL,
	stderr_bytes bigint NOT NULL,
	started_at timestamptz,
	ended_at timestamptz NOT NULL,
	PRIMARY KEY (job_id, attempt)
);

-- Rows of these come and go with each job: they are cleaned by number of dead
-- rows, not by share.
ALTER TABLE job_ready SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
	autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000);
ALTER TABLE job_lease SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
	autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000);
ALTER TABLE host SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
