-- +goose Up

-- The files that came with a job, a JSON list; NULL when there are none.
ALTER TABLE job ADD COLUMN attachments TEXT;
