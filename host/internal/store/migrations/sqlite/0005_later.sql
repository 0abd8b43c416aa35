-- +goose Up

-- The user of a job that waits for a time, so that these are counted without the
-- rows of their jobs.
ALTER TABLE job_later ADD COLUMN username TEXT NOT NULL DEFAULT '';
UPDATE job_later
SET username = (SELECT j.username FROM job j WHERE j.id = job_id)
WHERE EXISTS (SELECT 1 FROM job j WHERE j.id = job_id);
