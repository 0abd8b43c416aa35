package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// reportRow is a report on its way to the database.
type reportRow struct {
	ID      job.ID `json:"id"`
	Attempt int    `json:"attempt"`
	Report  string `json:"report"`
}

// The rows of reportRow in the JSON list $1.
const (
	postgresReports = "SELECT * FROM json_to_recordset(CAST($1 AS json)) AS t (id uuid, attempt integer, report text)"
	liteReports     = "SELECT value ->> 'id' AS id, value ->> 'attempt' AS attempt, value ->> 'report' AS report FROM json_each($1)"
)

// SaveReports keeps what running attempts of a host have said of themselves, until they
// end. Those whose leases are gone, or about to change, are passed over.
func (db *DB) SaveReports(ctx context.Context, host string, epoch int64, reports map[job.Lease]job.Report) error {
	var rows []reportRow
	for l, report := range reports {
		if err := checkID(l.JobID); err != nil {
			return err
		}
		text, err := json.Marshal(report)
		if err != nil {
			return fmt.Errorf("keep the report of job %s: %w", l.JobID, err)
		}
		rows = append(rows, reportRow{l.JobID, l.Attempt, string(text)})
	}
	if len(rows) == 0 {
		return nil
	}
	err := db.write(ctx, func(ctx context.Context, tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE job_lease
			SET report = r.report
			FROM (
				SELECT l.job_id, t.report
				FROM (`+db.text.reportsOf+`) AS t
				JOIN job_lease l ON l.job_id = t.id AND l.attempt = t.attempt
				WHERE l.host_id = $2 AND l.epoch = $3
				`+db.text.lockLeases+`) AS r
			WHERE job_lease.job_id = r.job_id`, encode(rows, false), host, epoch)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep what running jobs say: %w", err)
	}
	return nil
}

// Report returns what was kept last of what the running attempt of a job has said; zero:
// nothing, or none runs.
func (db *DB) Report(ctx context.Context, id job.ID) (report job.Report, err error) {
	if err := checkID(id); err != nil {
		return report, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var text sql.RawBytes
	rows, err := db.read.QueryContext(ctx, "SELECT report FROM job_lease WHERE job_id = $1 AND report IS NOT NULL", string(id))
	if err == nil {
		defer func() { _ = rows.Close() }()
		for rows.Next() && err == nil {
			if err = rows.Scan(&text); err == nil {
				err = json.Unmarshal(text, &report)
			}
		}
		err = errors.Join(err, rows.Err())
	}
	if err != nil {
		return job.Report{}, fmt.Errorf("read what job %s says: %w", id, db.fault(err))
	}
	return report, nil
}
