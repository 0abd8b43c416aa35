package pluginhost_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/heimdall-run/heimdall/sdk/handshake"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// fake is a plugin made of nothing but the generated code, so that the host is
// tested against the protocol and not against an sdk. What an attempt does is
// told by its input: {"do": …}.
type fake struct {
	pluginpb.UnimplementedPluginServiceServer
	pluginpb.UnimplementedCommandServiceServer

	mu       sync.Mutex
	attempts map[string]*fakeAttempt
	starts   int
	epoch    int64
	settings string // of the plugin itself
	features []string
}

type fakeAttempt struct {
	mu       sync.Mutex
	events   []*pluginpb.Event
	acked    uint64
	changed  chan struct{}
	canceled chan pluginpb.CancelMode
	message  string
	watch    func(*pluginpb.WatchRequest, grpc.ServerStreamingServer[pluginpb.WatchResponse]) error // nil: as it should
}

func servePlugin() {
	f := &fake{attempts: map[string]*fakeAttempt{}}
	if life, err := time.ParseDuration(os.Getenv("HEIMDALL_TEST_DIES")); err == nil {
		time.AfterFunc(life, func() { os.Exit(9) })
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: handshake.Config,
		VersionedPlugins: map[int]plugin.PluginSet{
			handshake.ProtocolVersion: handshake.Set(func(r grpc.ServiceRegistrar) {
				pluginpb.RegisterPluginServiceServer(r, f)
				pluginpb.RegisterCommandServiceServer(r, f)
			}),
		},
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server { return grpc.NewServer(options...) },
		Logger:     hclog.NewNullLogger(),
	})
}

func (f *fake) Describe(_ context.Context, r *pluginpb.DescribeRequest) (*pluginpb.DescribeResponse, error) {
	limit, _ := strconv.Atoi(os.Getenv("HEIMDALL_TEST_LIMIT"))
	format, _ := strconv.Atoi(os.Getenv("HEIMDALL_TEST_RESUME"))
	f.mu.Lock()
	f.features = r.GetFeatures()
	f.mu.Unlock()
	docs, err := wildDocs()
	if err != nil {
		return nil, err
	}
	return &pluginpb.DescribeResponse{
		Name:           os.Getenv("HEIMDALL_TEST_NAME"),
		Version:        cmp.Or(os.Getenv("HEIMDALL_TEST_VERSION"), "1.0.0"),
		Kinds:          []pluginpb.Kind{pluginpb.Kind_KIND_COMMAND},
		SettingsSchema: os.Getenv("HEIMDALL_TEST_SCHEMA"),
		Capabilities: &pluginpb.Capabilities{
			MaxConcurrency: int32(limit), Resume: format > 0, CheckpointFormats: []int32{int32(format)},
			Isolation: isolation(),
		},
		Docs: docs,
	}, nil
}

// isolation returns what HEIMDALL_TEST_ISOLATION names.
func isolation() (kinds []pluginpb.Isolation) {
	for name := range strings.FieldsSeq(os.Getenv("HEIMDALL_TEST_ISOLATION")) {
		kinds = append(kinds, pluginpb.Isolation(pluginpb.Isolation_value["ISOLATION_"+name]))
	}
	return kinds
}

func (f *fake) Configure(_ context.Context, r *pluginpb.ConfigureRequest) (*pluginpb.ConfigureResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settings = string(r.GetSettings())
	if strings.Contains(f.settings, "refuse") {
		return nil, status.Error(codes.InvalidArgument, "this will not do")
	}
	for _, s := range r.GetSecrets() {
		f.settings += " " + s.GetPointer() + "=" + string(s.GetValue())
	}
	return &pluginpb.ConfigureResponse{}, nil
}

func (f *fake) Renew(_ context.Context, r *pluginpb.RenewRequest) (*pluginpb.RenewResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.epoch = r.GetHostEpoch()
	return &pluginpb.RenewResponse{}, nil
}

