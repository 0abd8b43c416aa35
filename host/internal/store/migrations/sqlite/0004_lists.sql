-- +goose Up

-- For each filter of a list, what has a value, in the order of ids. An id begins
-- with the time that the job was created at. Most commands and clusters are named
-- as their ids are, and then have no entry for the name.
DROP INDEX job_created;
CREATE INDEX job_username ON job (username, id);
CREATE INDEX job_name ON job (name, id);
CREATE INDEX job_version ON job (version, id);
CREATE INDEX job_command ON job (command_id, id);
CREATE INDEX job_command_name ON job (command_name, id) WHERE command_name <> command_id;
CREATE INDEX job_cluster ON job (cluster_id, id);
CREATE INDEX job_cluster_name ON job (cluster_name, id) WHERE cluster_name <> cluster_id;

DROP INDEX job_ready_created;
DROP INDEX job_later_created;
DROP INDEX job_end_status;
CREATE INDEX job_end_status ON job_end (status, job_id);

-- The tags of jobs, without the system tags: these are columns of the job.
CREATE TABLE job_tag (
	tag TEXT NOT NULL,
	job_id TEXT NOT NULL,
	PRIMARY KEY (tag, job_id)
) STRICT, WITHOUT ROWID;
INSERT INTO job_tag (tag, job_id)
SELECT DISTINCT t.value, j.id
FROM job j, json_each(j.tags) t
WHERE t.value NOT LIKE '\_id:%' ESCAPE '\' AND t.value NOT LIKE '\_name:%' ESCAPE '\' AND t.value NOT LIKE '\_version:%' ESCAPE '\';
