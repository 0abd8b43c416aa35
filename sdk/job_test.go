package sdk_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"github.com/heimdall-run/heimdall/sdk/sdktest"
)

func TestJobTellsWhatTheHostSaid(t *testing.T) {
	t.Parallel()

	got := run(t, func(_ context.Context, job *rawJob) error {
		text, err := json.Marshal([]any{job.Name, job.Version, job.Attempt, job.User, job.Groups, job.Command, job.Cluster.Name, string(job.InputJSON())})
		if err != nil {
			return err
		}
		return job.Text(string(text))
	}, sdktest.User("alice", "admins"))
	want := `["test","0.0.1",1,"alice",["admins"],{"id":"command","name":"command","version":"0.0.1","tags":null},"cluster","{}"]`
	if got.Text != want {
		t.Errorf("got %s, want %s", got.Text, want)
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()

	got := run(t, func(_ context.Context, job *rawJob) error {
		_, _ = job.Stdout.WriteString("one ")
		_, _ = job.Stderr.WriteString("err")
		return job.Exec("sh", "-c", `printf "two $HEIMDALL_ATTEMPT $HEIMDALL_USER"; env | grep -c SDK_CANARY >&2; exit 0`).Run()
	})
	if got.Stdout != "one two 1 test" || got.Stderr != "err0\n" {
		t.Errorf("got %q and %q, want the lines of job and program and a clean environment (%v)", got.Stdout, got.Stderr, got.Err)
	}
}

func TestLogLimit(t *testing.T) {
	t.Parallel()

	got := run(t, func(_ context.Context, job *rawJob) error {
		for range 3 {
			if _, err := job.Stdout.WriteString("12345"); err != nil {
				return err
			}
		}
		return nil
	}, sdktest.Request(func(r *pluginpb.StartRequest) { r.Limits.LogBytes = 8 }))
	if got.Err != nil || got.Stdout != "12345123" {
		t.Errorf("got %q and %v, want the first 8 bytes", got.Stdout, got.Err)
	}
	cuts := 0
	for _, event := range got.Events {
		if cut := event.GetLogTruncated(); cut != nil {
			cuts++
			if cut.GetOffset() != 8 || cut.GetStream() != pluginpb.LogStream_LOG_STREAM_STDOUT {
				t.Errorf("got %v, want stdout cut at 8", cut)
			}
		}
	}
	if cuts != 1 {
		t.Errorf("got %d notices of the cut, want 1", cuts)
	}
}

func TestOutputsAndUsage(t *testing.T) {
	t.Parallel()

	got := run(t, func(_ context.Context, job *rawJob) error {
		job.Link("query", "https://example.com/q/1")
		job.Link("odd", "javascript:alert(1)")
		job.Output("state", "planned")
		job.Output("state", "done")
		job.Usage("rows", 2)
		job.Usage("rows", 3)
		for range 1000 {
			job.Output(strings.Repeat("k", len(job.ID)), "v")
		}
		return nil
	})
	if got.Outputs["state"] != "done" || got.Usage["rows"] != 5 {
		t.Errorf("got %v and %v, want the last output and the sum", got.Outputs, got.Usage)
	}
	for _, event := range got.Events {
		if o := event.GetOutput(); o.GetKey() == "odd" && o.GetKind() != pluginpb.OutputKind_OUTPUT_KIND_TEXT {
			t.Errorf("kind of %q = %v, want text", o.GetValue(), o.GetKind())
		}
	}
}

func TestSaveWaitsForTheHost(t *testing.T) {
	t.Parallel()

	saved := make(chan struct{})
	h := newHost(t, script(func(_ context.Context, job *rawJob) error {
		err := job.Save(map[string]string{"query": "q1"})
		close(saved)
		return err
	}), sdk.Resume(7))
	s := h.start(h.request("a"))
	event := s.until(func(e *pluginpb.Event) bool { return e.GetCheckpoint() != nil })
	if got := event.GetCheckpoint(); got.GetFormat() != 7 || string(got.GetData()) != `{"query":"q1"}` {
		t.Errorf("got %v, want format 7 and the value", got)
	}
	select {
	case <-saved:
		t.Error("Save returned before the host acknowledged")
	default:
	}
	h.ack("a", event.GetNumber())
	if err := s.end(); err != nil {
		t.Errorf("ended with %v, want no error", err)
	}
}

// A host that keeps no checkpoints says so when it asks who the plugin is.
func TestSaveFailsWhereNothingIsKept(t *testing.T) {
	t.Parallel()

	for name, want := range map[string]struct {
		features []string
		err      bool
	}{
		"a host without":             {nil, true},
		"a host that keeps them":     {[]string{"checkpoints"}, false},
		"a host with other features": {[]string{"other"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			h := newHost(t, script(func(_ context.Context, job *rawJob) error { return job.Save(1) }))
			if _, err := h.Describe(t.Context(), &pluginpb.DescribeRequest{Features: want.features}); err != nil {
				t.Fatal(err)
			}
			stream := h.start(h.request("a"))
			if !want.err {
				saved := stream.until(func(e *pluginpb.Event) bool { return e.GetCheckpoint() != nil })
				h.ack("a", saved.GetNumber())
			}
			if failure := stream.end(); (failure != nil) != want.err {
				t.Errorf("error = %v, want one: %v", failure, want.err)
			}
		})
	}
}

func TestSaveEndsWithTheAttempt(t *testing.T) {
	t.Parallel()

	h := newHost(t, script(func(_ context.Context, job *rawJob) error { return job.Save(1) }))
	s := h.start(h.request("a"))
	s.until(func(e *pluginpb.Event) bool { return e.GetCheckpoint() != nil })
	h.cancel(&pluginpb.CancelRequest{AttemptId: "a", Reason: pluginpb.CancelReason_CANCEL_REASON_USER})
	if got := s.end().GetClass(); got != pluginpb.ErrorClass_ERROR_CLASS_CANCELED {
		t.Errorf("class = %v, want canceled", got)
	}
}

func TestResume(t *testing.T) {
	t.Parallel()

	load := script(func(_ context.Context, job *rawJob) error {
		var id string
		ok, err := job.Load(&id)
		if err != nil || !ok || !job.Resume {
			return sdk.Errorf(sdk.Internal, "Load: %v, %w", ok, err)
		}
		return job.Text(id)
	})
	got := sdktest.Run(t, load, nil, nil, sdktest.Resume("q1"), sdktest.Plugin(sdk.Resume()))
	if got.Text != "q1" {
		t.Errorf("got %q and %v, want the checkpoint", got.Text, got.Err)
	}
	got = sdktest.Run(t, load, nil, nil, sdktest.Resume("q1"))
	if got.Err == nil || got.Err.Class != sdk.Lost {
		t.Errorf("without the capability: Err = %v, want class lost", got.Err)
	}
}

func TestCancelTerminatesPrograms(t *testing.T) {
	t.Parallel()

	a := sdktest.Start(t, script(func(_ context.Context, job *rawJob) error {
		cmd := job.Exec("sleep", "600")
		if err := cmd.Start(); err != nil {
			return err
		}
		job.Output("state", "sleeping")
		return cmd.Wait()
	}), nil, nil)
	a.Until(func(e *pluginpb.Event) bool { return e.GetOutput() != nil })
	a.Cancel(time.Minute)
	got := a.Wait()
	if got.Err == nil || got.Err.Class != sdk.Canceled || got.Err.Signal != "SIGTERM" {
		t.Errorf("got %+v, want canceled by SIGTERM", got.Err)
	}
}

func TestProgramAfterCancelNeverStarts(t *testing.T) {
	t.Parallel()

	a := sdktest.Start(t, script(func(ctx context.Context, job *rawJob) error {
		<-ctx.Done()
		return job.Exec("touch", "started").Run()
	}), nil, nil)
	a.Cancel(time.Minute)
	got := a.Wait()
	if got.Err == nil || got.Err.Class != sdk.Canceled || !strings.Contains(got.Err.Detail, "stopped before it started") {
		t.Errorf("got %+v, want canceled before the start", got.Err)
	}
}