func (f *fake) List(context.Context, *pluginpb.ListRequest) (*pluginpb.ListResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	response := &pluginpb.ListResponse{HostEpoch: f.epoch, Attempts: wildAttempts()}
	if os.Getenv("HEIMDALL_TEST_LIST") == "omits" {
		return response, nil
	}
	for id := range f.attempts {
		response.Attempts = append(response.Attempts, &pluginpb.AttemptInfo{AttemptId: id})
	}
	return response, nil
}

func (f *fake) Drain(r *pluginpb.DrainRequest, stream grpc.ServerStreamingServer[pluginpb.DrainResponse]) error {
	syscall.Write(2, fmt.Appendf(nil, "%s drains: %s\n", os.Getenv("HEIMDALL_TEST_VERSION"), r.GetReason()))
	f.mu.Lock()
	var running []*fakeAttempt
	for _, a := range f.attempts {
		running = append(running, a)
	}
	f.mu.Unlock()
	for _, a := range running {
		for !a.ended() {
			select {
			case <-a.next():
			case <-stream.Context().Done():
				return stream.Context().Err()
			}
		}
	}
	return nil
}

func (f *fake) Start(r *pluginpb.StartRequest, stream grpc.ServerStreamingServer[pluginpb.StartResponse]) error {
	var input map[string]any
	if err := json.Unmarshal(r.GetInput(), &input); err != nil {
		return status.Errorf(codes.InvalidArgument, "input: %v", err)
	}
	do, _ := input["do"].(string)
	if do == "refuse" {
		return status.Error(codes.InvalidArgument, "this will not do")
	}
	if wild := wilds()[do]; wild.start != nil {
		return f.startWild(wild, r, input, stream)
	}
	f.mu.Lock()
	f.starts++
	if do == "miss" && f.starts == 1 {
		f.mu.Unlock()
		return status.Error(codes.Unavailable, "the start was lost")
	}
	a := f.attempts[r.GetAttemptId()]
	if a == nil {
		a = &fakeAttempt{changed: make(chan struct{}), canceled: make(chan pluginpb.CancelMode, 8)}
		f.attempts[r.GetAttemptId()] = a
		go f.perform(a, r, do, input)
	}
	f.mu.Unlock()
	return a.follow(stream.Context(), 1, do == "broken stream", func(events []*pluginpb.Event) error {
		return stream.Send(&pluginpb.StartResponse{Events: events})
	})
}

func (f *fake) Watch(r *pluginpb.WatchRequest, stream grpc.ServerStreamingServer[pluginpb.WatchResponse]) error {
	f.mu.Lock()
	a := f.attempts[r.GetAttemptId()]
	f.mu.Unlock()
	if a == nil {
		return status.Error(codes.NotFound, "no such attempt")
	}
	if a.watch != nil {
		return a.watch(r, stream)
	}
	return a.follow(stream.Context(), r.GetFrom(), false, func(events []*pluginpb.Event) error {
		return stream.Send(&pluginpb.WatchResponse{Events: events})
	})
}

func (f *fake) Cancel(_ context.Context, r *pluginpb.CancelRequest) (*pluginpb.CancelResponse, error) {
	f.mu.Lock()
	a := f.attempts[r.GetAttemptId()]
	f.mu.Unlock()
	if a == nil || a.ended() {
		return &pluginpb.CancelResponse{}, nil
	}
	a.mu.Lock()
	a.message = r.GetMessage()
	a.mu.Unlock()
	a.canceled <- r.GetMode()
	return &pluginpb.CancelResponse{Accepted: true}, nil
}

func (f *fake) Ack(_ context.Context, r *pluginpb.AckRequest) (*pluginpb.AckResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, acked := range r.GetAttempts() {
		if a := f.attempts[acked.GetAttemptId()]; a != nil {
			a.mu.Lock()
			a.acked = acked.GetEvent()
			a.wake()
			a.mu.Unlock()
			if a.ended() && acked.GetEvent() == uint64(len(a.events)) {
				delete(f.attempts, acked.GetAttemptId())
			}
		}
	}
	return &pluginpb.AckResponse{}, nil
}

