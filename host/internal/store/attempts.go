package store

import (
	"context"
	"fmt"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Attempts returns the attempts of a job that have ended, the first one first.
func (db *DB) Attempts(ctx context.Context, id job.ID) ([]job.Attempt, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	attempts, err := db.attempts(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read the attempts of job %s: %w", id, db.fault(err))
	}
	return attempts, nil
}

func (db *DB) attempts(ctx context.Context, id job.ID) (attempts []job.Attempt, err error) {
	rows, err := db.read.QueryContext(ctx, `
		SELECT attempt, host_id, command_id, cluster_id, build, status, error, started_at, ended_at
		FROM attempt
		WHERE job_id = $1
		ORDER BY attempt`, string(id))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var a job.Attempt
		err := rows.Scan(&a.Attempt, &a.HostID, &a.CommandID, &a.ClusterID, &a.Build, (*string)(&a.Status),
			fromJSON(&a.Error), fromTime(&a.StartedAt), fromTime(&a.EndedAt))
		if err != nil {
			return nil, err
		}
		attempts = append(attempts, a)
	}
	return attempts, rows.Err()
}
