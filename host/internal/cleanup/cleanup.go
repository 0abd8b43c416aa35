// Package cleanup has plugins remove what attempts with an unknown outcome may
// have left outside, in its own time and across restarts of the host.
package cleanup

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// Store knows what is left to clean up.
type Store interface {
	Cleanups(ctx context.Context, host string, epoch int64, n int) ([]job.Cleanup, error)
	Postpone(ctx context.Context, host string, epoch int64, c job.Cleanup, due time.Time) error
	Cleaned(ctx context.Context, host string, epoch int64, c job.Cleanup) error
	TakeCleanups(ctx context.Context, host string, epoch int64, lostAfter time.Duration) (int64, error)
}

// Runner removes what an attempt has left.
type Runner interface {
	Cleanup(ctx context.Context, c job.Cleanup) error
}

// Config is what a cleaner needs.
type Config struct {
	Store  Store
	Runner Runner
	Host   string // id of this host
	Epoch  int64  // of this life of the host
	// LostAfter is after how long this host cleans up for one that is lost.
	LostAfter time.Duration
	Log       hclog.Logger
}

// Cleaner cleans up after the attempts of one host.
type Cleaner struct {
	Config
	wake chan struct{}
	life context.Context // is over once end was called
	end  context.CancelFunc
}

const (
	lookTime = 2 * time.Second  // between looks for what is due
	atOnce   = 4                // attempts that are cleaned up after beside each other
	batch    = 16               // read at once: each may have a checkpoint
	longest  = 10 * time.Minute // between two tries
	giveUp   = 24 * time.Hour   // after the end of the attempt, and
	leastTry = 20               // tries: the host may have been off for most of that
	takeTime = time.Minute      // between two looks for what lost hosts have left
	slowly   = time.Hour        // between two looks at a process that outlives giveUp
)

// New returns a cleaner. It does nothing before Serve.
func New(config Config) *Cleaner {
	c := &Cleaner{Config: config, wake: make(chan struct{}, 1)}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

// End ends the cleaner for good, and the cleanups that are under way: what is left
// is for another life of the host.
func (c *Cleaner) End() { c.end() }

// Wake makes the cleaner look at once: something new is left.
func (c *Cleaner) Wake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Serve cleans up what is due until ctx is done.
func (c *Cleaner) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	tick := time.NewTicker(lookTime)
	defer tick.Stop()
	take := time.NewTicker(takeTime)
	defer take.Stop()
	for {
		for ctx.Err() == nil && c.clean(ctx) {
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-tick.C:
		case <-take.C:
			if n, err := c.Store.TakeCleanups(ctx, c.Host, c.Epoch, c.LostAfter); err == nil && n > 0 {
				c.Log.Info("this host cleans up after one that is lost", "attempts", n)
			}
		}
	}
}

// clean cleans up some of what is due and reports whether there may be more.
func (c *Cleaner) clean(ctx context.Context) bool {
	due, err := c.Store.Cleanups(ctx, c.Host, c.Epoch, batch)
	if err != nil {
		if ctx.Err() == nil {
			c.Log.Warn("what is left to clean up cannot be read", "error", err)
		}
		return false
	}
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, left := range due {
		group.Go(func() error { return c.one(ctx, left) })
	}
	return group.Wait() == nil && len(due) == batch
}

// one tries to clean up after one attempt, and records what came of it. It returns
// an error when that could not be recorded.
func (c *Cleaner) one(ctx context.Context, left job.Cleanup) error {
	log := c.Log.With("job_id", left.Job.ID, "attempt", left.Attempt)
	err := c.Runner.Cleanup(ctx, left)
	switch {
	case err != nil && ctx.Err() != nil:
		return err // the next start of the host tries again
	case err == nil:
		log.Info("what a lost job may have left outside is removed", "reason", left.Reason)
		err = c.Store.Cleaned(ctx, c.Host, c.Epoch, left)
	case errors.Is(err, pluginhost.ErrStillRuns):
		again := min(max(time.Since(left.Since), lookTime), longest)
		if time.Since(left.Since) > giveUp {
			again = slowly
			log.Error("what a lost job may have left outside stays while its plugin's process lives: end that process",
				"command", left.Job.Pair.CommandID, "cluster", left.Job.Pair.ClusterID, "reason", left.Reason, "error", err, "again_in", again)
		} else {
			log.Warn("what a lost job may have left outside is not removed yet", "error", err, "again_in", again.Round(time.Second))
		}
		err = c.Store.Postpone(ctx, c.Host, c.Epoch, left, time.Now().Add(again))
	case time.Since(left.Since) > giveUp && left.Tries+1 >= leastTry:
		log.Error("what a lost job may have left outside stays: look after it by hand",
			"command", left.Job.Pair.CommandID, "cluster", left.Job.Pair.ClusterID, "tries", left.Tries+1, "reason", left.Reason, "error", err)
		err = c.Store.Cleaned(ctx, c.Host, c.Epoch, left)
	default:
		again := pause(left.Tries)
		left.Tries++
		log.Warn("what a lost job may have left outside is not removed yet", "error", err, "again_in", again.Round(time.Second))
		err = c.Store.Postpone(ctx, c.Host, c.Epoch, left, time.Now().Add(again))
	}
	if err != nil {
		log.Warn("what came of a cleanup could not be recorded; it is repeated", "error", err)
	}
	return err
}

// pause is the time to the next try, which grows.
func pause(tries int) time.Duration {
	most := min(2*time.Second<<min(tries, 10), longest)
	return most/2 + rand.N(most/2)
}
