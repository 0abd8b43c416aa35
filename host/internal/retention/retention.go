// Package retention forgets jobs that ended long ago, with what they have left, and the
// catalogs that only they were chosen from.
package retention

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Store knows which jobs ended long ago.
type Store interface {
	Aged(ctx context.Context, after job.Cursor, until time.Time, n int) ([]store.Aged, error)
	// Away returns those of the hosts that do not run.
	Away(ctx context.Context, hosts []string) (map[string]bool, error)
	Remove(ctx context.Context, ids []job.ID) (int, error)
	ForgetKeys(ctx context.Context) (int64, error)
}

// Revisions keeps the catalogs that jobs were chosen from.
type Revisions interface {
	// ForgetRevisions notes that a revision is in force, and forgets those that nothing
	// needs any more.
	ForgetRevisions(ctx context.Context, inForce string) (int64, error)
	// ForgetClusters removes clusters that declared themselves long ago.
	ForgetClusters(ctx context.Context) (int64, error)
}

// Artifacts removes what attempts have left.
type Artifacts interface {
	Remove(ctx context.Context, id job.ID) error
	// Sweep removes what was begun before a time and never ended.
	Sweep(ctx context.Context, since time.Time) error
}

// Catalog gives the current snapshot.
type Catalog interface {
	Snapshot() *catalog.Snapshot
}

// Config is what retention needs.
type Config struct {
	Store     Store
	Revisions Revisions // nil: they are left alone
	Artifacts Artifacts
	Catalog   Catalog
	Keep      time.Duration // jobs of commands that say nothing; 0: for ever
	Host      string        // id of this host
	Log       hclog.Logger
}

// Retention forgets jobs whose time is over. Every host does so for the jobs that
// it ran, whose artifacts it may be the only one to have, and for those of hosts
// that do not run.
type Retention struct {
	Config
	revision string                       // of the catalog that the places are for
	begun    time.Time                    // when they were set out from
	places   map[time.Duration]job.Cursor // by how long jobs are kept: what lies before is done
	revised  time.Time                    // when revisions were forgotten last
}

const (
	lookTime = time.Minute // between looks at what is over
	// anew is the time after which all is looked at once more: a job may have had
	// something to clean up, or a host that runs no more.
	anew = 6 * time.Hour
	// unfinished is how long what was begun to be stored may take.
	unfinished = 24 * time.Hour

	step = 200 // jobs that are looked at, and removed, at once
	// share is how much of the time removing may take: the rest is for others.
	share = 5
	// revisionTime is between looks at the revisions of the catalog. It is no longer than
	// the store wants.
	revisionTime = 30 * time.Minute
)

// New returns retention. It does nothing before Serve.
func New(c Config) *Retention { return &Retention{Config: c} }

// Serve forgets jobs whose time is over until ctx is done.
func (r *Retention) Serve(ctx context.Context) error {
	tick := time.NewTicker(lookTime)
	defer tick.Stop()
	for {
		if err := r.sweep(ctx); err != nil && ctx.Err() == nil {
			r.Log.Warn("old jobs could not be removed yet", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sweep removes what is over now. Jobs are looked at once for each length of
// time that some are kept for, in the order of their ends.
func (r *Retention) sweep(ctx context.Context) error {
	if err := r.forgetKeys(ctx); err != nil {
		return err
	}
	snapshot := r.Catalog.Snapshot()
	if r.Revisions != nil && time.Since(r.revised) > revisionTime {
		if _, err := r.Revisions.ForgetRevisions(ctx, snapshot.Revision); err != nil {
			return err
		}
		if _, err := r.Revisions.ForgetClusters(ctx); err != nil {
			return err
		}
		r.revised = time.Now()
	}
	if r.places == nil || snapshot.Revision != r.revision || time.Since(r.begun) > anew {
		r.revision, r.begun, r.places = snapshot.Revision, time.Now(), map[time.Duration]job.Cursor{}
		if err := r.Artifacts.Sweep(ctx, time.Now().Add(-unfinished)); err != nil && ctx.Err() == nil {
			r.Log.Warn("what was not stored to its end could not be removed yet", "error", err)
		}
	}
	removed := 0
	for keep := range r.lengths(snapshot) {
		for more := true; more; {
			if ctx.Err() != nil {
				return nil
			}
			begun := time.Now()
			n, err := r.step(ctx, snapshot, keep, &more)
			removed += n
			if err != nil {
				return err
			}
			pause(ctx, (share-1)*time.Since(begun))
		}
	}
	if removed > 0 {
		r.Log.Info("old jobs were removed", "jobs", removed)
	}
	return nil
}

// forgetKeys forgets the idempotency keys whose time is over.
func (r *Retention) forgetKeys(ctx context.Context) error {
	for ctx.Err() == nil {
		begun := time.Now()
		n, err := r.Store.ForgetKeys(ctx)
		if err != nil || n < store.KeyStep {
			return err
		}
		pause(ctx, (share-1)*time.Since(begun))
	}
	return nil
}

// lengths returns for how long jobs are kept that are not kept for ever.
func (r *Retention) lengths(s *catalog.Snapshot) map[time.Duration]bool {
	lengths := map[time.Duration]bool{}
	for _, c := range s.Commands {
		if c.Keep > 0 {
			lengths[c.Keep] = true
		}
	}
	if r.Keep > 0 {
		lengths[r.Keep] = true
	}
	return lengths
}

// keep returns how long jobs of a command are kept; 0: for ever. A command that is
// gone says nothing.
func (r *Retention) keep(s *catalog.Snapshot, command string) time.Duration {
	if c := s.Command(command); c != nil && c.Keep > 0 {
		return c.Keep
	}
	return r.Keep
}

// step looks at the next jobs that ended longer ago than keep.
func (r *Retention) step(ctx context.Context, s *catalog.Snapshot, keep time.Duration, more *bool) (removed int, err error) {
	aged, err := r.Store.Aged(ctx, r.places[keep], time.Now().Add(-keep), step)
	if err != nil {
		return 0, err
	}
	*more = len(aged) == step
	mine, err := r.mine(ctx, s, aged, keep)
	if err != nil {
		return 0, err
	}
	var ids []job.ID
	for _, a := range mine {
		if a.Left {
			if err := r.Artifacts.Remove(ctx, a.ID); err != nil {
				return 0, fmt.Errorf("remove what job %s has left: %w", a.ID, err)
			}
		}
		ids = append(ids, a.ID)
	}
	removed, err = r.Store.Remove(ctx, ids)
	if err == nil && len(aged) > 0 {
		last := aged[len(aged)-1]
		r.places[keep] = job.Cursor{ID: last.ID, Time: last.EndedAt}
	}
	return removed, err
}

// mine returns the jobs that are kept for so long and that this host is to remove.
func (r *Retention) mine(ctx context.Context, s *catalog.Snapshot, aged []store.Aged, keep time.Duration) (mine []store.Aged, err error) {
	seen := map[string]bool{}
	var hosts []string
	for _, a := range aged {
		for _, h := range a.Hosts {
			if !seen[h] && h != r.Host {
				seen[h] = true
				hosts = append(hosts, h)
			}
		}
	}
	away := map[string]bool{}
	if len(hosts) > 0 {
		if away, err = r.Store.Away(ctx, hosts); err != nil {
			return nil, err
		}
	}
	for _, a := range aged {
		if r.keep(s, a.Command) != keep {
			continue
		}
		last := r.Host
		if len(a.Hosts) > 0 {
			last = a.Hosts[len(a.Hosts)-1]
		}
		if last == r.Host || away[last] {
			mine = append(mine, a)
		}
	}
	return mine, nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
