package runner

import (
	"context"
	"fmt"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// Cleanup has the plugin of an attempt remove what that may have left outside,
// with the settings and secrets of now, whatever the status of the pair.
func (r *Runner) Cleanup(ctx context.Context, c job.Cleanup) error {
	pair, snapshot := c.Job.Pair, r.Catalog.Snapshot()
	command, cluster := snapshot.Command(pair.CommandID), snapshot.Cluster(pair.ClusterID)
	if command == nil || cluster == nil {
		return fmt.Errorf("command %q or cluster %q is not in force any more", pair.CommandID, pair.ClusterID)
	}
	settings, secrets, err := r.settings(command, cluster)
	if err != nil {
		return err
	}
	attempt := job.Claimed{Job: c.Job, Lease: job.Lease{JobID: c.Job.ID, Attempt: c.Attempt}}
	return r.Plugins.Cleanup(ctx, pluginhost.Remains{
		Request: pluginhost.Request{
			Plugin:        command.Plugin,
			PluginVersion: command.PluginVersion,
			AttemptID:     attemptID(attempt),
			Attempt:       c.Attempt,
			Checkpoint:    checkpoint(c.Checkpoint),
			Job:           jobInfo(c.Job),
			Settings:      settings,
			Secrets:       secrets,
			Folders:       r.folders(attempt),
		},
		Reason: c.Reason,
	})
}
