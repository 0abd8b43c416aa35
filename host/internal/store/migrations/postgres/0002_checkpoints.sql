-- +goose Up

-- The last checkpoint of a job that has not ended, with what the job had shown
-- until then.
CREATE TABLE checkpoint (
	job_id uuid PRIMARY KEY,
	attempt integer NOT NULL, -- that saved it
	format integer NOT NULL,
	data bytea NOT NULL,
	outputs json,
	usage json
) WITH (fillfactor = 70);

-- Attempts that ended with an unknown outcome and whose remains are still to be
-- removed by the host that ran them.
CREATE TABLE cleanup (
	job_id uuid NOT NULL,
	attempt integer NOT NULL,
	host_id text NOT NULL,
	reason text NOT NULL,
	format integer, -- of the last checkpoint; null: there was none
	data bytea,
	tries integer NOT NULL DEFAULT 0,
	due_at timestamptz NOT NULL,
	created_at timestamptz NOT NULL,
	PRIMARY KEY (job_id, attempt)
);
CREATE INDEX cleanup_due ON cleanup (host_id, due_at);
