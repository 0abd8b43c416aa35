-- +goose Up

-- The trace context of the request that a job comes from (W3C traceparent).
ALTER TABLE job ADD COLUMN trace TEXT;
