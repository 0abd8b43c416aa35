-- +goose Up

-- The last checkpoint of a job that has not ended, with what the job had shown
-- until then.
CREATE TABLE checkpoint (
	job_id TEXT PRIMARY KEY,
	attempt INTEGER NOT NULL, -- that saved it
	format INTEGER NOT NULL,
	data BLOB NOT NULL,
	outputs TEXT,
	usage TEXT
) STRICT;

-- Attempts that ended with an unknown outcome and whose remains are still to be
-- removed by the host that ran them.
CREATE TABLE cleanup (
	job_id TEXT NOT NULL,
	attempt INTEGER NOT NULL,
	host_id TEXT NOT NULL,
	reason TEXT NOT NULL,
	format INTEGER, -- of the last checkpoint; null: there was none
	data BLOB,
	tries INTEGER NOT NULL DEFAULT 0,
	due_at INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	PRIMARY KEY (job_id, attempt)
) STRICT;
CREATE INDEX cleanup_due ON cleanup (host_id, due_at);
