package runner

import (
	"context"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// catchUpTime bounds how long an attempt waits for a catalog that is new enough for it,
// and firstLook is the pause after the first try that fails.
const (
	catchUpTime = 10 * time.Second
	firstLook   = 50 * time.Millisecond
)

// inForce reports whether this host can begin jobs of a pair, as far as it knows.
func (r *Runner) inForce(p job.Pair) bool {
	s := r.Catalog.Snapshot()
	command, cluster := s.Command(p.CommandID), s.Cluster(p.ClusterID)
	return command != nil && cluster != nil && command.Status == catalog.Active && cluster.Status == catalog.Active && !r.isElsewhere(p)
}

// isElsewhere reports whether only the files of other hosts declare one of a pair.
func (r *Runner) isElsewhere(p job.Pair) bool {
	s := r.Catalog.Snapshot()
	command, cluster := s.Command(p.CommandID), s.Cluster(p.ClusterID)
	return command != nil && command.Elsewhere || cluster != nil && cluster.Elsewhere
}

// catchUp reads what was changed in the catalog: another host may have chosen the pair
// of an attempt from one that this host has not read yet. What cannot be read in time is
// left: the attempt then has the catalog that there is.
func (r *Runner) catchUp(ctx context.Context, c job.Claimed) {
	if r.Refresh == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	for wait := firstLook; ; wait *= 2 {
		err := r.Refresh(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		r.Log.Warn("the catalog that a job was chosen from could not be read yet", c.Fields("error", err, "again_in", wait)...)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}
