package runner

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Checkpoints keeps checkpoints until their jobs end.
type Checkpoints interface {
	// Checkpoint replaces the checkpoint of a job. It returns store.ErrLeaseLost
	// when the lease of the attempt is gone.
	Checkpoint(ctx context.Context, l job.Lease, c *job.Checkpoint) error
}

// Reports are what attempts that run here have said so far.
type Reports interface {
	Progress(l job.Lease, at job.Progress)
	Outputs(l job.Lease, all []job.Output)
	// Forget drops what an attempt has said that has ended.
	Forget(l job.Lease)
}

// sink gathers what an attempt reports on its way.
type sink struct {
	lease       job.Lease
	checkpoints Checkpoints
	log         hclog.Logger
	started     func(time.Time) // nil once it was called
	reports     Reports

	outputs    []job.Output
	usage      map[string]float64
	checkpoint *job.Checkpoint // the last one that was, or may have been, saved
}

// sink returns the sink of an attempt. What the plugin has forgotten since the
// last checkpoint was acknowledged is in it.
func (r *Runner) sink(c job.Claimed, started func(time.Time)) *sink {
	s := &sink{reports: r.Reports, lease: c.Lease, checkpoints: r.Checkpoints, log: r.Log, started: started, checkpoint: c.Checkpoint}
	if c.Checkpoint == nil {
		return s
	}
	s.outputs = slices.Clone(c.Checkpoint.Outputs)
	if len(s.outputs) > 0 {
		s.reports.Outputs(s.lease, s.outputs)
	}
	if c.Checkpoint.Attempt == c.Lease.Attempt {
		s.usage = maps.Clone(c.Checkpoint.Usage)
		s.Started(time.Now()) // that is forgotten, too
	}
	return s
}

func (s *sink) Started(at time.Time) {
	if s.started != nil {
		s.started(at)
		s.started = nil
	}
}

func (s *sink) Progress(done, total float64, message string) {
	s.reports.Progress(s.lease, job.Progress{Done: done, Total: total, Message: message})
}

func (s *sink) Output(o job.Output) {
	s.outputs = put(slices.Clone(s.outputs), o) // others may read it
	s.reports.Outputs(s.lease, s.outputs)
}

func (s *sink) Usage(unit string, amount float64) {
	if s.usage == nil {
		s.usage = map[string]float64{}
	}
	s.usage[unit] = amount
}

// Checkpoint keeps a checkpoint. While the store is away it tries again: the
// plugin must not go on before it is durable.
func (s *sink) Checkpoint(ctx context.Context, format int32, data []byte) error {
	s.checkpoint = &job.Checkpoint{
		Attempt: s.lease.Attempt, Format: format, Data: data,
		Outputs: slices.Clone(s.outputs), Usage: maps.Clone(s.usage),
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := s.checkpoints.Checkpoint(ctx, s.lease, s.checkpoint)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, store.ErrLeaseLost):
			return &pluginhost.Stop{Reason: pluginhost.StopLeaseLost, Message: "the job is not this host's any more"}
		case errs.Is(err, errs.Invalid): // it would be refused for ever
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		s.log.Warn("a checkpoint could not be recorded yet", "job_id", s.lease.JobID, "error", err, "again_in", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Truncated needs no answer: the stored stream ends where it was cut.
func (s *sink) Truncated(job.Stream, int64) {}
