package pluginhost

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Sink takes in what an attempt reports while it runs, one call at a time and
// in order.
type Sink interface {
	// Started says that the work has begun.
	Started(at time.Time)
	// Progress says how far it is; a total of 0 is unknown.
	Progress(done, total float64, message string)
	// Output takes a named value; a later one of the same key replaces it.
	Output(output job.Output)
	// Usage takes the sum of one unit since the attempt began.
	Usage(unit string, amount float64)
	// Checkpoint takes what lets another process go on with the work. The
	// plugin waits until it returns nil, which means that it is durable, with all
	// that was reported before. It gives up when ctx is done, because the attempt
	// is to stop. Any other error stops it: a *Stop says how.
	Checkpoint(ctx context.Context, format int32, data []byte) error
	// Truncated says that a stream lacks the text from an offset on.
	Truncated(stream job.Stream, offset int64)
}

const (
	maxTries     = 8                     // to follow a broken stream of a living process
	firstPause   = 20 * time.Millisecond // before the second; then twice as long each time
	closeTimeout = time.Second           // for a stream to close after its last event
)

// execution is one attempt in a process.
type execution struct {
	process *process
	attempt string
	request *pluginpb.StartRequest
	sink    Sink
	limit   func(begun time.Time) (end time.Time, late string)
	until   time.Time     // it must have ended by then; zero: there is no such time
	late    string        // one sentence: what it is when it has not
	grace   time.Duration // it is given then
	logCap  int64         // bytes of each stream; 0: any
	resumes bool          // it goes on with the outside work of an earlier attempt

	asked context.Context         // done when the attempt is asked to stop
	abort context.CancelCauseFunc // asks it to, with a *Stop

	last    uint64 // number of the last event
	working bool   // it has said so
	denied  bool   // the plugin would not begin it
	reports reports
	result  *pluginpb.Result
	ended   *pluginpb.Ended // nil before the end event

	stopped  atomic.Pointer[Stop] // why it was asked to stop
	saved    atomic.Bool          // it has a checkpoint
	hung     atomic.Bool          // it did not stop, so its process had to
	gaveUp   atomic.Bool          // it was told to leave its work alone, and did not end
	detached atomic.Bool          // it is not followed any more, but goes on
}

func newExecution(p *process, r *Request, sink Sink) *execution {
	x := &execution{
		process: p, attempt: r.AttemptID, request: r.message(), sink: sink, limit: r.end, grace: r.Grace,
		logCap: r.Limits.LogCap, resumes: r.Resume,
	}
	x.saved.Store(r.Checkpoint != nil)
	p.child.mask.tell(x.request.GetSecrets())
	return x
}

// Run runs an attempt to its end and reports what happens to the sink. How it
// ended is in what it returns; there is no other error. Canceling ctx with a
// *Stop as its cause stops the attempt; Run still returns only when it is over.
// Nothing is begun while the host's right to run is over.
func (h *Host) Run(ctx context.Context, request Request, sink Sink) *Ended {
	p, err := h.enter(ctx, &request)
	if err == nil {
		defer p.leave()
		if request.Resume {
			err = p.resumes(request.Checkpoint.Format)
		}
		unstarted := !h.right.holds() // it may be over by now: the wait can be long
		if err != nil || ctx.Err() != nil || unstarted {
			p.release()
		}
		if unstarted && err == nil && ctx.Err() == nil {
			return &Ended{Unstarted: true}
		}
	}
	over, tooMuch := errors.AsType[*overLimit](err)
	switch {
	case ctx.Err() != nil && stopOf(ctx).Reason == StopDetach:
		return &Ended{Left: true} // a later life of the host finds that it never began
	case ctx.Err() != nil:
		ended := stoppedBefore(ctx)
		ended.Remains = request.Resume
		return ended
	case tooMuch:
		ended := notStartable(over.excess)
		ended.Remains = request.Resume
		return ended
	case err != nil && request.Resume:
		return notResumed(err)
	case err != nil:
		return notStarted(job.Unavailable, err.Error())
	}
	p.owed.Add(1)
	x := newExecution(p, &request, sink)
	return h.note(x, x.run(ctx, request.Folders, x.start))
}

// note remembers an attempt that was given up while its process may still run it,
// until that has ended.
func (h *Host) note(x *execution, ended *Ended) *Ended {
	switch {
	case ended.Left:
	case x.ended != nil, x.denied, x.process.dead():
		h.givenUp.Delete(x.attempt)
	default:
		h.givenUp.Store(x.attempt, x.process)
	}
	return ended
}