// Cleanup writes down what it was asked to clean up, unless it is to fail.
func (f *fake) Cleanup(_ context.Context, r *pluginpb.CleanupRequest) (*pluginpb.CleanupResponse, error) {
	path := os.Getenv("HEIMDALL_TEST_CLEANUPS")
	switch path {
	case "":
		return nil, status.Error(codes.Unimplemented, "no cleanup")
	case "fails":
		return nil, status.Error(codes.Unavailable, "cannot clean up")
	}
	line := fmt.Sprintf("%s %s %s %s\n", r.GetAttemptId(), r.GetCheckpoint().GetData(), r.GetSettings(), r.GetReason())
	return &pluginpb.CleanupResponse{}, os.WriteFile(path, []byte(line), 0o600)
}

// perform does what the input says.
func (f *fake) perform(a *fakeAttempt, r *pluginpb.StartRequest, do string, input map[string]any) {
	if do == "unopened" { // as what cannot reach its server
		a.end(&pluginpb.Error{Class: pluginpb.ErrorClass_ERROR_CLASS_UNAVAILABLE, Message: "no server", RetrySafe: true})
		return
	}
	a.emit(&pluginpb.Event{Kind: &pluginpb.Event_Started{Started: &pluginpb.Started{}}})
	f.act(a, r, do, input)
}

