package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Ended is how an attempt ended.
type Ended struct {
	Error  *job.Error // nil when it ended well
	Detail string     // for the operator's log: a stack, the last lines of stderr
	Stop   *Stop      // why it was asked to stop; nil when it was not
	Left   bool       // it has not ended: it goes on in its process without this life of the host
	Result *Result    // nil when there is none

	// Unstarted says that no plugin has seen it, because the host had no right to
	// run it when its turn came.
	Unstarted bool
	// Resumable says that nobody follows its outside work any more, and that nobody
	// asked it to stop: another attempt may go on with that work.
	Resumable bool
	// Remains says that what it did outside is unknown: Cleanup is to be called
	// unless another attempt goes on with it.
	Remains bool

	Build         string // digest of the plugin that ran it, hex; "" when none did
	PluginVersion string

	process *process
	attempt string
	event   uint64 // number of the end event; 0 when there was none
	acked   atomic.Bool
}

// Ack says that the end is durable here, so that the plugin may forget the
// attempt, and lets go of the file of its result. It returns at once.
func (e *Ended) Ack() {
	e.Result.close()
	if e.process == nil || e.acked.Swap(true) {
		return
	}
	if e.event > 0 && !e.process.alone() {
		e.process.acks.add(e.attempt, e.event, false)
	}
	e.process.settle(1)
	e.process.release()
}

// notStarted is the end of an attempt that no plugin has seen.
func notStarted(class job.Class, message string) *Ended {
	return &Ended{Error: &job.Error{Class: class, Message: message, RetrySafe: true}}
}

// notStartable is the end of an attempt whose own process was over a limit
// before it could begin.
func notStartable(over *excess) *Ended {
	stop := overLimitStop(over)
	ended := notStarted(stop.class(), stop.Error())
	ended.Stop = stop
	return ended
}

func overLimitStop(over *excess) *Stop {
	return &Stop{Reason: StopLimit, Message: fmt.Sprintf("the job %v", over)}
}

// stoppedBefore is the end of an attempt that was stopped before it began.
func stoppedBefore(ctx context.Context) *Ended {
	stop := stopOf(ctx)
	ended := notStarted(stop.class(), stop.Error())
	ended.Stop = stop
	return ended
}

// end makes the end of the attempt out of what is known. err is why there was
// no end event.
func (x *execution) end(folders Folders, err error) *Ended {
	p := x.process
	e := &Ended{Build: p.build.digest, PluginVersion: p.description.Version, process: p, attempt: x.attempt, Stop: x.stopped.Load()}
	switch {
	case e.Stop != nil:
	case x.expired():
		e.Stop = x.timeUp()
	default:
		e.Stop = x.overLimit()
	}
	begun := x.ended != nil || x.last > 0 || !refused(err)
	switch failure := x.ended.GetError(); {
	case x.ended == nil:
		e.Error, e.Detail = x.lost(e, err)
	case failure != nil:
		e.event = x.last
		e.Error, e.Detail = jobError(failure), clip(failure.GetDetail(), maxDetail)
	default:
		e.event = x.last
		e.Result, err = result(x.result, folders, x.request.GetLimits())
		switch {
		case errors.Is(err, errTooLarge):
			e.Error = &job.Error{Class: job.Quota, Message: err.Error()}
		case err != nil:
			e.Error = &job.Error{Class: job.Internal, Message: fmt.Sprintf("plugin %s gave a bad result: %s", p.name, err)}
		}
	}
	if e.Stop != nil && e.Stop.Reason == StopFault {
		e.Error, e.Result = &job.Error{Class: job.Internal, Message: e.Stop.Message}, nil
	}
	if e.Stop == nil && e.Error != nil {
		switch {
		case x.ended.GetAbandoned():
			e.Error.Class = job.Lost // whatever the plugin calls that
		case x.resumes && e.Error.Class != job.Lost && (x.denied || x.ended != nil && x.last == 1): // it did not begin
			e.Error = NotResumed(e.Error)
		}
	}
	if e.Error != nil {
		e.Error.Message, e.Error.Signal, e.Detail = x.mask(e.Error.Message), x.mask(e.Error.Signal), x.mask(e.Detail)
	}
	lost := e.Error != nil && e.Error.Class == job.Lost
	e.Remains = lost || x.ended == nil && (begun || x.resumes)
	e.Resumable = lost && e.Stop == nil && (x.ended.GetAbandoned() || x.ended == nil && p.dead())
	return e
}

// expired reports whether the plugin has ended the attempt because its time was
// up, a moment before the host would have asked for that.
func (x *execution) expired() bool {
	return !x.until.IsZero() && time.Until(x.until) < time.Second &&
		x.ended.GetError().GetClass() == pluginpb.ErrorClass_ERROR_CLASS_TIMEOUT
}

// overLimit returns why an attempt that nobody stopped was ended for a limit of
// its own; nil when it was not.
func (x *execution) overLimit() *Stop {
	if failure := x.ended.GetError(); failure.GetLimit() != "" {
		return &Stop{Reason: StopLimit, Message: clip(x.mask(failure.GetMessage()), maxMessage)}
	}
	if p := x.process; x.ended == nil && p.alone() && p.ended(p.times.kill/4) {
		if excess := p.child.excess.Load(); excess != nil {
			return overLimitStop(excess)
		}
	}
	return nil
}

