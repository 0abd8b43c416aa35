package conformance

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

func garbageCases() []testCase {
	const look = "the messages of proto/heimdall/plugin/v1"
	withLong := append([]string{"long"}, anyEnd...)
	return []testCase{
		{id: "check-answers", title: "Check of an example's settings is answered", look: "rpc Check in proto/heimdall/plugin/v1/command.proto", needs: append(withLong, "fails"), run: checksSettings},
		{id: "check-garbage", title: "Check of nonsense is answered, and nothing is healthy with it", look: "rpc Check in proto/heimdall/plugin/v1/command.proto", run: checksGarbage},
		{id: "garbage-calls", title: "calls with unknown and empty ids and values do no harm", look: look, run: survivesCalls},
		{id: "garbage-starts", title: "starts with nonsense in them do no harm, and what the schemas refuse is refused or ends with an error", look: look, needs: withLong, after: []string{afterEnd, "cancel-forced"}, run: survivesStarts},
		{id: "garbage-bytes", title: "bytes on the socket that are no protocol do no harm", look: look, run: survivesBytes},
	}
}

func checksSettings(ctx context.Context, k *check) error {
	e, err := k.example(append([]string{"long", "fails"}, anyEnd...)...)
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	// Whether the other side is there is not the question; a minute is what a
	// probe of it may take.
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	answer, err := p.commands.Check(ctx, &pluginpb.CheckRequest{Settings: e.settings, Secrets: e.secrets})
	if err := optional("Check", err); err != nil {
		return err
	}
	if answer.GetChecked() && !answer.GetOk() && answer.GetDetail() == "" {
		return saw("ok = false without a word").want("a detail that says what is wrong")
	}
	return p.answers(ctx, "Check")
}

// nonsense are texts where a JSON object should be.
func nonsense() []string {
	return []string{
		"", "null", "[]", "0", `"text"`, "{", "\x00\xff", `{"a":`, `{"` + unknownKey + `": 1}`,
		strings.Repeat(`{"a":`, 20_000), strings.Repeat("[", 100_000), `{"a": 1e999999}`, `{"a": "\ud800"}`,
	}
}

func checksGarbage(ctx context.Context, k *check) error {
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	for _, text := range nonsense() {
		call, cancel := p.within(ctx)
		answer, err := p.commands.Check(call, &pluginpb.CheckRequest{Settings: []byte(text)})
		cancel()
		if unimplemented(err) {
			return optional("Check", err)
		}
		if err := p.answers(ctx, fmt.Sprintf("Check with the settings %.40q", text)); err != nil {
			return err
		}
		if k.settings.refuses(text) && answer.GetOk() && answer.GetChecked() {
			return saw("with the settings %.40q all is well", text).want("ok = false, as its schema refuses them")
		}
	}
	return nil
}

func survivesCalls(ctx context.Context, k *check) error {
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	for _, id := range []string{"", "8f2c0000-0000-4000-8000-000000000000", strings.Repeat("x", 100_000), "../../etc", "\u0000"} {
		call, cancel := p.within(ctx)
		// What they answer is not the question.
		_, _ = p.commands.Ack(call, &pluginpb.AckRequest{Attempts: []*pluginpb.AckedAttempt{{AttemptId: id, Event: 1<<64 - 1}, {}}})
		_, _ = p.commands.Cancel(call, &pluginpb.CancelRequest{AttemptId: id, Mode: 99, Reason: 99, Grace: durationpb.New(-time.Hour)})
		_, _ = p.commands.UpdateSecrets(call, &pluginpb.UpdateSecretsRequest{AttemptId: id, Secrets: []*pluginpb.Secret{{Pointer: "no pointer"}, {}}})
		_, _ = p.plugins.Renew(call, &pluginpb.RenewRequest{ValidFor: durationpb.New(time.Hour)})
		_, _ = p.commands.Cleanup(call, &pluginpb.CleanupRequest{AttemptId: id})
		for _, text := range nonsense() {
			_, _ = p.plugins.Configure(call, &pluginpb.ConfigureRequest{Settings: []byte(text), Generation: -1})
		}
		cancel()
		for _, from := range []uint64{0, 1, 1<<64 - 1} {
			s := k.watch(ctx, p, id, from)
			if err := until(ctx, k.Patience, func() bool { _, over, _ := s.state(); return over }); err != nil {
				return saw("Watch of the attempt %.40q from %d stays open", id, from).want("the status NOT_FOUND")
			}
		}
		if err := p.answers(ctx, fmt.Sprintf("calls for the attempt %.40q", id)); err != nil {
			return err
		}
	}
	return nil
}