func (f *fake) act(a *fakeAttempt, r *pluginpb.StartRequest, do string, input map[string]any) {
	switch do {
	case "hello", "miss":
		a.text("Hello, " + r.GetUser().GetName() + "!")
	case "settings":
		f.mu.Lock()
		text := f.settings
		f.mu.Unlock()
		a.text(text)
	case "events", "broken stream":
		for i := range 5 {
			a.emit(&pluginpb.Event{Kind: &pluginpb.Event_Progress{Progress: &pluginpb.Progress{Done: float64(i), Total: 5}}})
		}
		a.emit(&pluginpb.Event{Kind: &pluginpb.Event_Output{Output: &pluginpb.Output{Key: "page", Value: "http://x", Kind: pluginpb.OutputKind_OUTPUT_KIND_LINK}}})
		a.emit(&pluginpb.Event{Kind: &pluginpb.Event_Usage{Usage: &pluginpb.Usage{Unit: "rows", Amount: 7}}})
		a.emit(&pluginpb.Event{Kind: &pluginpb.Event_LogTruncated{LogTruncated: &pluginpb.LogTruncated{Stream: pluginpb.LogStream_LOG_STREAM_STDERR, Offset: 9}}})
		a.text("done")
	case "fail":
		exit := int32(3)
		a.end(&pluginpb.Error{Class: pluginpb.ErrorClass_ERROR_CLASS_FAILED, Message: "exit status 3", ExitCode: &exit})
	case "checkpoint":
		n := a.emit(&pluginpb.Event{Kind: &pluginpb.Event_Checkpoint{Checkpoint: &pluginpb.Checkpoint{Format: 2, Data: []byte("query-1")}}})
		for !a.isAcked(n) {
			<-a.next()
		}
		a.text("saved")
	case "save": // the text of "data", and goes on by "then"
		data := []byte(input["data"].(string))
		n := a.emit(&pluginpb.Event{Kind: &pluginpb.Event_Checkpoint{Checkpoint: &pluginpb.Checkpoint{Format: 2, Data: data}}})
		for input["then"] != "hello" && !a.isAcked(n) {
			select {
			case <-a.next():
			case <-a.canceled:
				a.canceledEnd()
				return
			}
		}
		a.emit(&pluginpb.Event{Kind: &pluginpb.Event_Output{Output: &pluginpb.Output{Key: "then", Value: "on"}}})
		f.act(a, r, input["then"].(string), input)
	case "load":
		f.mu.Lock()
		features := strings.Join(f.features, " ")
		f.mu.Unlock()
		a.text(fmt.Sprintf("%s %d %s of a host with %s", r.GetMode(), r.GetCheckpoint().GetFormat(), r.GetCheckpoint().GetData(), features))
	case "lost":
		a.end(&pluginpb.Error{Class: pluginpb.ErrorClass_ERROR_CLASS_LOST, Message: "it is gone"})
	case "abandoned", "abandoned as canceled":
		class := pluginpb.ErrorClass_ERROR_CLASS_LOST
		if do != "abandoned" {
			class = pluginpb.ErrorClass_ERROR_CLASS_CANCELED
		}
		a.emit(&pluginpb.Event{Kind: &pluginpb.Event_Ended{Ended: &pluginpb.Ended{
			Error: &pluginpb.Error{Class: class, Message: "no host"}, Abandoned: true,
		}}})
	case "file":
		file := &pluginpb.ResultFile{Path: input["path"].(string)}
		a.result(&pluginpb.Result{ContentType: "text/csv", Content: &pluginpb.Result_File{File: file}})
	case "result":
		result, err := wildResult(input["result"])
		if err != nil {
			panic(err)
		}
		a.result(result)
	case "environment":
		stdin, _ := os.Readlink("/proc/self/fd/0")
		nothing, err := io.ReadAll(os.Stdin)
		a.text(fmt.Sprintf("stdin %s has %d bytes, %v\n%s", stdin, len(nothing), err, strings.Join(os.Environ(), "\n")))
	case "state":
		f.mu.Lock()
		ids := make([]string, 0)
		for id := range f.attempts {
			ids = append(ids, id)
		}
		epoch := f.epoch
		f.mu.Unlock()
		a.text(fmt.Sprintf("epoch %d, knows %s", epoch, strings.Join(ids, " ")))
	case "exit":
		fmt.Fprintln(os.Stderr, "the disk is full")
		os.Exit(4)
	case "log and exit": // as plugins of the sdk log
		syscall.Write(2, []byte(`{"time":"2026-01-01T00:00:00Z","level":"ERROR","msg":"no more room","job":"x"}`+"\n"))
		os.Exit(4)
	case "panic":
		panic("boom")
	case "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "wait": // stops when asked
		<-a.canceled
		a.canceledEnd()
	case "stubborn": // stops only when forced
		for <-a.canceled != pluginpb.CancelMode_CANCEL_MODE_FORCED {
		}
		a.canceledEnd()
	case "abandon": // says how it was canceled
		a.emit(&pluginpb.Event{Kind: &pluginpb.Event_Checkpoint{Checkpoint: &pluginpb.Checkpoint{Data: []byte("q")}}})
		a.end(&pluginpb.Error{Class: pluginpb.ErrorClass_ERROR_CLASS_LOST, Message: (<-a.canceled).String()})
	case "deaf": // never stops
	case "daemon", "daemon and die": // leaves a process that has left the session
		path := input["path"].(string)
		_ = exec.Command("setsid", "sh", "-c", "sleep 600 & echo $! > "+path).Run()
		if do == "daemon and die" {
			os.Exit(4)
		}
		a.text("left one")
	case "until", "until hog": // ends, or takes memory, when a file appears
		for {
			if _, err := os.Stat(input["path"].(string)); err == nil {
				break
			}
			<-time.After(5 * time.Millisecond)
			if os.Getenv("HEIMDALL_TEST_CHATTY") != "" {
				syscall.Write(1, []byte("chatty on stdout\n"))
				syscall.Write(2, []byte("chatty on stderr\n"))
			}
		}
		if do == "until hog" {
			hog()
		}
		a.text(os.Getenv("HEIMDALL_TEST_VERSION") + " was there until the end")
	case "over limit": // ends as plugins do that hold the limits of what they run
		a.end(&pluginpb.Error{Class: pluginpb.ErrorClass_ERROR_CLASS_QUOTA, Message: "the job used too much" + strings.Repeat("!", 1<<20), Limit: "memory"})
	case "quota": // a limit of somebody else
		a.end(&pluginpb.Error{Class: pluginpb.ErrorClass_ERROR_CLASS_QUOTA, Message: "no more credits"})
	case "hog": // takes memory and keeps it
		hog()
	case "hog below": // in a process that has left the session and lost its parent
		self, _ := os.Executable()
		go exec.Command("setsid", "sh", "-c", "HEIMDALL_TEST_ROLE=hog "+self+" & sleep 1").Run()
	case "spin": // uses up its processor time
		for n := uint64(1); n > 0; n++ {
		}
	case "limits": // those of this process, then of a child
		own, _ := os.ReadFile("/proc/self/limits")
		below, _ := exec.Command("cat", "/proc/self/limits").Output()
		a.text(string(own) + "\n" + string(below))
	case "pid":
		a.text(strconv.Itoa(os.Getpid()))
	case "version":
		a.text(os.Getenv("HEIMDALL_TEST_VERSION"))
	}
}

