package sdk

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// An attempt is one try to perform a job, from its start until the host has
// acknowledged its end. It is tied to no call.
type attempt struct {
	server  *Server
	id      string
	request *pluginpb.StartRequest
	ctx     context.Context // canceled with an *Error as its cause
	cancel  context.CancelCauseFunc
	log     eventLog
	result  result // used by Run only
	cleaner bool   // the plugin has a method Cleanup; set before Run
	stdout  Stream
	stderr  Stream

	mu        sync.Mutex
	over      bool // the end was reported
	stopping  bool
	abandoned bool
	lasting   bool // there is a checkpoint, so others can go on with the outside work
	children  []*Cmd
	timers    []*time.Timer
	sampler   *time.Timer // looks at the memory of the children; nil: there was nothing to look at
	exceeded  *Error      // the limit that it has gone over
	forcing   *time.Timer // calls force when the grace time is over; nil: not stopped yet
	secrets   []*pluginpb.Secret
	usage     map[string]float64
	dirMade   bool
}

func newAttempt(server *Server, request *pluginpb.StartRequest) *attempt {
	a := &attempt{
		server:  server,
		id:      request.GetAttemptId(),
		request: request,
		secrets: request.GetSecrets(),
		lasting: request.GetCheckpoint() != nil,
	}
	a.ctx, a.cancel = context.WithCancelCause(context.Background())
	limit := request.GetLimits().GetLogBytes()
	a.stdout = Stream{attempt: a, name: "stdout", kind: pluginpb.LogStream_LOG_STREAM_STDOUT, limit: limit}
	a.stderr = Stream{attempt: a, name: "stderr", kind: pluginpb.LogStream_LOG_STREAM_STDERR, limit: limit}

	if deadline := request.GetDeadline(); deadline != nil {
		at := deadline.AsTime()
		a.ctx = deadlineContext{a.ctx, at}
		a.after(time.Until(at), func() {
			a.stop(pluginpb.CancelMode_CANCEL_MODE_GRACEFUL, 0, stopError(pluginpb.CancelReason_CANCEL_REASON_TIMEOUT, ""))
		})
	}
	return a
}

// deadlineContext tells a deadline that somebody else enforces, together with
// what more there is to do when it passes.
type deadlineContext struct {
	context.Context
	at time.Time
}

// Deadline implements context.Context.
func (c deadlineContext) Deadline() (time.Time, bool) { return c.at, true }

// run performs the attempt to its end.
func (a *attempt) run() {
	var err error
	returned := false
	defer func() {
		if cause := recover(); cause != nil {
			err = &Error{Class: Internal, Message: fmt.Sprintf("panic: %v", cause), Detail: string(debug.Stack())}
		} else if !returned {
			err = Errorf(Internal, "the plugin ended the job's goroutine by runtime.Goexit")
		}
		a.finish(err)
	}()

	err = a.perform()
	returned = true
}

func (a *attempt) perform() error {
	request := a.request
	if request.GetMode() == pluginpb.StartMode_START_MODE_RESUME {
		capabilities, format := a.server.description.GetCapabilities(), request.GetCheckpoint().GetFormat()
		switch {
		case !capabilities.GetResume():
			return Errorf(Lost, "plugin %s cannot go on with the work of an earlier attempt", a.server.description.GetName())
		case request.GetCheckpoint() == nil:
			return Errorf(Lost, "there is no checkpoint to go on from")
		case !slices.Contains(capabilities.GetCheckpointFormats(), format):
			return Errorf(Lost, "plugin %s does not read checkpoints of format %d, only %v", a.server.description.GetName(), format, capabilities.GetCheckpointFormats())
		}
	}

	in, err := a.server.instances.acquire(a.ctx, request.GetSettings(), request.GetSecrets())
	if err != nil {
		return err
	}
	defer a.server.instances.release(in)
	_, a.cleaner = in.plugin.(Cleaner)
	return a.server.perform(a, in.plugin)
}

// begin reports that the work begins.
func (a *attempt) begin() {
	a.log.add(&pluginpb.Event{Kind: &pluginpb.Event_Started{Started: &pluginpb.Started{}}}, false)
}

// finish ends the attempt with what Run returned.
func (a *attempt) finish(err error) {
	var outcome *pluginpb.Result
	if over := a.overLimit(); over != nil && err == nil {
		err = over
	}
	if err == nil {
		outcome, err = a.result.close()
	} else {
		a.result.discard()
	}

	if err != nil {
		a.end(nil, classify(a.ctx, err))
	} else {
		a.end(outcome, nil)
	}
}

