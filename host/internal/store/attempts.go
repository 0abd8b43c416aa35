package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Attempts returns the attempts of a job that have ended, the first one first.
func (db *DB) Attempts(ctx context.Context, id job.ID) ([]job.Attempt, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	attempts, err := db.reads.attempts.do(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read the attempts of job %s: %w", id, waited(err))
	}
	return attempts, nil
}

// attempts reads those of one job.
func (db *DB) attempts(ctx context.Context, id job.ID) ([]job.Attempt, error) {
	rows, err := db.read.QueryContext(ctx, selectAttempts+`job_id = $1 ORDER BY attempt`, string(id))
	found, err := attemptsByJob(rows, err)
	return found[id], err
}

// attemptsOf reads those of several jobs.
func (db *DB) attemptsOf(ctx context.Context, ids []job.ID) (map[job.ID][]job.Attempt, error) {
	rows, err := db.read.QueryContext(ctx, selectAttempts+`job_id IN (`+db.text.idsOf+`) ORDER BY job_id, attempt`, *toJSON(ids))
	return attemptsByJob(rows, err)
}

const selectAttempts = `
	SELECT job_id, attempt, host_id, command_id, cluster_id, build, status, error, started_at, ended_at,
		stdout, stderr, stdout_bytes, stderr_bytes
	FROM attempt
	WHERE `

// attemptsByJob reads the rows of selectAttempts, and closes them.
func attemptsByJob(rows *sql.Rows, err error) (map[job.ID][]job.Attempt, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	found := map[job.ID][]job.Attempt{}
	for rows.Next() {
		var (
			id job.ID
			a  job.Attempt
		)
		err := rows.Scan((*string)(&id), &a.Attempt, &a.HostID, &a.CommandID, &a.ClusterID, &a.Build, (*string)(&a.Status),
			fromJSON(&a.Error), fromTime(&a.StartedAt), fromTime(&a.EndedAt),
			&a.Logs.Stdout, &a.Logs.Stderr, &a.Logs.StdoutBytes, &a.Logs.StderrBytes)
		if err != nil {
			return nil, err
		}
		found[id] = append(found[id], a)
	}
	return found, rows.Err()
}