func (a *fakeAttempt) emit(e *pluginpb.Event) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	e.Number, e.Time = uint64(len(a.events)+1), timestamppb.New(time.Now())
	a.events = append(a.events, e)
	a.wake()
	return e.Number
}

func (a *fakeAttempt) text(s string) {
	a.result(&pluginpb.Result{ContentType: "text/plain", Content: &pluginpb.Result_Inline{Inline: []byte(s)}})
}

func (a *fakeAttempt) result(r *pluginpb.Result) {
	a.emit(&pluginpb.Event{Kind: &pluginpb.Event_Result{Result: r}})
	a.end(nil)
}

func (a *fakeAttempt) end(err *pluginpb.Error) {
	a.emit(&pluginpb.Event{Kind: &pluginpb.Event_Ended{Ended: &pluginpb.Ended{Error: err}}})
}

func (a *fakeAttempt) canceledEnd() {
	a.mu.Lock()
	message := a.message
	a.mu.Unlock()
	a.end(&pluginpb.Error{Class: pluginpb.ErrorClass_ERROR_CLASS_CANCELED, Message: message})
}

func (a *fakeAttempt) wake() {
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *fakeAttempt) next() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

func (a *fakeAttempt) isAcked(n uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.acked >= n
}

func (a *fakeAttempt) ended() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.events) > 0 && a.events[len(a.events)-1].GetEnded() != nil
}

// follow sends events from a number on; a broken stream breaks after each
// batch.
func (a *fakeAttempt) follow(ctx context.Context, from uint64, broken bool, send func([]*pluginpb.Event) error) error {
	for {
		a.mu.Lock()
		changed := a.changed
		batch := a.events[min(int(from)-1, len(a.events)):]
		a.mu.Unlock()
		if broken && len(batch) > 0 {
			if err := send(batch[:1]); err != nil {
				return err
			}
			return status.Error(codes.Unavailable, "the stream broke")
		}
		if len(batch) > 0 {
			if err := send(batch); err != nil {
				return err
			}
			from += uint64(len(batch))
			if batch[len(batch)-1].GetEnded() != nil {
				return nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hog takes 400 MiB, and ends when nobody ends it.
func hog() {
	memory := make([]byte, 400<<20)
	for i := 0; i < len(memory); i += 4096 {
		memory[i] = 1
	}
	time.Sleep(time.Minute)
	runtime.KeepAlive(memory)
}

// writePlugin puts a script into dir that executes this test binary as a
// plugin, with more variables.
func writePlugin(t interface {
	Helper()
	Fatal(...any)
}, dir, file string, variables ...string,
) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(file, "heimdall-plugin-"), "_v")
	variables = append([]string{"HEIMDALL_TEST_ROLE=plugin", "HEIMDALL_TEST_NAME=" + name}, variables...)
	script := "#!/bin/sh\n"
	for _, v := range variables {
		script += "export " + v + "\n"
	}
	script += "exec " + self + "\n"
	if err := os.WriteFile(filepath.Join(dir, file), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}
