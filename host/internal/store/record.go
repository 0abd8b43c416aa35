package store

import (
	"context"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// insertJob writes what was asked for. It is the same on both databases; PostgreSQL
// has a statement of its own for many at once.
func insertJob(ctx context.Context, tx transaction, j *job.Job) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO job (id, username, name, version, description, context, command_criteria, cluster_criteria,
			tags, timeout, command_id, command_name, cluster_id, cluster_name, is_sync, resolution, created_at,
			priority, retry, start_after, deadline, unique_key, trace, attachments)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)`,
		string(j.ID), j.User, j.Name, j.Version, j.Description, toText(j.Context), toJSON(j.CommandCriteria), toJSON(j.ClusterCriteria),
		toJSON(j.Tags), int64(j.Timeout), j.Pair.CommandID, j.Pair.CommandName, j.Pair.ClusterID, j.Pair.ClusterName, j.Sync,
		toText(j.Resolution), orNow(j.CreatedAt),
		j.Priority, encode(j.Retry, j.Retry == nil), toTime(j.StartAfter), toTime(j.Deadline), orNull(j.UniqueKey), orNull(string(j.Trace)),
		encode(j.Attachments, len(j.Attachments) == 0))
	if err != nil {
		return err
	}
	for _, t := range ownTags(j) {
		if _, err := tx.ExecContext(ctx, "INSERT INTO job_tag (tag, job_id) VALUES ($1, $2)", t, string(j.ID)); err != nil {
			return err
		}
	}
	return nil
}
