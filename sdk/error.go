package sdk

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/heimdall-run/heimdall/sdk/internal/child"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// Class says whose fault an error was and what may be done about it.
type Class string

// The classes of errors.
const (
	Invalid     Class = "invalid"     // the caller's fault: the input is wrong
	Failed      Class = "failed"      // the work itself said no; never counts against the cluster
	Denied      Class = "denied"      // not allowed
	Quota       Class = "quota"       // a quota or limit is used up
	Unavailable Class = "unavailable" // the cluster is down or full
	Transient   Class = "transient"   // it may work when tried again
	Timeout     Class = "timeout"     // it took too long
	Canceled    Class = "canceled"    // it was asked to stop
	Lost        Class = "lost"        // the outcome is unknown
	Internal    Class = "internal"    // a defect of the plugin or the host
)

var wireClasses = map[Class]pluginpb.ErrorClass{
	Invalid:     pluginpb.ErrorClass_ERROR_CLASS_INVALID,
	Failed:      pluginpb.ErrorClass_ERROR_CLASS_FAILED,
	Denied:      pluginpb.ErrorClass_ERROR_CLASS_DENIED,
	Quota:       pluginpb.ErrorClass_ERROR_CLASS_QUOTA,
	Unavailable: pluginpb.ErrorClass_ERROR_CLASS_UNAVAILABLE,
	Transient:   pluginpb.ErrorClass_ERROR_CLASS_TRANSIENT,
	Timeout:     pluginpb.ErrorClass_ERROR_CLASS_TIMEOUT,
	Canceled:    pluginpb.ErrorClass_ERROR_CLASS_CANCELED,
	Lost:        pluginpb.ErrorClass_ERROR_CLASS_LOST,
	Internal:    pluginpb.ErrorClass_ERROR_CLASS_INTERNAL,
}

// Error is an error of a job with its class. It is also the cause of a canceled
// context that Run gets.
type Error struct {
	Class      Class
	Message    string        // one sentence for the caller; without one, that of Err
	RetryAfter time.Duration // when a retry makes sense; 0: not known
	RetrySafe  bool          // nothing happened outside: it may be repeated whatever the job says
	ExitCode   *int          // of the process that did the work, where there was one
	Signal     string        // that ended that process, such as "SIGKILL"
	Detail     string        // for the operator, not for callers
	Err        error         // what it wraps

	limit string // the limit that the attempt was ended for
}

// Errorf makes an error of a class. A %w in the format keeps the wrapped error.
func Errorf(class Class, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Class: class, Message: err.Error(), Err: errors.Unwrap(err)}
}

// Error returns the message.
func (e *Error) Error() string {
	if e.Message == "" && e.Err != nil {
		return e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the wrapped error.
func (e *Error) Unwrap() error { return e.Err }

// classify turns what Run returned into an Error that carries its whole message.
// An error after the attempt was told to stop is that stop, whatever it says.
func classify(ctx context.Context, err error) *Error {
	out := describe(err)
	stop, ok := errors.AsType[*Error](context.Cause(ctx))
	if !ok {
		if out.Signal == "SIGKILL" {
			out.Message += ", by a SIGKILL that the host did not send; perhaps the machine was out of memory"
		}
		return out
	}

	detail := out.Message
	if out.Detail != "" {
		detail += "\n" + out.Detail
	}
	return &Error{Class: stop.Class, Message: stop.Message, ExitCode: out.ExitCode, Signal: out.Signal, Detail: detail, limit: stop.limit}
}

func describe(err error) *Error {
	if typed, ok := errors.AsType[*Error](err); ok {
		out := *typed
		out.Message = err.Error()
		return &out
	}

	out := &Error{Class: Failed, Message: err.Error()}
	if exit, ok := errors.AsType[*child.ExitError](err); ok {
		out.ExitCode, out.Signal = exitOf(exit)
		if exit.Signal == syscall.SIGXCPU {
			out.Class, out.limit = Quota, "cpu"
			out.Message = "the job used up its limit of processor time: " + out.Message
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		out.Class = Timeout
	}
	return out
}

// Bounds of what an error may carry, so that an end event stays small.
const (
	maxMessage = 8 << 10
	maxDetail  = 32 << 10
)

func (e *Error) wire() *pluginpb.Error {
	class, ok := wireClasses[e.Class]
	if !ok {
		class = pluginpb.ErrorClass_ERROR_CLASS_INTERNAL
	}

	out := &pluginpb.Error{
		Class:     class,
		Message:   clip(e.Error(), maxMessage),
		RetrySafe: e.RetrySafe,
		Signal:    clip(e.Signal, maxMessage),
		Detail:    clip(e.Detail, maxDetail),
		Limit:     e.limit,
	}
	if e.RetryAfter > 0 {
		out.RetryAfter = durationpb.New(e.RetryAfter)
	}
	if e.ExitCode != nil {
		out.ExitCode = new(int32(*e.ExitCode))
	}
	return out
}