func survivesStarts(ctx context.Context, k *check) error {
	e, err := k.example(append([]string{"long"}, anyEnd...)...)
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	changes := map[string]func(*pluginpb.StartRequest){
		"no attempt id":     func(r *pluginpb.StartRequest) { r.AttemptId = "" },
		"nothing but an id": func(r *pluginpb.StartRequest) { id := r.GetAttemptId(); proto.Reset(r); r.AttemptId = id },
		"no folders":        func(r *pluginpb.StartRequest) { r.Folders = nil },
		"folders that cannot be made": func(r *pluginpb.StartRequest) {
			r.Folders = &pluginpb.Folders{Work: "/proc/none/work", Logs: "/proc/none/logs", Result: "/proc/none/result"}
		},
		"an unknown mode": func(r *pluginpb.StartRequest) { r.Mode = 99 },
		"negative limits": func(r *pluginpb.StartRequest) {
			r.Limits = &pluginpb.Limits{MemoryBytes: -1, CpuSeconds: -1, OpenFiles: -1, LogBytes: -1, ResultBytes: -1, InlineResultBytes: -1}
		},
		"a deadline out of time": func(r *pluginpb.StartRequest) { r.Deadline = &timestamppb.Timestamp{Seconds: 1 << 62, Nanos: -7} },
		"a negative timeout":     func(r *pluginpb.StartRequest) { r.OrphanTimeout = durationpb.New(-time.Hour) },
		"secrets of nothing": func(r *pluginpb.StartRequest) {
			r.Secrets = []*pluginpb.Secret{{Pointer: "/a/b/c"}, {Pointer: "x"}, {}}
		},
	}
	misfits := map[string]bool{} // what must not be worked with
	for _, text := range nonsense() {
		misfits[fmt.Sprintf("the settings %.20q", text)] = k.settings.refuses(text)
		misfits[fmt.Sprintf("the input %.20q", text)] = k.input.refuses(text)
		changes[fmt.Sprintf("the settings %.20q", text)] = func(r *pluginpb.StartRequest) { r.Settings = []byte(text) }
		changes[fmt.Sprintf("the input %.20q", text)] = func(r *pluginpb.StartRequest) { r.Input = []byte(text) }
	}
	for how, change := range changes {
		request := p.request(e)
		change(request)
		s := k.start(ctx, p, request)
		// Events, or a refusal: an answer.
		if err := until(ctx, k.Patience, func() bool { events, over, _ := s.state(); return over || len(events) > 0 }); err != nil {
			return saw("a start with %s is not answered", how).want("events, or a status")
		}
		if misfits[how] {
			_ = until(ctx, k.Patience, func() bool { return !s.running() })
			events, _, failure := s.state()
			switch ended := end(events); {
			case failure != nil:
			case ended == nil:
				return saw("a start with %s runs: %s", how, outline(events)).want("a status, or an error: the schema refuses that")
			case ended.GetError() == nil || ended.GetError().GetClass() == pluginpb.ErrorClass_ERROR_CLASS_CANCELED:
				return saw("a start with %s: %s", how, outcome(ended)).want("a status, or an error: the schema refuses that")
			}
		}
		if _, err := p.cancel(ctx, request.GetAttemptId(), forced, byUser); err != nil {
			return err
		}
		if err := until(ctx, grace+k.Patience, func() bool { return !s.running() }); err != nil {
			return saw("a start with %s cannot be canceled", how).want("that it can")
		}
		s.stop()
		if err := p.answers(ctx, "a start with "+how); err != nil {
			return err
		}
	}
	return nil
}

func survivesBytes(ctx context.Context, k *check) error {
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	for _, text := range []string{"", "GET / HTTP/1.1\r\n\r\n", strings.Repeat("\x00", 1<<20), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff"} {
		conn, err := net.DialTimeout("unix", p.socket, k.Patience)
		if err != nil {
			return saw("the socket takes no second connection: %v", err).want("that it does: a host that was restarted comes again")
		}
		_ = conn.SetDeadline(time.Now().Add(k.Patience)) // of a socket it cannot fail
		_, _ = conn.Write([]byte(text))                  // it may be cut off
		_ = conn.Close()
		if err := p.answers(ctx, "bytes that are no protocol"); err != nil {
			return err
		}
	}
	return nil
}
