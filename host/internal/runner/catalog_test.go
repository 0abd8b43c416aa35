package runner_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// An attempt whose pair this host does not know, or not as one that it can use, waits
// for what was changed in the catalog: it runs where that is the answer, it is given
// back where only other hosts can run it, and else it fails.
func TestCatchUp(t *testing.T) {
	succeeds := plugin(func(context.Context, pluginhost.Request, pluginhost.Sink) *pluginhost.Ended {
		return &pluginhost.Ended{}
	})
	known := func(status catalog.Status, elsewhere bool) []*catalog.Cluster {
		return []*catalog.Cluster{{Object: catalog.Object{ID: "k", Name: "k", Status: status, Elsewhere: elsewhere}}}
	}
	for name, c := range map[string]struct {
		before, after []*catalog.Cluster
		failures      int // of the first reads
		resume        bool
		want          job.Status
		class         job.Class
		elsewhere     bool
		reads         int
	}{
		"known":                       {before: known(catalog.Active, false), want: job.Succeeded},
		"new":                         {after: known(catalog.Active, false), want: job.Succeeded, reads: 1},
		"active again":                {before: known(catalog.Inactive, false), after: known(catalog.Active, false), want: job.Succeeded, reads: 1},
		"read late":                   {after: known(catalog.Active, false), failures: 3, want: job.Succeeded, reads: 4},
		"new, of another host":        {after: known(catalog.Active, true), elsewhere: true, reads: 1},
		"has become another host's":   {before: known(catalog.Active, true), after: known(catalog.Active, true), elsewhere: true, reads: 1},
		"gone":                        {want: job.Failed, class: job.Unavailable, reads: 1},
		"work that is outside":        {after: known(catalog.Active, true), resume: true, want: job.Failed, class: job.Lost, reads: 1},
		"cannot be read for too long": {after: known(catalog.Active, false), failures: 1000, want: job.Failed, class: job.Unavailable, reads: 8},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			synctest.Test(t, func(t *testing.T) {
				f.clusters = c.before
				reads := 0
				r := f.runner(succeeds)
				r.Refresh = func(context.Context) error {
					if reads++; reads <= c.failures {
						return errors.New("away")
					}
					f.clusters = c.after
					return nil
				}
				claimed := f.claimed()
				claimed.Resume = c.resume
				o, done := r.Run(t.Context(), claimed, func(time.Time) {})
				done()
				var class job.Class
				if o.Error != nil {
					class = o.Error.Class
				}
				if o.Status != c.want || class != c.class || o.Elsewhere != c.elsewhere || reads != c.reads {
					t.Errorf("outcome = %q (%v), elsewhere %t, after %d reads; want %q (%q), %t, %d", o.Status, o.Error, o.Elsewhere, reads, c.want, c.class, c.elsewhere, c.reads)
				}
			})
		})
	}
}

// A job that is canceled while its host reads the catalog is canceled, and not failed.
func TestCanceledWhileCatchingUp(t *testing.T) {
	f := newFixture(t)
	f.clusters = nil
	ctx, cancel := context.WithCancelCause(t.Context())
	r := f.runner(plugin(func(ctx context.Context, _ pluginhost.Request, _ pluginhost.Sink) *pluginhost.Ended {
		stop, _ := errors.AsType[*pluginhost.Stop](context.Cause(ctx))
		return &pluginhost.Ended{Error: &job.Error{Class: job.Unavailable, Message: "stopped"}, Stop: stop}
	}))
	r.Refresh = func(context.Context) error {
		cancel(&pluginhost.Stop{Reason: pluginhost.StopUser, Message: "canceled by ann"})
		return errors.New("away")
	}
	o, done := r.Run(ctx, f.claimed(), func(time.Time) {})
	done()
	if o.Status != job.Canceled {
		t.Errorf("outcome = %s (%v), want %s", o.Status, o.Error, job.Canceled)
	}
}