// end reports the end, once; later calls change nothing.
func (a *attempt) end(outcome *pluginpb.Result, failure *Error) {
	a.mu.Lock()
	if a.over {
		a.mu.Unlock()
		return
	}
	a.over = true
	timers := a.timers
	a.timers = nil
	if a.forcing != nil {
		timers = append(timers, a.forcing)
	}
	if a.sampler != nil {
		timers = append(timers, a.sampler)
	}
	a.mu.Unlock()

	for _, timer := range timers {
		timer.Stop()
	}
	a.eachChild((*Cmd).Kill)
	a.cancel(nil)
	a.stdout.close()
	a.stderr.close()
	a.server.free() // before its end is told: whoever knows of that may start the next
	a.report(outcome, failure)
	a.server.tell()
}

func (a *attempt) report(outcome *pluginpb.Result, failure *Error) {
	ended := &pluginpb.Ended{}
	if failure != nil {
		a.mu.Lock()
		ended.Abandoned = a.abandoned && a.lasting
		a.mu.Unlock()
		ended.Error = failure.wire()
	}

	last := &pluginpb.Event{Kind: &pluginpb.Event_Ended{Ended: ended}}
	if outcome == nil {
		a.log.end(last)
		return
	}
	a.log.end(&pluginpb.Event{Kind: &pluginpb.Event_Result{Result: outcome}}, last)
}

// after calls f after a time unless the attempt ends before.
func (a *attempt) after(d time.Duration, f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.over {
		a.timers = append(a.timers, time.AfterFunc(d, f))
	}
}

// dir returns the working folder and makes it on the first call.
func (a *attempt) dir() (string, error) {
	dir := a.request.GetFolders().GetWork()
	if dir == "" {
		return "", Errorf(Internal, "the host named no working folder")
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dirMade {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", Errorf(Internal, "make the working folder: %w", err)
	}
	a.dirMade = true
	return dir, nil
}

func (a *attempt) addUsage(unit string, amount float64) {
	unit = clip(unit, maxMessage)
	a.mu.Lock()
	defer a.mu.Unlock()
	sum := a.usage[unit] + amount
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		a.logger().Warn("usage dropped: the sum is no number", "unit", unit, "amount", fmt.Sprint(amount))
		return
	}
	if a.usage == nil {
		a.usage = map[string]float64{}
	}
	a.usage[unit] = sum
	// Under the lock, so that sums are reported in their order.
	a.log.add(&pluginpb.Event{Kind: &pluginpb.Event_Usage{Usage: &pluginpb.Usage{Unit: unit, Amount: sum}}}, false)
}

// secret returns the newest value of a secret of the settings.
func (a *attempt) secret(pointer string) (Secret, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, secret := range a.secrets {
		if secret.GetPointer() == pointer {
			return NewSecret(string(secret.GetValue())), true
		}
	}
	return Secret{}, false
}

func (a *attempt) updateSecrets(secrets []*pluginpb.Secret) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.secrets = slices.Clone(a.secrets)
	for _, secret := range secrets {
		a.secrets = slices.DeleteFunc(a.secrets, func(old *pluginpb.Secret) bool {
			return old.GetPointer() == secret.GetPointer()
		})
		a.secrets = append(a.secrets, secret)
	}
}

// logger returns a logger that writes to the plugin's own log.
func (a *attempt) logger() *slog.Logger { return slog.New(&attemptHandler{a}) }

// attemptHandler names the job in each record. Nothing is prepared before the
// first record, because most jobs write none.
type attemptHandler struct{ *attempt }

// Enabled implements slog.Handler.
func (h *attemptHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.server.log.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *attemptHandler) Handle(ctx context.Context, record slog.Record) error {
	return h.named().Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (h *attemptHandler) WithAttrs(attrs []slog.Attr) slog.Handler { return h.named().WithAttrs(attrs) }

// WithGroup implements slog.Handler.
func (h *attemptHandler) WithGroup(name string) slog.Handler { return h.named().WithGroup(name) }

func (h *attemptHandler) named() slog.Handler {
	return h.server.log.WithAttrs([]slog.Attr{
		slog.String("job", h.request.GetJob().GetId()),
		slog.String("attempt", h.id),
	})
}
