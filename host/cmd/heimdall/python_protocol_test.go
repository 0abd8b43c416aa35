package main_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/heimdall-run/heimdall/sdk/handshake"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// The protocol that plugins in Python read at run time is the one of proto/.
func TestPythonKnowsTheProtocol(t *testing.T) {
	const file = pythonExample + "protocol.binpb"
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal([]byte(readPage(t, file)), &set); err != nil {
		t.Fatal(err)
	}
	ours := 0
	for _, got := range set.GetFile() {
		known, err := protoregistry.GlobalFiles.FindFileByPath(got.GetName())
		if err != nil {
			t.Fatalf("%s: %v; run make generate", file, err)
		}
		if !strings.HasPrefix(got.GetName(), "heimdall/") {
			continue
		}
		ours++
		if want := protodesc.ToFileDescriptorProto(known); !proto.Equal(got, want) {
			t.Errorf("%s has another %s than the Go code; run make generate", file, got.GetName())
		}
	}
	if ours == 0 {
		t.Errorf("%s holds nothing of the protocol", file)
	}
}

// pythonProcess is a plugin in Python that runs without a host.
type pythonProcess struct {
	command  *exec.Cmd
	plugin   pluginpb.PluginServiceClient
	commands pluginpb.CommandServiceClient
}

// startPythonProcess starts a plugin and shakes hands with it.
func startPythonProcess(t *testing.T, file string) *pythonProcess {
	t.Helper()
	folder := shortTempDir(t)
	buildPython(t, folder, file)
	name := strings.TrimSuffix(filepath.Base(file), ".py")
	p := &pythonProcess{command: exec.Command(filepath.Join(folder, "heimdall-plugin-"+name))}
	p.command.Env = []string{
		handshake.Config.MagicCookieKey + "=" + handshake.Config.MagicCookieValue,
		"PLUGIN_PROTOCOL_VERSIONS=1", "PLUGIN_UNIX_SOCKET_DIR=" + folder,
	}
	p.command.Stderr = os.Stderr
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.command.Process.Kill() // it may have ended
		_ = p.command.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	fields := strings.Split(line, "|")
	if err != nil || len(fields) != 5 || line != "1|1|unix|"+fields[3]+"|grpc\n" {
		t.Fatalf("got handshake %q (%v), want 1|1|unix|SOCKET|grpc", line, err)
	}
	conn, err := grpc.NewClient("unix:"+fields[3], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(handshake.MaxMessage)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p.plugin, p.commands = pluginpb.NewPluginServiceClient(conn), pluginpb.NewCommandServiceClient(conn)
	return p
}

// attempt returns a request to count words. With a pause in its settings it runs
// until it is stopped.
func (p *pythonProcess) attempt(t *testing.T, id, settings string) *pluginpb.StartRequest {
	folder := t.TempDir()
	return &pluginpb.StartRequest{
		AttemptId: id,
		Job:       &pluginpb.JobInfo{Id: "job of " + id},
		Settings:  []byte(settings),
		Input:     []byte(`{"text": "one\ntwo"}`),
		Folders:   &pluginpb.Folders{Work: folder + "/work", Logs: folder + "/logs", Result: folder + "/result"},
	}
}

func (p *pythonProcess) start(t *testing.T, request *pluginpb.StartRequest) ([]*pluginpb.Event, error) {
	t.Helper()
	stream, err := p.commands.Start(t.Context(), request)
	if err != nil {
		return nil, err
	}
	return receive(stream.Recv)
}

func (p *pythonProcess) watch(t *testing.T, id string, from uint64) ([]*pluginpb.Event, error) {
	t.Helper()
	stream, err := p.commands.Watch(t.Context(), &pluginpb.WatchRequest{AttemptId: id, From: from})
	if err != nil {
		return nil, err
	}
	return receive(stream.Recv)
}

// receive returns the events of a stream to its end.
func receive[B interface{ GetEvents() []*pluginpb.Event }](next func() (B, error)) (events []*pluginpb.Event, err error) {
	for {
		batch, err := next()
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return events, err
		}
		events = append(events, batch.GetEvents()...)
	}
}

// endOf returns the error of the last event.
func endOf(t *testing.T, events []*pluginpb.Event, err error) *pluginpb.Error {
	t.Helper()
	if err != nil || len(events) == 0 || events[len(events)-1].GetEnded() == nil {
		t.Fatalf("got %v and %v, want events to an end", events, err)
	}
	return events[len(events)-1].GetEnded().GetError()
}

const wordcount = checkout + pythonExample + "wordcount.py"

const endless = `{"pause": 3600}`

