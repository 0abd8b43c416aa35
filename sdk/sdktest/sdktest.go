// Package sdktest runs a plugin in the process of a test, over the real protocol,
// in milliseconds. It plays the host: it gives the job folders of its own, holds
// checkpoints durably, and gathers what came back.
package sdktest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/handshake"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// Option changes the job that a test runs.
type Option func(*setup)

type setup struct {
	request *pluginpb.StartRequest
	plugin  []sdk.Option
}

// User sets who submits the job; without it, "test".
func User(name string, groups ...string) Option {
	return func(s *setup) { s.request.User = &pluginpb.User{Name: name, Groups: groups} }
}

// Secret adds a secret of the settings at a JSON pointer such as "/password".
func Secret(pointer, value string) Option {
	return func(s *setup) {
		s.request.Secrets = append(s.request.Secrets, &pluginpb.Secret{Pointer: pointer, Value: []byte(value)})
	}
}

// File adds a file that came with the job, which lies at a path.
func File(name, path string) Option {
	return func(s *setup) {
		file := &pluginpb.InputFile{Name: name, Path: path, ContentType: "application/octet-stream"}
		if content, err := os.ReadFile(path); err == nil { // else the plugin sees what it makes of it
			sum := sha256.Sum256(content)
			file.Size, file.Sha256 = int64(len(content)), sum[:]
		}
		s.request.Inputs = append(s.request.Inputs, file)
	}
}

// Deadline makes the job time out after a time.
func Deadline(d time.Duration) Option {
	return func(s *setup) { s.request.Deadline = timestamppb.New(time.Now().Add(d)) }
}

// Resume makes the job go on from a checkpoint as an earlier attempt of the plugin
// saved it: a value that is written as JSON, such as the Checkpoint of an Outcome.
// It is of the first format of the plugin, which needs the option sdk.Resume;
// Request can give it another.
func Resume(checkpoint any) Option {
	return func(s *setup) {
		s.request.Mode = pluginpb.StartMode_START_MODE_RESUME
		s.request.Checkpoint = wireCheckpoint(checkpoint)
	}
}

func wireCheckpoint(v any) *pluginpb.Checkpoint {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("sdktest: a checkpoint cannot be written as JSON: %v", err))
	}
	return &pluginpb.Checkpoint{Data: data}
}

// Plugin adds options that the plugin passes to sdk.Serve.
func Plugin(options ...sdk.Option) Option {
	return func(s *setup) { s.plugin = append(s.plugin, options...) }
}

// Request changes anything else of what the host asks for.
func Request(change func(*pluginpb.StartRequest)) Option {
	return func(s *setup) { change(s.request) }
}

// Run runs one job to its end. Settings and input are written as JSON; nil is an
// empty object.
func Run[P sdk.Plugin[Input], Input any](t testing.TB, create func() P, settings, input any, opts ...Option) Outcome {
	t.Helper()
	return Start(t, create, settings, input, opts...).Wait()
}

// Start starts one job, for tests that do something while it runs. The job is
// canceled when the test ends before it.
func Start[P sdk.Plugin[Input], Input any](t testing.TB, create func() P, settings, input any, opts ...Option) *Attempt {
	t.Helper()
	s := newSetup(t, settings, input, opts)
	client := serve(t, create, s, s.request.GetCheckpoint())
	stream, err := client.Start(t.Context(), s.request)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	return &Attempt{t: t, request: s.request, client: client, stream: stream}
}

// Cleanup calls the plugin's Cleanup after a job whose last checkpoint, written as
// JSON, is given; nil: it saved none. A plugin without that method has nothing to
// do. The error is not nil when the host would have to try again.
func Cleanup[P sdk.Plugin[Input], Input any](t testing.TB, create func() P, settings, checkpoint any, opts ...Option) error {
	t.Helper()
	s := newSetup(t, settings, nil, opts)
	request := &pluginpb.CleanupRequest{
		AttemptId: s.request.GetAttemptId(),
		Job:       s.request.GetJob(),
		Settings:  s.request.GetSettings(),
		Secrets:   s.request.GetSecrets(),
		Folders:   s.request.GetFolders(),
		Reason:    "the test says so",
	}
	if checkpoint != nil {
		request.Checkpoint = wireCheckpoint(checkpoint)
	}
	_, err := serve(t, create, s, request.GetCheckpoint()).Cleanup(t.Context(), request)
	return err
}

func newSetup(t testing.TB, settings, input any, opts []Option) *setup {
	t.Helper()
	dir := t.TempDir()
	s := &setup{request: &pluginpb.StartRequest{
		AttemptId:     "attempt-1",
		AttemptNumber: 1,
		Mode:          pluginpb.StartMode_START_MODE_FRESH,
		Job:           &pluginpb.JobInfo{Id: "00000000-0000-4000-8000-000000000001", Name: "test", Version: "0.0.1", CreatedAt: timestamppb.Now()},
		Command:       &pluginpb.ObjectInfo{Id: "command", Name: "command", Version: "0.0.1", Context: []byte("{}")},
		Cluster:       &pluginpb.ObjectInfo{Id: "cluster", Name: "cluster", Version: "0.0.1", Context: []byte("{}")},
		Settings:      object(t, settings),
		Input:         object(t, input),
		User:          &pluginpb.User{Name: "test"},
		Folders: &pluginpb.Folders{
			Work:   filepath.Join(dir, "work"),
			Logs:   filepath.Join(dir, "logs"),
			Result: filepath.Join(dir, "result"),
		},
		Limits: &pluginpb.Limits{},
	}}
	for _, option := range opts {
		option(s)
	}
	return s
}

