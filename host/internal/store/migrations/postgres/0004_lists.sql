-- +goose Up

-- For each filter of a list, what has a value, in the order of ids. An id begins
-- with the time that the job was created at. Most commands and clusters are named
-- as their ids are, and then have no entry for the name. The order is that of bytes:
-- so an index serves the start of a text whatever the locale of the database.
DROP INDEX job_created;
CREATE INDEX job_username ON job (username COLLATE "C", id);
CREATE INDEX job_name ON job (name COLLATE "C", id);
CREATE INDEX job_version ON job (version COLLATE "C", id);
CREATE INDEX job_command ON job (command_id COLLATE "C", id);
CREATE INDEX job_command_name ON job (command_name COLLATE "C", id) WHERE command_name <> command_id;
CREATE INDEX job_cluster ON job (cluster_id COLLATE "C", id);
CREATE INDEX job_cluster_name ON job (cluster_name COLLATE "C", id) WHERE cluster_name <> cluster_id;

DROP INDEX job_ready_created;
DROP INDEX job_later_created;
DROP INDEX job_end_status;
CREATE INDEX job_end_status ON job_end (status, job_id);

-- The tags of jobs, without the system tags: these are columns of the job.
CREATE TABLE job_tag (
	tag text COLLATE "C" NOT NULL,
	job_id uuid NOT NULL,
	PRIMARY KEY (tag, job_id)
);
INSERT INTO job_tag (tag, job_id)
SELECT DISTINCT t.tag, j.id
FROM job j, jsonb_array_elements_text(j.tags) AS t (tag)
WHERE t.tag NOT LIKE '\_id:%' AND t.tag NOT LIKE '\_name:%' AND t.tag NOT LIKE '\_version:%';
