package app

import (
	"context"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/metrics"
	"github.com/heimdall-run/heimdall/host/internal/queue"
	"github.com/heimdall-run/heimdall/host/internal/spool"
	"github.com/heimdall-run/heimdall/host/internal/trace"
)

// closeTracesTime bounds how long the last spans may take on their way.
const closeTracesTime = 3 * time.Second

// requests tells of requests to the API.
type requests struct {
	metrics *metrics.HTTP
	tracer  *trace.Tracer // nil: traces are off
}

// Request implements api.Observer.
func (o requests) Request(r *http.Request, route string, caller job.Trace) (within job.Trace, answered func(status int)) {
	counted := o.metrics.Request(r.Method, route)
	if o.tracer == nil || !strings.HasPrefix(route, "/api/") { // probes are no part of anything
		return caller, counted
	}
	within, traced := o.tracer.Request(r, route, caller)
	return within, func(status int) {
		counted(status)
		traced(status)
	}
}

// attempts tells of what becomes of jobs.
type attempts struct {
	*metrics.Jobs
	tracer *trace.Tracer // nil: traces are off
}

// Ended implements queue.Observer.
func (o attempts) Ended(c job.Claimed, outcome job.Outcome, again bool) {
	o.Jobs.Ended(c, outcome, again)
	if o.tracer != nil {
		o.tracer.Ended(c, outcome)
	}
}

// Resumed implements queue.Observer.
func (o attempts) Resumed(c job.Claimed, outcome job.Outcome) {
	o.Jobs.Resumed(c, outcome)
	if o.tracer != nil {
		o.tracer.Ended(c, outcome)
	}
}

// recorded is called once it is recorded what became of an attempt of an earlier life of
// this host.
func (h *host) recorded(r spool.Record) {
	h.runner.Discard(r.End)
	if err := tellLeft(h.store, attempts{h.metrics.Jobs, h.tracer}, r); err != nil {
		h.log.Warn("an attempt of before the host stopped is neither counted nor traced", "job_id", r.End.JobID, "error", err)
	}
}

// tellLeft tells an observer of an attempt that an earlier life of this host has left. The
// spool has only how it ended; the store has what job it was.
func tellLeft(jobs interface {
	Job(ctx context.Context, id job.ID) (*job.Job, error)
}, o queue.Observer, r spool.Record,
) error {
	if r.Back {
		return nil // it never began
	}
	j, err := jobs.Job(context.Background(), r.End.JobID)
	if err != nil {
		return err
	}
	o.Ended(job.Claimed{Job: j, Lease: r.End.Lease}, r.End.Outcome, !r.Retry.IsZero() && r.End.Status != job.Canceled)
	return nil
}

// observe makes what is told of what the host does. It is ready before anything is
// told.
func (h *host) observe(ctx context.Context) (err error) {
	h.metrics = metrics.New(metrics.Config{Version: h.Version, Plugin: h.pluginOf, Sources: h.sources()})
	h.tracer, err = trace.Open(ctx, trace.Config{
		Getenv: os.Getenv, Version: h.Version, Host: h.dir.host, Plugin: h.pluginOf, Log: h.log.Named("traces"),
	})
	return err
}

// pluginOf returns the plugin of a command in force, or "".
func (h *host) pluginOf(command string) string {
	if c := h.catalog.Snapshot().Command(command); c != nil {
		return c.Plugin
	}
	return ""
}

// sources are what metrics ask this host for. They do so once it serves.
func (h *host) sources() metrics.Sources {
	return metrics.Sources{
		Queue:   func() metrics.Queue { return metrics.Queue(h.queue.Figures()) },
		Store:   h.storeFigures,
		Plugins: h.pluginFigures,
		Spool:   func() (int, int64) { return h.spool.Depth() },
		Catalog: h.catalogFigures,
		Oldest:  func(ctx context.Context) (time.Time, error) { return h.store.Oldest(ctx) },
	}
}

func (h *host) storeFigures() (up bool, pools []metrics.Pool) {
	for _, p := range h.store.Pools() {
		pools = append(pools, metrics.Pool(p))
	}
	return h.store.Up(), pools
}

func (h *host) pluginFigures() (builds []metrics.Build) {
	for _, s := range h.plugins.Plugins() {
		builds = append(builds, metrics.Build{Plugin: s.Name, Version: s.Version, State: string(s.State), Running: s.Running})
	}
	return builds
}

func (h *host) catalogFigures() metrics.Objects {
	s := h.catalog.Snapshot()
	return metrics.Objects{Revision: s.Revision, Commands: len(s.Commands), Clusters: len(s.Clusters)}
}
