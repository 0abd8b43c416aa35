package sdk

import (
	"context"
	"errors"
	"time"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

const (
	// defaultGrace is how long an orderly stop may take when nobody says.
	defaultGrace = 10 * time.Second
	// deafTime is how long Run may go on after a forced stop before its end is
	// reported without it.
	deafTime = time.Second
	// abandonTime is the grace of an attempt whose outside work goes on elsewhere:
	// there is nothing to bring to an end, and the host waits five seconds.
	abandonTime = 2 * time.Second
)

// Abandoned reports whether the context that Run got was canceled because
// somebody else goes on with the job's remote work: Run should return and leave
// that work alone.
func Abandoned(ctx context.Context) bool {
	stop, ok := errors.AsType[*stopped](context.Cause(ctx))
	if !ok {
		return false
	}

	stop.attempt.mu.Lock()
	defer stop.attempt.mu.Unlock()
	return stop.attempt.abandoned
}

// stopped is the cause of an attempt's canceled context.
type stopped struct {
	attempt *attempt
	reason  *Error
}

// Error returns the message of the reason.
func (s *stopped) Error() string { return s.reason.Error() }

// Unwrap returns the reason.
func (s *stopped) Unwrap() error { return s.reason }

// obey stops the attempt as the host asks. One that others may go on with is left
// to them when the host has lost its right, however it asks.
func (a *attempt) obey(request *pluginpb.CancelRequest) bool {
	reason := stopError(request.GetReason(), request.GetMessage())
	mode := request.GetMode()
	if request.GetReason() == pluginpb.CancelReason_CANCEL_REASON_LEASE_LOST && a.leave() == pluginpb.CancelMode_CANCEL_MODE_ABANDON {
		mode = pluginpb.CancelMode_CANCEL_MODE_ABANDON
	}
	return a.stop(mode, request.GetGrace().AsDuration(), reason)
}

// stop asks the attempt to stop and reports whether it still ran. The first
// reason stays; the mode can only become stronger. What is not over after the
// grace time, of which the last that was said counts, is forced.
func (a *attempt) stop(mode pluginpb.CancelMode, grace time.Duration, reason *Error) bool {
	a.mu.Lock()
	if a.over {
		a.mu.Unlock()
		return false
	}
	first, left := !a.stopping, false
	a.stopping = true
	if mode == pluginpb.CancelMode_CANCEL_MODE_ABANDON && !a.abandoned {
		a.abandoned, left = true, true
	}
	a.mu.Unlock()

	a.cancel(&stopped{attempt: a, reason: reason})
	switch {
	case mode == pluginpb.CancelMode_CANCEL_MODE_FORCED:
		a.force()
	case left:
		a.eachChild((*Cmd).Terminate)
		a.forceAfter(abandonTime)
	case mode == pluginpb.CancelMode_CANCEL_MODE_ABANDON: // it was said before
	case first:
		a.eachChild((*Cmd).Terminate)
		if grace <= 0 {
			grace = defaultGrace
		}
		a.forceAfter(grace)
	case grace > 0:
		a.forceAfter(grace)
	}
	return true
}

// forceAfter forces the attempt after a time, and not before.
func (a *attempt) forceAfter(grace time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.over:
	case a.forcing == nil:
		a.forcing = time.AfterFunc(grace, a.force)
	default:
		a.forcing.Reset(grace)
	}
}

// force kills all children. When Run does not return soon after, the attempt
// ends without it, so that a deaf job cannot hold the host.
func (a *attempt) force() {
	a.eachChild((*Cmd).Kill)
	a.after(deafTime, func() {
		deaf := &Error{Class: Internal, Message: "the job did not stop", Detail: "Run did not return after it was told to stop"}
		a.end(nil, classify(a.ctx, deaf))
	})
}

// stopError says why an attempt is stopped, in the words of its error.
func stopError(reason pluginpb.CancelReason, message string) *Error {
	class, text := Canceled, "the job was canceled"
	switch reason {
	case pluginpb.CancelReason_CANCEL_REASON_TIMEOUT:
		class, text = Timeout, "the job's time was up"
	case pluginpb.CancelReason_CANCEL_REASON_SHUTDOWN:
		text = "the job was stopped because the host shuts down"
	case pluginpb.CancelReason_CANCEL_REASON_CLIENT_GONE:
		text = "the caller that waited for the job has gone"
	case pluginpb.CancelReason_CANCEL_REASON_LEASE_LOST:
		class, text = Lost, "the host lost its right to run the job"
	case pluginpb.CancelReason_CANCEL_REASON_LIMIT:
		class, text = Quota, "the job broke a limit"
	}
	if message == "" {
		message = text
	}
	return &Error{Class: class, Message: message}
}