// serve serves a new plugin until the test ends and returns a client of it. A
// checkpoint without a format gets the one that the plugin writes.
func serve[P sdk.Plugin[Input], Input any](t testing.TB, create func() P, s *setup, checkpoint *pluginpb.Checkpoint) pluginpb.CommandServiceClient {
	t.Helper()
	plugin, err := sdk.New("test", create, s.plugin...)
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, plugin)
	if checkpoint != nil && checkpoint.GetFormat() == 0 {
		request := &pluginpb.DescribeRequest{Features: []string{"checkpoints"}}
		described, err := pluginpb.NewPluginServiceClient(conn).Describe(t.Context(), request)
		if err != nil {
			t.Fatalf("describe: %v", err)
		}
		checkpoint.Format = 1
		if formats := described.GetCapabilities().GetCheckpointFormats(); len(formats) > 0 {
			checkpoint.Format = formats[0]
		}
	}
	return pluginpb.NewCommandServiceClient(conn)
}

// connect serves the plugin until the test ends and returns a connection to it.
func connect(t testing.TB, plugin *sdk.Server) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(plugin.GRPCOptions()...)
	plugin.Register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	conn, err := grpc.NewClient("passthrough:///plugin",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(handshake.MaxMessage)),
	)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		plugin.Shutdown(ctx, time.Second)
		_ = conn.Close()
		server.Stop()
		<-served
	})
	return conn
}

// Attempt is a job that runs.
type Attempt struct {
	t       testing.TB
	request *pluginpb.StartRequest
	client  pluginpb.CommandServiceClient
	stream  grpc.ServerStreamingClient[pluginpb.StartResponse]
	events  []*pluginpb.Event
}

// Cancel asks the job to stop as a user would. What has not stopped after the
// grace time is killed.
func (a *Attempt) Cancel(grace time.Duration) {
	a.t.Helper()
	a.cancel(&pluginpb.CancelRequest{
		Mode:   pluginpb.CancelMode_CANCEL_MODE_GRACEFUL,
		Grace:  durationpb.New(grace),
		Reason: pluginpb.CancelReason_CANCEL_REASON_USER,
	})
}

// Kill stops the job by force.
func (a *Attempt) Kill() {
	a.t.Helper()
	a.cancel(&pluginpb.CancelRequest{
		Mode:   pluginpb.CancelMode_CANCEL_MODE_FORCED,
		Reason: pluginpb.CancelReason_CANCEL_REASON_USER,
	})
}

// Abandon stops the job as when its host has died: its outside work is to be left
// alone (sdk.Abandoned), for another attempt to resume. It returns what it left.
func (a *Attempt) Abandon() Outcome {
	a.t.Helper()
	a.cancel(&pluginpb.CancelRequest{
		Mode:   pluginpb.CancelMode_CANCEL_MODE_ABANDON,
		Reason: pluginpb.CancelReason_CANCEL_REASON_LEASE_LOST,
	})
	return a.Wait()
}

func (a *Attempt) cancel(request *pluginpb.CancelRequest) {
	a.t.Helper()
	request.AttemptId = a.request.GetAttemptId()
	if _, err := a.client.Cancel(a.t.Context(), request); err != nil {
		a.t.Fatalf("cancel: %v", err)
	}
}

// Until returns when an event of the job fits, such as its start. It fails the
// test when the job ends before.
func (a *Attempt) Until(fits func(*pluginpb.Event) bool) {
	a.t.Helper()
	for {
		batch := a.receive()
		for _, event := range batch {
			if fits(event) {
				return
			}
			if event.GetEnded() != nil {
				a.t.Fatalf("the job ended before: %v", event.GetEnded())
			}
		}
	}
}

// Wait waits for the end of the job.
func (a *Attempt) Wait() Outcome {
	a.t.Helper()
	for len(a.events) == 0 || a.events[len(a.events)-1].GetEnded() == nil {
		a.receive()
	}
	return a.outcome()
}

func (a *Attempt) receive() []*pluginpb.Event {
	a.t.Helper()
	response, err := a.stream.Recv()
	if err != nil {
		a.t.Fatalf("receive events: %v", err)
	}
	a.events = append(a.events, response.GetEvents()...)

	last := response.GetEvents()[len(response.GetEvents())-1].GetNumber()
	_, err = a.client.Ack(a.t.Context(), &pluginpb.AckRequest{Attempts: []*pluginpb.AckedAttempt{
		{AttemptId: a.request.GetAttemptId(), Event: last},
	}})
	if err != nil {
		a.t.Fatalf("acknowledge: %v", err)
	}
	return response.GetEvents()
}

// Dir returns the working folder of the job, which may not exist yet.
func (a *Attempt) Dir() string { return a.request.GetFolders().GetWork() }

func (a *Attempt) read(folder, name string) string {
	a.t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil && !os.IsNotExist(err) {
		a.t.Fatal(err)
	}
	return string(data)
}

func object(t testing.TB, v any) []byte {
	t.Helper()
	switch v := v.(type) {
	case nil:
		return []byte("{}")
	case []byte:
		return v
	case json.RawMessage:
		return v
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("write as JSON: %v", err)
	}
	return data
}
