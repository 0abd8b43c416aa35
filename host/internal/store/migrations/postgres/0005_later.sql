-- +goose Up

-- The user of a job that waits for a time, so that these are counted without the
-- rows of their jobs.
ALTER TABLE job_later ADD COLUMN username text NOT NULL DEFAULT '';
UPDATE job_later d
SET username = j.username
FROM job j
WHERE j.id = d.job_id;
