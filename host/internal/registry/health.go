package registry

import (
	"context"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// Condition of a cluster's health.
const (
	Well      = "ok"
	Ill       = "error"
	Unchecked = "unchecked" // nobody here can say
)

// Check is the health of one cluster, as a plugin sees it.
type Check struct {
	Cluster *catalog.Cluster
	Plugin  string // that was asked; "": none could be
	Status  string
	Took    time.Duration
	Error   string
}

// checksAtOnce bounds how many clusters are checked at the same time, and checkRounds
// how long all of them may take together: as long as so many that hang one after the
// other.
const (
	checksAtOnce = 256
	checkRounds  = 3
)

// Health checks every active cluster, each with a time of its own, so that none that
// hangs delays the others. Where so many hang that the turn of one does not come, it is
// not checked, and that is said.
func (r *Registry) Health(ctx context.Context) []Check {
	last := time.Now().Add((checkRounds - 1) * r.CheckTime) // a check begins, and still has its time
	s := r.Catalog.Snapshot()
	probes := r.probes(s)
	checks := []Check{}
	for _, cluster := range s.Clusters {
		if cluster.Status == catalog.Active {
			checks = append(checks, Check{Cluster: cluster})
		}
	}
	var group errgroup.Group
	group.SetLimit(checksAtOnce)
	for i := range checks {
		group.Go(func() error {
			if time.Now().After(last) {
				checks[i].Status, checks[i].Error = Unchecked, "its turn did not come in time: too many others hang"
				return nil
			}
			r.check(ctx, probes, &checks[i])
			return nil
		})
	}
	_ = group.Wait() // what is wrong is in the checks
	return checks
}

// HealthOf checks one cluster, whatever its status; errs.NotFound when there is none.
func (r *Registry) HealthOf(ctx context.Context, id string) (Check, error) {
	s := r.Catalog.Snapshot()
	cluster := s.Cluster(id)
	if cluster == nil {
		return Check{}, unknown(catalog.ClusterKind, id)
	}
	c := Check{Cluster: cluster}
	r.check(ctx, r.probes(s), &c)
	return c, nil
}

// probe is a command that clusters with the tags can be checked by.
type probe struct {
	tags    tag.Set
	command *catalog.Command
}

// probes returns the commands that clusters are checked by: for each set of tags that
// commands want of clusters, the first active one, by id, that can be run here.
func (r *Registry) probes(s *catalog.Snapshot) (probes []probe) {
	seen := map[string]bool{}
	for _, c := range s.Commands {
		if c.Status != catalog.Active {
			continue
		}
		sets := c.ClusterTags
		if len(sets) == 0 {
			sets = []tag.Set{nil}
		}
		for _, set := range sets {
			key := strings.Join(set, "\n")
			if !seen[key] && r.Usable(c) == nil {
				seen[key] = true
				probes = append(probes, probe{set, c})
			}
		}
	}
	return probes
}

func (r *Registry) check(ctx context.Context, probes []probe, c *Check) {
	c.Status = Unchecked
	if c.Cluster.Elsewhere {
		c.Error = "only the files of other hosts declare it, and only they can check it"
		return
	}
	for _, p := range probes {
		if len(c.Cluster.Tags.Missing(p.tags)) > 0 {
			continue
		}
		c.Plugin = p.command.Plugin
		ctx, cancel := context.WithTimeout(ctx, r.CheckTime)
		defer cancel()
		begun := time.Now()
		health, err := r.Checker.Check(ctx, p.command, c.Cluster)
		c.Took = time.Since(begun)
		switch {
		case err != nil:
			c.Status, c.Error = Ill, err.Error()
		case health.Checked && health.OK:
			c.Status = Well
		case health.Checked:
			c.Status, c.Error = Ill, health.Detail
		}
		return
	}
	c.Error = "no command that can be run here takes it"
}