func TestPythonAttempts(t *testing.T) {
	p := startPythonProcess(t, wordcount)
	want := func(what string, err error, code codes.Code) {
		t.Helper()
		if got := status.Code(err); got != code {
			t.Errorf("%s: got %v (%v), want %v", what, got, err, code)
		}
	}

	events, err := p.start(t, p.attempt(t, "a", "{}"))
	if failure := endOf(t, events, err); failure != nil {
		t.Fatalf("got %v, want success", failure)
	}
	var numbers []uint64
	for _, event := range events {
		numbers = append(numbers, event.GetNumber())
	}
	first, last := events[0], events[len(events)-1]
	if first.GetNumber() != 1 || first.GetStarted() == nil || !slices.IsSorted(numbers) || events[len(events)-2].GetResult() == nil {
		t.Errorf("got %v, want Started as number 1, then others, Result, Ended", events)
	}
	again, err := p.start(t, p.attempt(t, "a", "{}"))
	if endOf(t, again, err); again[len(again)-1].GetNumber() != last.GetNumber() {
		t.Errorf("a second start: got %v, want the same events", again)
	}
	rest, err := p.watch(t, "a", last.GetNumber())
	if endOf(t, rest, err); len(rest) != 1 {
		t.Errorf("watch from the last: got %v, want one event", rest)
	}
	list, err := p.plugin.List(t.Context(), &pluginpb.ListRequest{})
	if err != nil || len(list.GetAttempts()) != 1 || list.GetAttempts()[0].GetState() != pluginpb.AttemptState_ATTEMPT_STATE_ENDED {
		t.Errorf("list: got %v, %v, want one that has ended", list, err)
	}
	_, err = p.commands.Ack(t.Context(), &pluginpb.AckRequest{Attempts: []*pluginpb.AckedAttempt{{AttemptId: "a", Event: last.GetNumber()}}})
	want("ack", err, codes.OK)
	_, err = p.start(t, p.attempt(t, "a", "{}"))
	want("start after the ack", err, codes.AlreadyExists)
	_, err = p.watch(t, "a", 1)
	want("watch after the ack", err, codes.NotFound)
	_, err = p.start(t, p.attempt(t, "", "{}"))
	want("start without id", err, codes.InvalidArgument)

	resume := p.attempt(t, "r", "{}")
	resume.Mode = pluginpb.StartMode_START_MODE_RESUME
	events, err = p.start(t, resume)
	if failure := endOf(t, events, err); failure.GetClass() != pluginpb.ErrorClass_ERROR_CLASS_LOST {
		t.Errorf("resume: got %v, want class lost", failure)
	}
	late := p.attempt(t, "d", endless)
	late.Deadline = timestamppb.New(time.Now().Add(100 * time.Millisecond))
	events, err = p.start(t, late)
	if failure := endOf(t, events, err); failure.GetClass() != pluginpb.ErrorClass_ERROR_CLASS_TIMEOUT {
		t.Errorf("deadline: got %v, want class timeout", failure)
	}
	large := p.attempt(t, "l", "{}")
	large.Limits = &pluginpb.Limits{LogBytes: 4, ResultBytes: 20}
	events, err = p.start(t, large)
	if failure := endOf(t, events, err); failure.GetClass() != pluginpb.ErrorClass_ERROR_CLASS_QUOTA {
		t.Errorf("limits: got %v, want class quota", failure)
	}
	if !slices.ContainsFunc(events, func(e *pluginpb.Event) bool { return e.GetLogTruncated().GetOffset() == 4 }) {
		t.Errorf("limits: got %v, want stdout cut at 4", events)
	}
}

