-- +goose Up

ALTER TABLE host
	ADD COLUMN address text NOT NULL DEFAULT '', -- of its API, for other hosts
	ADD COLUMN version text NOT NULL DEFAULT '',
	ADD COLUMN state text NOT NULL DEFAULT 'stopped', -- live, draining, stopped, lost
	ADD COLUMN slots integer NOT NULL DEFAULT 0,
	ADD COLUMN revision text NOT NULL DEFAULT '', -- of its catalog
	ADD COLUMN plugins jsonb, -- names to versions, of those that can be used
	ADD COLUMN started_at timestamptz,
	ADD COLUMN lost_at timestamptz; -- when it was found to be lost

-- The commands that a host can run: it knows them, and their plugins can be used.
CREATE TABLE host_command (
	host_id text NOT NULL,
	command_id text NOT NULL,
	PRIMARY KEY (host_id, command_id)
);

-- How many jobs may run at once, over all hosts. The id of a user's is '': it is
-- that of each user.
CREATE TABLE cap (
	kind text NOT NULL, -- command, cluster, user
	id text NOT NULL,
	max_running integer NOT NULL,
	PRIMARY KEY (kind, id)
);

ALTER TABLE job
	ADD COLUMN retry json,
	ADD COLUMN start_after timestamptz,
	ADD COLUMN deadline timestamptz,
	ADD COLUMN unique_key text;

-- A job that waits has its turn: one more than the last of its user, and not less
-- than the first of all, so that users take turns.
ALTER TABLE job_ready
	ADD COLUMN turn bigint NOT NULL DEFAULT 0,
	ADD COLUMN username text NOT NULL DEFAULT '',
	ADD COLUMN command_id text NOT NULL DEFAULT '',
	ADD COLUMN cluster_id text NOT NULL DEFAULT '',
	ADD COLUMN retries integer NOT NULL DEFAULT 0,
	ADD COLUMN resume boolean NOT NULL DEFAULT false, -- it goes on from its checkpoint
	ADD COLUMN deadline timestamptz;
UPDATE job_ready r
SET username = j.username, command_id = j.command_id, cluster_id = j.cluster_id
FROM job j
WHERE j.id = r.job_id;
DROP INDEX job_ready_queue;
CREATE INDEX job_ready_queue ON job_ready (priority DESC, turn, created_at, job_id);
CREATE INDEX job_ready_lane ON job_ready (command_id, cluster_id, username, priority DESC, turn, created_at, job_id);
CREATE INDEX job_ready_user ON job_ready (username, priority, turn);
CREATE INDEX job_ready_deadline ON job_ready (deadline) WHERE deadline IS NOT NULL;

-- NEW: may not run before due_at.
CREATE TABLE job_later (
	job_id uuid PRIMARY KEY,
	due_at timestamptz NOT NULL,
	attempt integer NOT NULL, -- the next one
	retries integer NOT NULL DEFAULT 0,
	created_at timestamptz NOT NULL, -- of the job
	updated_at timestamptz NOT NULL
);
CREATE INDEX job_later_due ON job_later (due_at);
CREATE INDEX job_later_created ON job_later (created_at, job_id);
CREATE INDEX job_later_updated ON job_later (updated_at, job_id);

ALTER TABLE job_lease
	ADD COLUMN username text NOT NULL DEFAULT '',
	ADD COLUMN command_id text NOT NULL DEFAULT '',
	ADD COLUMN cluster_id text NOT NULL DEFAULT '',
	ADD COLUMN retries integer NOT NULL DEFAULT 0,
	ADD COLUMN resume boolean NOT NULL DEFAULT false;
UPDATE job_lease l
SET username = j.username, command_id = j.command_id, cluster_id = j.cluster_id
FROM job j
WHERE j.id = l.job_id;
UPDATE job_lease
SET resume = true
WHERE started_at IS NOT NULL
	AND EXISTS (SELECT 1 FROM checkpoint c WHERE c.job_id = job_lease.job_id AND c.attempt < job_lease.attempt);
CREATE INDEX job_lease_host ON job_lease (host_id);
CREATE INDEX job_lease_command ON job_lease (command_id);
CREATE INDEX job_lease_cluster ON job_lease (cluster_id);
CREATE INDEX job_lease_user ON job_lease (username);

ALTER TABLE attempt
	ADD COLUMN command_id text NOT NULL DEFAULT '',
	ADD COLUMN cluster_id text NOT NULL DEFAULT '',
	ADD COLUMN status text NOT NULL DEFAULT '';

-- The keys that callers gave to submissions, so that a repeat is known.
CREATE TABLE idempotency (
	username text NOT NULL,
	key text NOT NULL,
	job_id uuid NOT NULL,
	digest bytea NOT NULL, -- of the request
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (username, key)
);
CREATE INDEX idempotency_expires ON idempotency (expires_at);

-- The unique keys of jobs that have not ended.
CREATE TABLE job_unique (
	username text NOT NULL,
	key text NOT NULL,
	job_id uuid NOT NULL UNIQUE,
	PRIMARY KEY (username, key)
);

ALTER TABLE job_later SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
	autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000);
