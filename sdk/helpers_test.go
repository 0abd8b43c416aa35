package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// scripted is a plugin that does what a test says.
type scripted struct {
	run func(context.Context, *sdk.Job[json.RawMessage]) error
}

func (s *scripted) Run(ctx context.Context, job *sdk.Job[json.RawMessage]) error {
	return s.run(ctx, job)
}

func script(run func(context.Context, *sdk.Job[json.RawMessage]) error) func() *scripted {
	return func() *scripted { return &scripted{run: run} }
}

// host is the other side of a plugin.
type host struct {
	t testing.TB
	pluginpb.PluginServiceClient
	pluginpb.CommandServiceClient
	server *sdk.Server
}

func newHost[P sdk.Plugin[Input], Input any](t testing.TB, create func() P, options ...sdk.Option) *host {
	t.Helper()
	plugin, err := sdk.New("test", create, options...)
	if err != nil {
		t.Fatal(err)
	}
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(plugin.GRPCOptions()...)
	plugin.Register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///plugin",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		<-served
	})
	return &host{
		t:                    t,
		PluginServiceClient:  pluginpb.NewPluginServiceClient(conn),
		CommandServiceClient: pluginpb.NewCommandServiceClient(conn),
		server:               plugin,
	}
}

func (h *host) request(id string) *pluginpb.StartRequest {
	dir := h.t.TempDir()
	return &pluginpb.StartRequest{
		AttemptId: id,
		Job:       &pluginpb.JobInfo{Id: "job of " + id},
		Folders: &pluginpb.Folders{
			Work:   filepath.Join(dir, "work"),
			Logs:   filepath.Join(dir, "logs"),
			Result: filepath.Join(dir, "result"),
		},
	}
}

// start begins an attempt and returns its stream once it has started.
func (h *host) start(request *pluginpb.StartRequest) *stream {
	h.t.Helper()
	s, err := h.Start(h.t.Context(), request)
	if err != nil {
		h.t.Fatalf("Start: %v", err)
	}
	return &stream{h.t, func() ([]*pluginpb.Event, error) {
		response, err := s.Recv()
		return response.GetEvents(), err
	}, nil}
}

func (h *host) watch(id string, from uint64) *stream {
	h.t.Helper()
	s, err := h.Watch(h.t.Context(), &pluginpb.WatchRequest{AttemptId: id, From: from})
	if err != nil {
		h.t.Fatalf("Watch: %v", err)
	}
	return &stream{h.t, func() ([]*pluginpb.Event, error) {
		response, err := s.Recv()
		return response.GetEvents(), err
	}, nil}
}

func (h *host) ack(id string, number uint64) {
	h.t.Helper()
	_, err := h.Ack(h.t.Context(), &pluginpb.AckRequest{Attempts: []*pluginpb.AckedAttempt{{AttemptId: id, Event: number}}})
	if err != nil {
		h.t.Fatalf("Ack: %v", err)
	}
}

func (h *host) cancel(request *pluginpb.CancelRequest) bool {
	h.t.Helper()
	response, err := h.Cancel(h.t.Context(), request)
	if err != nil {
		h.t.Fatalf("Cancel: %v", err)
	}
	return response.GetAccepted()
}

// stream is a stream of events, however it was asked for.
type stream struct {
	t      testing.TB
	recv   func() ([]*pluginpb.Event, error)
	events []*pluginpb.Event
}

// until receives up to an event that fits and returns it.
func (s *stream) until(fits func(*pluginpb.Event) bool) *pluginpb.Event {
	s.t.Helper()
	for {
		events, err := s.recv()
		if err != nil {
			s.t.Fatalf("receive events: %v", err)
		}
		s.events = append(s.events, events...)
		for _, event := range events {
			if fits(event) {
				return event
			}
		}
	}
}

// end receives all events and returns the error of the attempt.
func (s *stream) end() *pluginpb.Error {
	s.t.Helper()
	event := s.until(func(e *pluginpb.Event) bool { return e.GetEnded() != nil })
	if _, err := s.recv(); !errors.Is(err, io.EOF) {
		s.t.Errorf("after the end: got %v, want the stream to close", err)
	}
	return event.GetEnded().GetError()
}

func (s *stream) code() codes.Code {
	s.t.Helper()
	_, err := s.recv()
	return status.Code(err)
}

func (s *stream) numbers() []uint64 {
	var out []uint64
	for _, event := range s.events {
		out = append(out, event.GetNumber())
	}
	return out
}

// eventually polls a condition that another goroutine brings about.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