// lost says what became of an attempt without an end event.
func (x *execution) lost(e *Ended, err error) (*job.Error, string) {
	p := x.process
	stop := x.stopped.Load()
	switch {
	case e.Stop != nil && e.Stop.Reason == StopLimit:
		return &job.Error{Class: job.Quota, Message: e.Stop.Message}, p.child.stderr.text()
	case x.hung.Load():
		return &job.Error{
			Class:   stop.class(),
			Message: fmt.Sprintf("%s; plugin %s did not stop the job, so its process was killed", stop.Error(), p.name),
		}, ""
	case x.gaveUp.Load():
		return &job.Error{Class: stop.class(), Message: fmt.Sprintf("%s; plugin %s was told to let go of the job and has not yet", stop.Error(), p.name)}, ""
	case breached(err):
		return &job.Error{Class: job.Internal, Message: fmt.Sprintf("plugin %s broke the protocol: %s", p.name, err)}, ""
	case x.denied:
		return refusal(p.name, err), ""
	case p.ended(x.patience()):
		text, detail := p.crash()
		if stop != nil && p.stopping.Load() {
			return &job.Error{Class: stop.class(), Message: text}, detail
		}
		if p.stopping.Load() && p.reason == hostStops {
			return &job.Error{Class: job.Shutdown, Message: text}, detail
		}
		return &job.Error{Class: job.Lost, Message: text}, detail
	case status.Code(err) == codes.Unavailable && x.last == 0:
		return &job.Error{Class: job.Lost, Message: fmt.Sprintf("plugin %s cannot be reached: %s", p.name, sentence(err))}, ""
	default:
		return &job.Error{Class: job.Lost, Message: fmt.Sprintf("plugin %s no longer reports on the job: %s", p.name, sentence(err))}, ""
	}
}

// patience is how long to wait for the end of a process whose streams have broken.
// It mostly comes at once. Where the attempt could be resumed after it, it is
// worth more.
func (x *execution) patience() time.Duration {
	if x.saved.Load() {
		return x.process.times.silent
	}
	return x.process.times.kill / 4
}

// refused reports whether a plugin answered an attempt with no, as opposed to
// not having answered at all.
func refused(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.AlreadyExists, codes.PermissionDenied,
		codes.ResourceExhausted, codes.Unimplemented, codes.OutOfRange, codes.NotFound:
		return true
	}
	return false
}

// refusal is the error of an attempt that a plugin refused to begin.
func refusal(plugin string, err error) *job.Error {
	e := &job.Error{Class: job.Internal, RetrySafe: true, Message: fmt.Sprintf("plugin %s refused the job: %s", plugin, sentence(err))}
	switch status.Code(err) {
	case codes.InvalidArgument, codes.OutOfRange:
		e.Class = job.Invalid
	case codes.PermissionDenied:
		e.Class = job.Denied
	case codes.FailedPrecondition, codes.ResourceExhausted:
		e.Class = job.Unavailable // it drains, or runs as many as it can
	case codes.AlreadyExists:
		e.Class, e.RetrySafe = job.Lost, false
	}
	return e
}

var classes = map[pluginpb.ErrorClass]job.Class{
	pluginpb.ErrorClass_ERROR_CLASS_INVALID:     job.Invalid,
	pluginpb.ErrorClass_ERROR_CLASS_FAILED:      job.WorkFailed,
	pluginpb.ErrorClass_ERROR_CLASS_DENIED:      job.Denied,
	pluginpb.ErrorClass_ERROR_CLASS_QUOTA:       job.Quota,
	pluginpb.ErrorClass_ERROR_CLASS_UNAVAILABLE: job.Unavailable,
	pluginpb.ErrorClass_ERROR_CLASS_TRANSIENT:   job.Transient,
	pluginpb.ErrorClass_ERROR_CLASS_TIMEOUT:     job.TimedOut,
	pluginpb.ErrorClass_ERROR_CLASS_CANCELED:    job.WasCanceled,
	pluginpb.ErrorClass_ERROR_CLASS_LOST:        job.Lost,
	pluginpb.ErrorClass_ERROR_CLASS_INTERNAL:    job.Internal,
}

// jobError returns the error of a plugin in the host's words.
func jobError(e *pluginpb.Error) *job.Error {
	converted := &job.Error{
		Class:      classes[e.GetClass()],
		Message:    clip(e.GetMessage(), maxMessage),
		Signal:     clip(e.GetSignal(), maxName),
		RetryAfter: max(e.GetRetryAfter().AsDuration(), 0),
		RetrySafe:  e.GetRetrySafe(),
	}
	if converted.Class == "" {
		converted.Class = job.Internal
	}
	if converted.Message == "" {
		converted.Message = "the plugin did not say why the job failed"
	}
	if e.ExitCode != nil {
		exit := int(e.GetExitCode())
		converted.ExitCode = &exit
	}
	return converted
}

func unimplemented(err error) bool { return status.Code(err) == codes.Unimplemented }

// sentence returns what a process answered, without its secrets.
func (p *process) sentence(err error) string { return p.child.mask.text(sentence(err)) }

// sentence returns what the other side said, without the wrapping of gRPC.
func sentence(err error) string {
	if s, ok := status.FromError(err); ok && s.Message() != "" {
		return s.Message()
	}
	return err.Error()
}
