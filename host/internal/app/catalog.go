package app

import (
	"context"
	"errors"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// inForce gives the registry the catalog in force, which needs the registry to be
// made: what may be known of its file's objects.
type inForce struct{ h *host }

// Entries returns one side of the catalog in force.
func (f inForce) Entries(kind catalog.Kind) []*catalog.Entry { return f.h.catalog.Entries(kind) }

// Snapshot returns the catalog in force.
func (f inForce) Snapshot() *catalog.Snapshot { return f.h.catalog.Snapshot() }

// Refresh puts changes into force.
func (f inForce) Refresh(ctx context.Context) error { return f.h.catalog.Refresh(ctx) }

// Check asks the plugin of a command about a cluster.
func (f inForce) Check(ctx context.Context, command *catalog.Command, cluster *catalog.Cluster) (pluginhost.Health, error) {
	return f.h.runner.Check(ctx, command, cluster)
}

// canRun reports whether this host can run jobs of a pair.
func (h *host) canRun(j *job.Job) bool {
	cluster := h.catalog.Snapshot().Cluster(j.Pair.ClusterID)
	return h.presence.Here(j.Pair.CommandID) && (cluster == nil || !cluster.Elsewhere)
}

// public returns the context of an object of the file as everybody may know it.
func (h *host) public(e *catalog.Entry) []byte { return h.registry.Public(e) }

// allow refuses references of a context that no file declares, which this host does
// not allow.
func (h *host) allow(context []byte) error {
	if faults := h.Config.Secrets.Allow(context); len(faults) > 0 {
		return errors.New(faults[0].Pointer + ": " + faults[0].Detail)
	}
	return nil
}
