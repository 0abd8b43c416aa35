-- +goose Up

-- What a running attempt has said of itself, for other hosts than its own: JSON, and
-- only of attempts that take a while.
ALTER TABLE job_lease ADD COLUMN report TEXT;
