package sdk_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

type rawJob = sdk.Job[json.RawMessage]

func TestStartIsIdempotent(t *testing.T) {
	t.Parallel()

	var runs atomic.Int32
	release := make(chan struct{})
	h := newHost(t, script(func(_ context.Context, job *rawJob) error {
		runs.Add(1)
		<-release
		return job.Text("done")
	}))
	request := h.request("a")
	first, second := h.start(request), h.start(request)
	close(release)
	first.end()
	second.end()
	third := h.start(request)
	third.end()

	if got := runs.Load(); got != 1 {
		t.Errorf("Run was called %d times, want 1", got)
	}
	if got, want := third.numbers(), first.numbers(); !slices.Equal(got, want) {
		t.Errorf("repeated start sent events %v, want %v again", got, want)
	}

	h.ack("a", 3)
	if got := h.start(request).code(); got != codes.AlreadyExists {
		t.Errorf("start after the acknowledged end: got %v, want AlreadyExists", got)
	}
	if got := h.watch("a", 1).code(); got != codes.NotFound {
		t.Errorf("watch after the acknowledged end: got %v, want NotFound", got)
	}
}

func TestAttemptOutlivesItsStream(t *testing.T) {
	t.Parallel()

	release := make(chan struct{})
	h := newHost(t, script(func(ctx context.Context, job *rawJob) error {
		<-release
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return job.Text("done")
	}))
	ctx, hangUp := context.WithCancel(t.Context())
	s, err := h.Start(ctx, h.request("a"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	hangUp()
	if _, err := s.Recv(); status.Code(err) != codes.Canceled {
		t.Fatalf("got %v, want Canceled", err)
	}
	close(release)
	if err := h.watch("a", 2).end(); err != nil {
		t.Errorf("ended with %v, want no error", err)
	}
}

func TestWatchFromEachNumber(t *testing.T) {
	t.Parallel()

	h := newHost(t, script(func(_ context.Context, job *rawJob) error {
		for i := range 3 {
			job.Output(fmt.Sprint("key", i), "value")
		}
		job.Output("key0", "again")
		job.Usage("rows", 2)
		job.Usage("rows", 3)
		job.Progress(1, 2, "half")
		job.Progress(2, 2, "all")
		return job.Text("done")
	}))
	all := h.start(h.request("a"))
	all.end()
	numbers := all.numbers()
	if want := []uint64{1, 3, 4, 5, 7, 9, 10, 11}; !slices.Equal(numbers, want) {
		t.Fatalf("got events %v, want %v: later ones replace earlier ones", numbers, want)
	}

	for from := uint64(0); from <= 11; from++ {
		s := h.watch("a", from)
		s.end()
		want := slices.DeleteFunc(slices.Clone(numbers), func(n uint64) bool { return n < from })
		if got := s.numbers(); !slices.Equal(got, want) {
			t.Errorf("watch from %d: got %v, want %v", from, got, want)
		}
	}

	h.ack("a", 7)
	s := h.watch("a", 1)
	s.end()
	if got, want := s.numbers(), []uint64{9, 10, 11}; !slices.Equal(got, want) {
		t.Errorf("after an acknowledgement: got %v, want %v", got, want)
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		run     func(context.Context, *rawJob) error
		class   pluginpb.ErrorClass
		message string
	}{
		"plain error": {
			func(context.Context, *rawJob) error { return fmt.Errorf("no such table") },
			pluginpb.ErrorClass_ERROR_CLASS_FAILED, "no such table",
		},
		"typed error inside another": {
			func(context.Context, *rawJob) error {
				return fmt.Errorf("query: %w", sdk.Errorf(sdk.Quota, "too many"))
			},
			pluginpb.ErrorClass_ERROR_CLASS_QUOTA, "query: too many",
		},
		"panic": {
			func(context.Context, *rawJob) error { panic("oh") },
			pluginpb.ErrorClass_ERROR_CLASS_INTERNAL, "panic: oh",
		},
		"own deadline": {
			func(context.Context, *rawJob) error { return context.DeadlineExceeded },
			pluginpb.ErrorClass_ERROR_CLASS_TIMEOUT, "context deadline exceeded",
		},
		"invalid text": {
			func(context.Context, *rawJob) error { return fmt.Errorf("\xff") },
			pluginpb.ErrorClass_ERROR_CLASS_FAILED, "\uFFFD",
		},
		"program": {
			func(_ context.Context, job *rawJob) error { return job.Exec("sh", "-c", "exit 3").Run() },
			pluginpb.ErrorClass_ERROR_CLASS_FAILED, "exit status 3",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			h := newHost(t, script(test.run))
			err := h.start(h.request("a")).end()
			if err.GetClass() != test.class || err.GetMessage() != test.message {
				t.Errorf("got %v %q, want %v %q", err.GetClass(), err.GetMessage(), test.class, test.message)
			}
			if name == "panic" && !strings.Contains(err.GetDetail(), "server_test.go") {
				t.Errorf("Detail = %q, want the stack", err.GetDetail())
			}
			if name == "program" && err.GetExitCode() != 3 {
				t.Errorf("ExitCode = %d, want 3", err.GetExitCode())
			}
		})
	}
}

func TestErrorTravelsWhole(t *testing.T) {
	t.Parallel()

	h := newHost(t, script(func(context.Context, *rawJob) error {
		return &sdk.Error{Class: sdk.Transient, Message: "later", RetryAfter: time.Minute, RetrySafe: true, ExitCode: new(9), Signal: "SIGHUP", Detail: "more"}
	}))
	got := h.start(h.request("a")).end()
	if got.GetRetryAfter().AsDuration() != time.Minute || !got.GetRetrySafe() || got.GetExitCode() != 9 || got.GetSignal() != "SIGHUP" || got.GetDetail() != "more" {
		t.Errorf("got %v, want all fields", got)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()

	patient := func(ctx context.Context, _ *rawJob) error {
		<-ctx.Done()
		return ctx.Err()
	}
	tests := map[string]struct {
		reason  pluginpb.CancelReason
		message string
		class   pluginpb.ErrorClass
		want    string
	}{
		"user":        {pluginpb.CancelReason_CANCEL_REASON_USER, "canceled by bob", pluginpb.ErrorClass_ERROR_CLASS_CANCELED, "canceled by bob"},
		"timeout":     {pluginpb.CancelReason_CANCEL_REASON_TIMEOUT, "", pluginpb.ErrorClass_ERROR_CLASS_TIMEOUT, "the job's time was up"},
		"shutdown":    {pluginpb.CancelReason_CANCEL_REASON_SHUTDOWN, "", pluginpb.ErrorClass_ERROR_CLASS_CANCELED, "the job was stopped because the host shuts down"},
		"client gone": {pluginpb.CancelReason_CANCEL_REASON_CLIENT_GONE, "", pluginpb.ErrorClass_ERROR_CLASS_CANCELED, "the caller that waited for the job has gone"},
		"lease lost":  {pluginpb.CancelReason_CANCEL_REASON_LEASE_LOST, "", pluginpb.ErrorClass_ERROR_CLASS_LOST, "the host lost its right to run the job"},
		"limit":       {pluginpb.CancelReason_CANCEL_REASON_LIMIT, "", pluginpb.ErrorClass_ERROR_CLASS_QUOTA, "the job broke a limit"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			h := newHost(t, script(patient))
			s := h.start(h.request("a"))
			s.until(func(e *pluginpb.Event) bool { return e.GetStarted() != nil })
			if !h.cancel(&pluginpb.CancelRequest{AttemptId: "a", Reason: test.reason, Message: test.message}) {
				t.Error("Accepted = false, want true")
			}
			err := s.end()
			if err.GetClass() != test.class || err.GetMessage() != test.want {
				t.Errorf("got %v %q, want %v %q", err.GetClass(), err.GetMessage(), test.class, test.want)
			}
			if h.cancel(&pluginpb.CancelRequest{AttemptId: "a"}) {
				t.Error("Accepted = true for an ended attempt, want false")
			}
		})
	}
}

func TestDeafJobEndsAnyway(t *testing.T) {
	t.Parallel()

	release := make(chan struct{})
	defer close(release)
	h := newHost(t, script(func(_ context.Context, job *rawJob) error {
		<-release
		return job.Text("too late")
	}))
	s := h.start(h.request("a"))
	h.cancel(&pluginpb.CancelRequest{
		AttemptId: "a",
		Mode:      pluginpb.CancelMode_CANCEL_MODE_GRACEFUL,
		Grace:     durationpb.New(time.Millisecond),
		Reason:    pluginpb.CancelReason_CANCEL_REASON_USER,
	})
	if got := s.end().GetClass(); got != pluginpb.ErrorClass_ERROR_CLASS_CANCELED {
		t.Errorf("class = %v, want canceled", got)
	}
}

func TestForcedCancelKillsChildren(t *testing.T) {
	t.Parallel()

	h := newHost(t, script(func(_ context.Context, job *rawJob) error {
		return job.Exec("sh", "-c", `trap "" TERM; echo ready; while :; do sleep 1; done`).Run()
	}))
	s := h.start(h.request("a"))
	s.until(func(e *pluginpb.Event) bool { return e.GetStarted() != nil })
	h.cancel(&pluginpb.CancelRequest{AttemptId: "a", Grace: durationpb.New(time.Hour), Reason: pluginpb.CancelReason_CANCEL_REASON_USER})
	h.cancel(&pluginpb.CancelRequest{AttemptId: "a", Mode: pluginpb.CancelMode_CANCEL_MODE_FORCED, Reason: pluginpb.CancelReason_CANCEL_REASON_USER})
	if got := s.end().GetClass(); got != pluginpb.ErrorClass_ERROR_CLASS_CANCELED {
		t.Errorf("class = %v, want canceled", got)
	}
}

func TestCancelThatOvertakesItsStart(t *testing.T) {
	t.Parallel()

	h := newHost(t, script(func(ctx context.Context, _ *rawJob) error {
		<-ctx.Done()
		return ctx.Err()
	}))
	if h.cancel(&pluginpb.CancelRequest{AttemptId: "a", Reason: pluginpb.CancelReason_CANCEL_REASON_USER}) {
		t.Error("Accepted = true for an unknown attempt, want false")
	}
	if got := h.start(h.request("a")).end().GetClass(); got != pluginpb.ErrorClass_ERROR_CLASS_CANCELED {
		t.Errorf("class = %v, want canceled", got)
	}
}

func TestAbandon(t *testing.T) {
	t.Parallel()

	told := make(chan bool, 1)
	h := newHost(t, script(func(ctx context.Context, _ *rawJob) error {
		<-ctx.Done()
		told <- sdk.Abandoned(ctx)
		return ctx.Err()
	}))
	s := h.start(h.request("a"))
	h.cancel(&pluginpb.CancelRequest{AttemptId: "a", Mode: pluginpb.CancelMode_CANCEL_MODE_ABANDON, Reason: pluginpb.CancelReason_CANCEL_REASON_LEASE_LOST})
	s.end()
	if !<-told {
		t.Error("Abandoned = false, want true")
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()

	h := newHost(t, script(func(ctx context.Context, _ *rawJob) error {
		if _, ok := ctx.Deadline(); !ok {
			return fmt.Errorf("ctx has no deadline")
		}
		inner, cancel := context.WithCancel(ctx)
		defer cancel()
		<-inner.Done()
		return ctx.Err()
	}))
	request := h.request("a")
	request.Deadline = timestamppb.New(time.Now().Add(20 * time.Millisecond))
	if got := h.start(request).end().GetClass(); got != pluginpb.ErrorClass_ERROR_CLASS_TIMEOUT {
		t.Errorf("class = %v, want timeout", got)
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()

	release := make(chan struct{})
	h := newHost(t, script(func(context.Context, *rawJob) error {
		<-release
		return nil
	}))
	a, b := h.start(h.request("a")), h.start(h.request("b"))
	started := func(e *pluginpb.Event) bool { return e.GetStarted() != nil }
	a.until(started)
	b.until(started)
	drain, err := h.Drain(t.Context(), &pluginpb.DrainRequest{Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	first, err := drain.Recv()
	if err != nil || !slices.Equal(first.GetRunning(), []string{"a", "b"}) {
		t.Fatalf("got %v and %v, want a and b running", first.GetRunning(), err)
	}
	if got := h.start(h.request("c")).code(); got != codes.FailedPrecondition {
		t.Errorf("start while draining: got %v, want FailedPrecondition", got)
	}

	close(release)
	last := first
	for {
		response, err := drain.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = response
	}
	if len(last.GetRunning()) != 0 {
		t.Errorf("got %v running at the end, want none", last.GetRunning())
	}
}

func TestList(t *testing.T) {
	t.Parallel()

	release := make(chan struct{})
	h := newHost(t, script(func(_ context.Context, job *rawJob) error {
		if job.ID == "job of z" {
			<-release
		}
		return nil
	}))
	running := h.start(h.request("z"))
	running.until(func(e *pluginpb.Event) bool { return e.GetStarted() != nil })
	h.start(h.request("b")).end()
	h.start(h.request("a")).end()
	h.ack("a", 2)
	response, err := h.List(t.Context(), &pluginpb.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range response.GetAttempts() {
		got = append(got, fmt.Sprint(a.GetAttemptId(), " ", a.GetState(), " ", a.GetLastEvent(), " ", a.GetJobId()))
	}
	want := []string{"z ATTEMPT_STATE_RUNNING 1 job of z", "b ATTEMPT_STATE_ENDED 2 job of b"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	close(release)
	running.end()
}

func TestRenew(t *testing.T) {
	t.Parallel()

	h := newHost(t, script(nil))
	for _, test := range []struct {
		epoch int64
		want  codes.Code
	}{{5, codes.OK}, {5, codes.OK}, {4, codes.FailedPrecondition}, {6, codes.OK}} {
		_, err := h.Renew(t.Context(), &pluginpb.RenewRequest{HostEpoch: test.epoch, ValidFor: durationpb.New(time.Minute)})
		if got := status.Code(err); got != test.want {
			t.Errorf("epoch %d: got %v, want %v", test.epoch, got, test.want)
		}
	}
}

func TestMaxConcurrency(t *testing.T) {
	t.Parallel()

	release := make(chan struct{})
	h := newHost(t, script(func(context.Context, *rawJob) error {
		<-release
		return nil
	}), sdk.MaxConcurrency(1))
	a := h.start(h.request("a"))
	a.until(func(e *pluginpb.Event) bool { return e.GetStarted() != nil })
	if got := h.start(h.request("b")).code(); got != codes.ResourceExhausted {
		t.Errorf("got %v, want ResourceExhausted", got)
	}
	close(release)
	a.end()
	if err := h.start(h.request("b")).end(); err != nil {
		t.Errorf("got %v, want the next to run", err)
	}
}

func TestShutdownStopsJobs(t *testing.T) {
	t.Parallel()

	h := newHost(t, script(func(ctx context.Context, _ *rawJob) error {
		<-ctx.Done()
		return ctx.Err()
	}))
	s := h.start(h.request("a"))
	s.until(func(e *pluginpb.Event) bool { return e.GetStarted() != nil })
	h.server.Shutdown(t.Context(), time.Second)
	if got := s.end().GetMessage(); !strings.Contains(got, "shuts down") {
		t.Errorf("message = %q, want the shutdown", got)
	}
}