// run follows an attempt that begin begins, or finds, to its end.
func (x *execution) run(ctx context.Context, folders Folders, begin follower) *Ended {
	if x.limit != nil {
		x.until, x.late = x.limit(time.Now())
	}
	ctx, x.abort = context.WithCancelCause(ctx)
	defer x.abort(nil)
	if !x.until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, x.until, x.timeUp())
		defer cancel()
	}
	x.asked = ctx
	defer x.guardLogs(folders.Logs, x.logCap, func(stop *Stop) { x.abort(stop) })()

	// The attempt has a life of its own: a canceled ctx asks it to stop, but its
	// events are followed until it has.
	life, finish := context.WithCancel(context.Background())
	defer finish()
	returned := make(chan struct{})
	release := context.AfterFunc(ctx, func() {
		defer close(returned)
		x.stop(life, stopOf(ctx), finish)
	})
	err := x.follow(life, finish, begin)
	finish()
	if !release() {
		<-returned
	}
	if x.detached.Load() && x.ended == nil {
		x.process.detached.Store(true)
		return &Ended{Left: true}
	}
	if err != nil && !x.gaveUp.Load() {
		x.disown()
	}
	return x.end(folders, err)
}

// timeUp is why an attempt is stopped that takes too long.
func (x *execution) timeUp() *Stop {
	return &Stop{Reason: StopTimeout, Message: x.late, Grace: x.grace}
}

// follower opens a stream of events and takes them in until the end event; cut
// ends ctx.
type follower func(ctx context.Context, cut func()) error

// enter waits until an attempt may begin in a process of the plugin, and counts
// it there until leave. Of a process that ends meanwhile nothing is expected: the
// attempt was not begun, so another process may have it.
func (h *Host) enter(ctx context.Context, request *Request) (*process, error) {
	for {
		p, err := h.await(ctx, request.Plugin, request.PluginVersion)
		if err != nil {
			return nil, err
		}
		if p.isolation == PerJob {
			p, err = p.supervisor.start(ctx, request)
			if errors.Is(err, errRetired) {
				continue
			}
			if err == nil {
				p.running.Add(1)
			}
			return p, err
		}
		if p.slots != nil {
			select {
			case p.slots <- struct{}{}:
			case <-p.child.exited:
				continue
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		if p.running.Add(1) > 0 && p.alive() {
			return p, nil
		}
		p.leave()
	}
}

// leave takes an attempt that has entered out again.
func (p *process) leave() {
	p.running.Add(-1)
	if p.slots != nil {
		<-p.slots
	}
}

// follow takes in the events of the attempt until its end, across breaks of
// the stream. It returns nil after the end event, else why it was not reached.
func (x *execution) follow(ctx context.Context, cut func(), begin follower) error {
	err := begin(ctx, cut)
	for try, last := 1, x.last; x.ended == nil && !refused(err) && !breached(err) && ctx.Err() == nil; try++ {
		if x.last > last {
			try, last = 1, x.last
		}
		if try == maxTries {
			return err
		}
		select {
		case <-x.process.child.exited:
			return err
		case <-time.After(firstPause << (try - 1)):
		}
		err = x.watch(ctx, cut)
		if status.Code(err) == codes.NotFound && x.last == 0 {
			err = begin(ctx, cut) // it did not arrive, or arrives now and is told again
		}
	}
	return err
}

func (x *execution) start(ctx context.Context, cut func()) error {
	stream, err := x.process.commands.Start(ctx, x.request)
	if err == nil {
		err = receive(x, stream.Recv, cut)
	}
	x.denied = refused(err) && x.last == 0
	return err
}

func (x *execution) watch(ctx context.Context, cut func()) error {
	stream, err := x.process.commands.Watch(ctx, &pluginpb.WatchRequest{AttemptId: x.attempt, From: x.last + 1})
	if err != nil {
		return err
	}
	return receive(x, stream.Recv, cut)
}

// disown ends an attempt that is given up here, if its process still knows it.
func (x *execution) disown() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = x.process.commands.Cancel(ctx, &pluginpb.CancelRequest{
		AttemptId: x.attempt,
		Mode:      pluginpb.CancelMode_CANCEL_MODE_FORCED,
		Message:   "the host could not follow the job",
	})
}
