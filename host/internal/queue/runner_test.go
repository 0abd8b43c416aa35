package queue_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// timed runs each job for the time that its description says.
type timed struct {
	mu      sync.Mutex
	running int
	most    int
	order   []job.ID
	acked   int
	starts  int                           // attempts that were not stopped before they began
	begins  time.Duration                 // after the start of each attempt
	crashes int                           // so many attempts are lost after their time, with a checkpoint
	crash   func(job.Claimed) job.Outcome // what they come to; nil: that
	result  *job.Result                   // of each job
	claims  []job.Claimed                 // all that ran
	carried []int                         // attempts
	fates   map[job.ID]pluginhost.Fate
	stops   []pluginhost.StopReason
	foreign int           // so many attempts are found to be for other hosts
	slow    time.Duration // that an attempt takes to stop whose lease is lost
}

func (r *timed) Run(ctx context.Context, c job.Claimed, started func(time.Time)) (job.Outcome, func()) {
	r.mu.Lock()
	r.running++
	r.most = max(r.most, r.running)
	r.order = append(r.order, c.Job.ID)
	r.claims = append(r.claims, c)
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.running--
		r.mu.Unlock()
	}()
	if r.isForeign() {
		return job.Outcome{Elsewhere: true}, func() {}
	}
	if !r.begin(ctx) {
		outcome, done := r.stopped(ctx)
		if outcome.Error != nil {
			outcome.Error.RetrySafe = true
		}
		return outcome, done
	}
	started(time.Now())
	r.mu.Lock()
	r.starts++
	r.mu.Unlock()
	length, err := time.ParseDuration(c.Job.Description)
	if err != nil {
		panic(err)
	}
	outcome := job.Outcome{Status: job.Succeeded, Result: r.result}
	select {
	case <-time.After(length):
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.crashes > 0 {
			r.crashes--
			if r.crash != nil {
				return r.crash(c), r.ack
			}
			if c.Checkpoint == nil {
				c.Checkpoint = &job.Checkpoint{Attempt: c.Lease.Attempt}
			}
			outcome = lostOutcome(c)
		}
	case <-ctx.Done():
		return r.stopped(ctx)
	}
	return outcome, r.ack
}

// isForeign counts the attempts that are for other hosts.
func (r *timed) isForeign() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.foreign--
	return r.foreign >= 0
}

// begin waits until an attempt begins; false when it is stopped before.
func (r *timed) begin(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case <-time.After(r.begins):
		return true
	case <-ctx.Done():
		return false
	}
}

// stopped is how an attempt ends that is stopped.
func (r *timed) stopped(ctx context.Context) (job.Outcome, func()) {
	stop, _ := errors.AsType[*pluginhost.Stop](context.Cause(ctx))
	if stop.Reason == pluginhost.StopDetach {
		return job.Outcome{}, func() {}
	}
	r.mu.Lock()
	r.stops = append(r.stops, stop.Reason)
	r.mu.Unlock()
	outcome := job.Outcome{Status: job.Canceled, Error: &job.Error{Class: job.WasCanceled, Message: stop.Message}}
	switch stop.Reason {
	case pluginhost.StopShutdown:
		outcome.Status, outcome.Error.Class = job.Killed, job.Shutdown
	case pluginhost.StopLeaseLost:
		outcome.Status, outcome.Error.Class = job.Failed, job.Lost
		time.Sleep(r.slow)
	}
	return outcome, r.ack
}

func (r *timed) ack() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked++
}

// began returns how many attempts have begun.
func (r *timed) began() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.order)
}

// reasons returns why attempts were stopped.
func (r *timed) reasons() []pluginhost.StopReason {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.stops)
}

func (r *timed) Resume(ctx context.Context, c job.Claimed, started func(time.Time)) (job.Outcome, func()) {
	return r.Run(ctx, c, started)
}

func (r *timed) Recall(c job.Claimed) pluginhost.Fate { return r.fates[c.Job.ID] }

func (r *timed) Follow(ctx context.Context, c job.Claimed, started func(time.Time)) (job.Outcome, func()) {
	return r.Run(ctx, c, started)
}

// Detaches holds for jobs of that name.
func (r *timed) Detaches(j *job.Job) bool { return j.Name == "detach" }

func (r *timed) Lost(_ context.Context, c job.Claimed) (job.Outcome, func()) {
	return lostOutcome(c), func() {}
}

// Carry notes which attempts were handed something.
func (r *timed) Carry(c job.Claimed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.carried = append(r.carried, c.Lease.Attempt)
}

// lostOutcome is that of a lost attempt, which can be resumed when there is a
// checkpoint.
func lostOutcome(c job.Claimed) job.Outcome {
	return job.Outcome{
		Status: job.Failed, Error: &job.Error{Class: job.Lost, Message: "lost"},
		Checkpoint: c.Checkpoint, Resumable: c.Checkpoint != nil, Remains: "lost",
	}
}