func TestPythonStops(t *testing.T) {
	p := startPythonProcess(t, wordcount)
	// A cancel may overtake its start.
	answer, err := p.commands.Cancel(t.Context(), &pluginpb.CancelRequest{AttemptId: "early", Message: "no more"})
	if err != nil || answer.GetAccepted() {
		t.Fatalf("cancel of an unknown attempt: got %v, %v, want it not accepted", answer, err)
	}
	events, err := p.start(t, p.attempt(t, "early", endless))
	if failure := endOf(t, events, err); failure.GetClass() != pluginpb.ErrorClass_ERROR_CLASS_CANCELED || failure.GetMessage() != "no more" {
		t.Errorf("got %v, want class canceled: no more", failure)
	}

	// The attempt outlives the call that began it.
	short, cut := context.WithCancel(t.Context())
	stream, err := p.commands.Start(short, p.attempt(t, "b", endless))
	if err == nil {
		_, err = stream.Recv()
	}
	cut()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.plugin.Renew(t.Context(), &pluginpb.RenewRequest{HostEpoch: 3, ValidFor: durationpb.New(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.plugin.Renew(t.Context(), &pluginpb.RenewRequest{HostEpoch: 2}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("an older epoch: got %v, want FailedPrecondition", err)
	}

	drain, err := p.plugin.Drain(t.Context(), &pluginpb.DrainRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]string{{"b"}, nil} {
		now, err := drain.Recv()
		if err != nil || !slices.Equal(now.GetRunning(), want) {
			t.Fatalf("drain: got %v, %v, want %v", now, err, want)
		}
		if _, err := p.start(t, p.attempt(t, "c", "{}")); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("start while it drains: got %v, want FailedPrecondition", err)
		}
		if want == nil {
			break
		}
		if answer, err := p.commands.Cancel(t.Context(), &pluginpb.CancelRequest{AttemptId: "b"}); err != nil || !answer.GetAccepted() {
			t.Errorf("cancel: got %v, %v, want it accepted", answer, err)
		}
	}
	if _, err := drain.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("drain: got %v, want its end", err)
	}
	events, err = p.watch(t, "b", 1)
	if failure := endOf(t, events, err); failure.GetClass() != pluginpb.ErrorClass_ERROR_CLASS_CANCELED {
		t.Errorf("got %v, want class canceled", failure)
	}
}

// SIGINT reaches whole groups and is none of its business; SIGTERM tells how its
// jobs end, then ends the process.
func TestPythonSignals(t *testing.T) {
	p := startPythonProcess(t, wordcount)
	stream, err := p.commands.Start(t.Context(), p.attempt(t, "a", endless))
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		if err := p.command.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	events, err := receive(stream.Recv)
	if failure := endOf(t, events, err); failure.GetClass() != pluginpb.ErrorClass_ERROR_CLASS_CANCELED || !strings.Contains(failure.GetMessage(), "shuts down") {
		t.Errorf("got %v, want class canceled for a shutdown", failure)
	}
	if err := p.command.Wait(); err != nil {
		t.Errorf("got %v, want a good end", err)
	}
}

// The limits of a job hold for what its programs write too, and endless progress
// is no burden.
func TestPythonLimits(t *testing.T) {
	p := startPythonProcess(t, "testdata/python/trial.py")
	for _, test := range []struct {
		what, stdout string
		class        pluginpb.ErrorClass
		cut          bool
	}{
		{what: "program", stdout: "before\nstd", class: pluginpb.ErrorClass_ERROR_CLASS_FAILED, cut: true},
		{what: "no newline", stdout: "1234567890"},
		{what: "progress"},
	} {
		t.Run(test.what, func(t *testing.T) {
			request := p.attempt(t, test.what, "{}")
			request.Input = []byte(`{"what": "` + test.what + `"}`)
			request.Limits = &pluginpb.Limits{LogBytes: 10}
			events, err := p.start(t, request)
			if failure := endOf(t, events, err); failure.GetClass() != test.class {
				t.Errorf("got %v, want class %v", failure, test.class)
			}
			cut := slices.ContainsFunc(events, func(e *pluginpb.Event) bool { return e.GetLogTruncated().GetOffset() == 10 })
			if cut != test.cut || len(events) > 100 {
				t.Errorf("got %d events, stdout cut %v, want at most 100, cut %v", len(events), cut, test.cut)
			}
			stdout, err := os.ReadFile(filepath.Join(request.GetFolders().GetLogs(), "stdout"))
			if err != nil && !os.IsNotExist(err) || string(stdout) != test.stdout {
				t.Errorf("got stdout %q, %v, want %q", stdout, err, test.stdout)
			}
		})
	}
}

// The operator's settings of the plugin itself reach its jobs.
func TestPythonConfigure(t *testing.T) {
	p := startPythonProcess(t, "testdata/python/trial.py")
	for _, test := range []struct {
		settings   string
		generation int64
		code       codes.Code
		result     string // of a job afterwards
	}{
		{settings: `{"greeting": "hi"}`, generation: 2, result: `"hi"`},
		{settings: `{"greeting": 3}`, generation: 3, code: codes.InvalidArgument, result: `"hi"`},
		{settings: `{"color": "red"}`, generation: 3, code: codes.InvalidArgument, result: `"hi"`},
		{settings: `{"greeting": "old"}`, generation: 1, result: `"hi"`},
		{settings: `{}`, generation: 4, result: `"hello"`},
	} {
		_, err := p.plugin.Configure(t.Context(), &pluginpb.ConfigureRequest{Settings: []byte(test.settings), Generation: test.generation})
		if status.Code(err) != test.code {
			t.Errorf("%s: got %v, want %v", test.settings, err, test.code)
		}
		request := p.attempt(t, test.settings, "{}")
		request.Input = []byte(`{"what": "greeting"}`)
		events, err := p.start(t, request)
		if failure := endOf(t, events, err); failure != nil || !strings.Contains(string(events[len(events)-2].GetResult().GetInline()), test.result) {
			t.Errorf("%s: got %v, want %s", test.settings, events, test.result)
		}
	}
}
