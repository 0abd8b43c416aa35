-- +goose Up

ALTER TABLE host ADD COLUMN address TEXT NOT NULL DEFAULT ''; -- of its API, for other hosts
ALTER TABLE host ADD COLUMN version TEXT NOT NULL DEFAULT '';
ALTER TABLE host ADD COLUMN state TEXT NOT NULL DEFAULT 'stopped'; -- live, draining, stopped, lost
ALTER TABLE host ADD COLUMN slots INTEGER NOT NULL DEFAULT 0;
ALTER TABLE host ADD COLUMN revision TEXT NOT NULL DEFAULT ''; -- of its catalog
ALTER TABLE host ADD COLUMN plugins TEXT; -- names to versions, of those that can be used
ALTER TABLE host ADD COLUMN started_at INTEGER;
ALTER TABLE host ADD COLUMN lost_at INTEGER; -- when it was found to be lost

-- The commands that a host can run: it knows them, and their plugins can be used.
CREATE TABLE host_command (
	host_id TEXT NOT NULL,
	command_id TEXT NOT NULL,
	PRIMARY KEY (host_id, command_id)
) STRICT, WITHOUT ROWID;

-- How many jobs may run at once, over all hosts. The id of a user's is '': it is
-- that of each user.
CREATE TABLE cap (
	kind TEXT NOT NULL, -- command, cluster, user
	id TEXT NOT NULL,
	max_running INTEGER NOT NULL,
	PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

ALTER TABLE job ADD COLUMN retry TEXT;
ALTER TABLE job ADD COLUMN start_after INTEGER;
ALTER TABLE job ADD COLUMN deadline INTEGER;
ALTER TABLE job ADD COLUMN unique_key TEXT;

-- A job that waits has its turn: one more than the last of its user, and not less
-- than the first of all, so that users take turns.
ALTER TABLE job_ready ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job_ready ADD COLUMN username TEXT NOT NULL DEFAULT '';
ALTER TABLE job_ready ADD COLUMN command_id TEXT NOT NULL DEFAULT '';
ALTER TABLE job_ready ADD COLUMN cluster_id TEXT NOT NULL DEFAULT '';
ALTER TABLE job_ready ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job_ready ADD COLUMN resume INTEGER NOT NULL DEFAULT 0; -- it goes on from its checkpoint
ALTER TABLE job_ready ADD COLUMN deadline INTEGER;
UPDATE job_ready
SET (username, command_id, cluster_id) = (SELECT j.username, j.command_id, j.cluster_id FROM job j WHERE j.id = job_id);
DROP INDEX job_ready_queue;
CREATE INDEX job_ready_queue ON job_ready (priority DESC, turn, created_at, job_id);
CREATE INDEX job_ready_lane ON job_ready (command_id, cluster_id, username, priority DESC, turn, created_at, job_id);
CREATE INDEX job_ready_user ON job_ready (username, priority, turn);
CREATE INDEX job_ready_deadline ON job_ready (deadline) WHERE deadline IS NOT NULL;

-- NEW: may not run before due_at.
CREATE TABLE job_later (
	job_id TEXT PRIMARY KEY,
	due_at INTEGER NOT NULL,
	attempt INTEGER NOT NULL, -- the next one
	retries INTEGER NOT NULL DEFAULT 0,
	created_at INTEGER NOT NULL, -- of the job
	updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX job_later_due ON job_later (due_at);
CREATE INDEX job_later_created ON job_later (created_at, job_id);
CREATE INDEX job_later_updated ON job_later (updated_at, job_id);

ALTER TABLE job_lease ADD COLUMN username TEXT NOT NULL DEFAULT '';
ALTER TABLE job_lease ADD COLUMN command_id TEXT NOT NULL DEFAULT '';
ALTER TABLE job_lease ADD COLUMN cluster_id TEXT NOT NULL DEFAULT '';
ALTER TABLE job_lease ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job_lease ADD COLUMN resume INTEGER NOT NULL DEFAULT 0;
UPDATE job_lease
SET (username, command_id, cluster_id) = (SELECT j.username, j.command_id, j.cluster_id FROM job j WHERE j.id = job_id);
UPDATE job_lease
SET resume = 1
WHERE started_at IS NOT NULL
	AND EXISTS (SELECT 1 FROM checkpoint c WHERE c.job_id = job_lease.job_id AND c.attempt < job_lease.attempt);
CREATE INDEX job_lease_host ON job_lease (host_id);
CREATE INDEX job_lease_command ON job_lease (command_id);
CREATE INDEX job_lease_cluster ON job_lease (cluster_id);
CREATE INDEX job_lease_user ON job_lease (username);

ALTER TABLE attempt ADD COLUMN command_id TEXT NOT NULL DEFAULT '';
ALTER TABLE attempt ADD COLUMN cluster_id TEXT NOT NULL DEFAULT '';
ALTER TABLE attempt ADD COLUMN status TEXT NOT NULL DEFAULT '';

-- The keys that callers gave to submissions, so that a repeat is known.
CREATE TABLE idempotency (
	username TEXT NOT NULL,
	key TEXT NOT NULL,
	job_id TEXT NOT NULL,
	digest BLOB NOT NULL, -- of the request
	expires_at INTEGER NOT NULL,
	PRIMARY KEY (username, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_expires ON idempotency (expires_at);

-- The unique keys of jobs that have not ended.
CREATE TABLE job_unique (
	username TEXT NOT NULL,
	key TEXT NOT NULL,
	job_id TEXT NOT NULL UNIQUE,
	PRIMARY KEY (username, key)
) STRICT, WITHOUT ROWID;
