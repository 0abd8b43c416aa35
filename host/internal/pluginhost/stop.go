package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"
)

// StopReason is why an attempt is stopped.
type StopReason string

// The reasons to stop an attempt.
const (
	StopUser       StopReason = "user"        // a person asked for it
	StopTimeout    StopReason = "timeout"     // its time was up
	StopShutdown   StopReason = "shutdown"    // the host stops
	StopClientGone StopReason = "client gone" // the caller that waited for it has gone
	StopLeaseLost  StopReason = "lease lost"  // the host may no longer run it
	StopLimit      StopReason = "limit"       // it broke a limit
	StopFault      StopReason = "fault"       // what its plugin reports cannot be taken in
	StopDetach     StopReason = "detach"      // it is left alone, for a later life of the host to follow
)

// Stop is the cause to cancel the context of Run with. An attempt whose context
// is canceled with another cause is stopped for shutdown.
type Stop struct {
	Reason  StopReason
	Message string        // one sentence for the attempt's error
	Grace   time.Duration // for an orderly stop; 0: stop at once
}

// Error returns the message.
func (s *Stop) Error() string {
	if s.Message == "" {
		return "stopped: " + string(s.Reason)
	}
	return s.Message
}

// hostStops is the reason to stop everything.
const hostStops = "the host stops"

// stopGrace is the grace of an attempt that is stopped without a Stop.
const stopGrace = 5 * time.Second

// stopOf returns why a context was canceled.
func stopOf(ctx context.Context) *Stop {
	if stop, ok := errors.AsType[*Stop](context.Cause(ctx)); ok {
		return stop
	}
	return &Stop{Reason: StopShutdown, Message: hostStops, Grace: stopGrace}
}

func (s *Stop) class() job.Class {
	switch s.Reason {
	case StopUser, StopClientGone:
		return job.WasCanceled
	case StopTimeout:
		return job.TimedOut
	case StopLimit:
		return job.Quota
	case StopLeaseLost:
		return job.Lost
	case StopFault:
		return job.Internal
	default:
		return job.Shutdown
	}
}

var cancelReasons = map[StopReason]pluginpb.CancelReason{
	StopUser:       pluginpb.CancelReason_CANCEL_REASON_USER,
	StopTimeout:    pluginpb.CancelReason_CANCEL_REASON_TIMEOUT,
	StopShutdown:   pluginpb.CancelReason_CANCEL_REASON_SHUTDOWN,
	StopClientGone: pluginpb.CancelReason_CANCEL_REASON_CLIENT_GONE,
	StopLeaseLost:  pluginpb.CancelReason_CANCEL_REASON_LEASE_LOST,
	StopLimit:      pluginpb.CancelReason_CANCEL_REASON_LIMIT,
}

// stop brings an attempt to its end: in an orderly way, then by force, then by
// ending the process that does not answer. One whose outside work goes on elsewhere
// is only told to leave that alone, and not waited for without end. life ends with
// the attempt, or when cut is called.
func (x *execution) stop(life context.Context, stop *Stop, cut func()) {
	if stop.Reason == StopDetach {
		x.leave.Store(true)
		cut()
		return
	}
	x.stopped.Store(stop)
	over, taken := false, false
	if stop.Reason == StopLeaseLost && x.saved.Load() {
		// Another host goes on with the outside work: it must be left alone.
		over, taken = x.cancel(life, stop, pluginpb.CancelMode_CANCEL_MODE_ABANDON, max(stop.Grace, x.process.times.force))
		if !over && taken && !x.process.alone() {
			x.gaveUp.Store(true) // others may work in its process
			cut()
			return
		}
	} else {
		if stop.Grace > 0 {
			over, _ = x.cancel(life, stop, pluginpb.CancelMode_CANCEL_MODE_GRACEFUL, stop.Grace)
		}
		if !over {
			over, _ = x.cancel(life, stop, pluginpb.CancelMode_CANCEL_MODE_FORCED, x.process.times.force)
		}
	}
	if over {
		return
	}
	x.hung.Store(true)
	x.process.stop(fmt.Sprintf("attempt %s did not stop when it had to", x.attempt), x.process.times.hung)
}

// cancel asks the plugin to stop the attempt, and reports whether it was over
// within the wait, and whether the plugin has taken that in. One that does not know
// the attempt yet is asked again.
func (x *execution) cancel(life context.Context, stop *Stop, mode pluginpb.CancelMode, wait time.Duration) (over, taken bool) {
	ctx, cancel := context.WithTimeout(life, wait)
	defer cancel()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		answer, err := x.process.commands.Cancel(ctx, &pluginpb.CancelRequest{
			AttemptId: x.attempt,
			Mode:      mode,
			Grace:     durationpb.New(stop.Grace),
			Reason:    cancelReasons[stop.Reason],
			Message:   stop.Error(),
		})
		if err == nil && answer.GetAccepted() {
			<-ctx.Done()
			return life.Err() != nil, true
		}
		select {
		case <-ctx.Done():
			return life.Err() != nil, false
		case <-time.After(pause):
		}
	}
}

// stop ends the process for a reason: drain, unless nothing can run in it,
// SIGTERM, SIGKILL, each with a deadline. It returns when the process has ended
// or cannot be killed.
func (p *process) stop(reason string, drain time.Duration) {
	p.stopOnce.Do(func() {
		p.reason = reason
		p.stopping.Store(true)
		if drain > 0 {
			p.drain(reason, drain)
		}
		p.child.signal(unix.SIGTERM)
		if p.ended(p.times.term) {
			return
		}
		p.log.Warn("a plugin does not stop and is killed", "pid", p.child.record.PID, "reason", reason)
		p.child.signal(unix.SIGKILL)
		p.ended(p.times.kill)
	})
}

// drain waits until nothing runs in the process, at most so long.
func (p *process) drain(reason string, wait time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	p.acks.flush(ctx)
	stream, err := p.plugins.Drain(ctx, &pluginpb.DrainRequest{Reason: reason, Grace: durationpb.New(wait)})
	if err != nil {
		return
	}
	for {
		if _, err := stream.Recv(); err != nil {
			return
		}
	}
}

// ended reports whether the process ended within the wait.
func (p *process) ended(wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-p.child.exited:
		return true
	case <-timer.C:
		return false
	}
}
