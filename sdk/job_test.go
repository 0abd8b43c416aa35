package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
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

func TestLogLimitHoldsForPrograms(t *testing.T) {
	t.Parallel()

	got := run(t, func(_ context.Context, job *rawJob) error {
		return job.Exec("sh", "-c", "seq 100000; seq 100000 >&2").Run()
	}, sdktest.Request(func(r *pluginpb.StartRequest) { r.Limits.LogBytes = 8 }))
	if got.Err != nil || got.Stdout != "1\n2\n3\n4\n" || got.Stderr != got.Stdout {
		t.Errorf("got %q, %q and %v, want the first 8 bytes of both", got.Stdout, got.Stderr, got.Err)
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

// What a program of the job puts in the place of the job's files must not hold
// the job, nor lead out of its folders.
func TestFilesThatAreNone(t *testing.T) {
	t.Parallel()

	for name, plant := range map[string]func(path string) error{
		"a pipe": func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a link": func(path string) error { return os.Symlink("elsewhere", path) },
	} {
		for file, write := range map[string]func(*rawJob) error{
			"logs/stdout":   func(job *rawJob) error { _, err := job.Stdout.WriteString("x"); return err },
			"result/result": func(job *rawJob) error { _, err := job.Result("text/plain").Write(make([]byte, 200_000)); return err },
		} {
			t.Run(name+" as "+file, func(t *testing.T) {
				t.Parallel()

				got := run(t, func(_ context.Context, job *rawJob) error {
					dir, err := job.Dir()
					if err != nil {
						return err
					}
					path := filepath.Join(dir, "..", file)
					if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
						return err
					}
					if err := plant(path); err != nil {
						return err
					}
					defer os.Remove(path) // sdktest reads what is there
					return write(job)
				})
				if got.Err == nil || got.Err.Class != sdk.Internal {
					t.Errorf("Err = %v, want class internal", got.Err)
				}
			})
		}
	}
}

// What an author hands over must never break the message that tells the end.
func TestOddTextDoesNotLoseTheEnd(t *testing.T) {
	t.Parallel()

	const odd = "\xff\x00"
	for name, act := range map[string]func(*rawJob) error{
		"output":      func(job *rawJob) error { job.Output(odd, odd); return nil },
		"usage":       func(job *rawJob) error { job.Usage(odd, 1); return nil },
		"amount":      func(job *rawJob) error { job.Usage("rows", math.NaN()); return nil },
		"progress":    func(job *rawJob) error { job.Progress(1, 2, odd); return nil },
		"text":        func(job *rawJob) error { return job.Text(odd) },
		"document":    func(job *rawJob) error { return job.Result(odd).Close() },
		"no type":     func(job *rawJob) error { return job.Result("").Close() },
		"file's type": func(job *rawJob) error { return resultFile(job, "out", odd) },
		"file's name": func(job *rawJob) error { return resultFile(job, "\xff", "text/plain") },
		"message":     func(*rawJob) error { return errors.New(odd) },
		"signal":      func(*rawJob) error { return &sdk.Error{Class: sdk.Failed, Message: "x", Signal: odd, Detail: odd} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got := run(t, func(_ context.Context, job *rawJob) error { return act(job) })
			for _, event := range got.Events {
				if r := event.GetResult(); r != nil && (r.GetContentType() == "" || strings.Contains(r.GetContentType(), "\x00")) {
					t.Errorf("result of type %q, want one that can be kept", r.GetContentType())
				}
			}
			for unit, amount := range got.Usage {
				if math.IsNaN(amount) {
					t.Errorf("usage of %q = %v, want a number", unit, amount)
				}
			}
		})
	}
}

// resultFile makes a file that is too large for an event the result.
func resultFile(job *rawJob, name, contentType string) error {
	dir, err := job.Dir()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 200_000), 0o600); err != nil {
		return err
	}
	return job.ResultFile(contentType, name, 0)
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

// A save that the host does not take says why.
func TestSaveSaysWhyItFailed(t *testing.T) {
	t.Parallel()

	said := make(chan string, 1)
	h := newHost(t, script(func(_ context.Context, job *rawJob) error {
		err := job.Save("q1")
		said <- err.Error()
		return err
	}))
	s := h.start(h.request("a"))
	s.until(func(e *pluginpb.Event) bool { return e.GetCheckpoint() != nil })
	h.cancel(&pluginpb.CancelRequest{AttemptId: "a", Reason: pluginpb.CancelReason_CANCEL_REASON_LIMIT, Message: "no room for it"})
	s.end()
	if got := <-said; !strings.HasPrefix(got, "checkpoint: ") || !strings.HasSuffix(got, "no room for it") {
		t.Errorf("Save = %q, want the host's words", got)
	}
}

// The end says whether the outside work was left for others to follow, which
// takes a checkpoint.
func TestAbandonedEnd(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		save   bool
		resume bool
		mode   pluginpb.CancelMode
		reason pluginpb.CancelReason
		want   bool
	}{
		"with a checkpoint":            {true, false, pluginpb.CancelMode_CANCEL_MODE_ABANDON, pluginpb.CancelReason_CANCEL_REASON_LEASE_LOST, true},
		"with that of an earlier one":  {false, true, pluginpb.CancelMode_CANCEL_MODE_ABANDON, pluginpb.CancelReason_CANCEL_REASON_LEASE_LOST, true},
		"without":                      {false, false, pluginpb.CancelMode_CANCEL_MODE_ABANDON, pluginpb.CancelReason_CANCEL_REASON_LEASE_LOST, false},
		"without, and by force":        {false, false, pluginpb.CancelMode_CANCEL_MODE_FORCED, pluginpb.CancelReason_CANCEL_REASON_LEASE_LOST, false},
		"by force without a right":     {true, false, pluginpb.CancelMode_CANCEL_MODE_FORCED, pluginpb.CancelReason_CANCEL_REASON_LEASE_LOST, true},
		"canceled with a checkpoint":   {true, false, pluginpb.CancelMode_CANCEL_MODE_GRACEFUL, pluginpb.CancelReason_CANCEL_REASON_USER, false},
		"canceled with that of others": {false, true, pluginpb.CancelMode_CANCEL_MODE_GRACEFUL, pluginpb.CancelReason_CANCEL_REASON_USER, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			h := newHost(t, script(func(ctx context.Context, job *rawJob) error {
				if test.save {
					if err := job.Save("q1"); err != nil {
						return err
					}
				}
				job.Output("state", "waits")
				<-ctx.Done()
				return context.Cause(ctx)
			}), sdk.Resume())
			request := h.request("a")
			if test.resume {
				request.Mode = pluginpb.StartMode_START_MODE_RESUME
				request.Checkpoint = &pluginpb.Checkpoint{Format: 1, Data: []byte(`"q0"`)}
			}
			s := h.start(request)
			if test.save {
				h.ack("a", s.until(func(e *pluginpb.Event) bool { return e.GetCheckpoint() != nil }).GetNumber())
			}
			s.until(func(e *pluginpb.Event) bool { return e.GetOutput() != nil })
			h.cancel(&pluginpb.CancelRequest{AttemptId: "a", Mode: test.mode, Reason: test.reason})
			ended := s.until(func(e *pluginpb.Event) bool { return e.GetEnded() != nil }).GetEnded()
			class := pluginpb.ErrorClass_ERROR_CLASS_LOST
			if test.reason == pluginpb.CancelReason_CANCEL_REASON_USER {
				class = pluginpb.ErrorClass_ERROR_CLASS_CANCELED
			}
			if ended.GetAbandoned() != test.want || ended.GetError().GetClass() != class {
				t.Errorf("ended %v, want abandoned: %t, class %v", ended, test.want, class)
			}
		})
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
	strict := script(func(_ context.Context, job *rawJob) error { _, err := job.Load(new(string)); return err })
	got = sdktest.Run(t, strict, nil, nil, sdktest.Resume([]int{1}), sdktest.Plugin(sdk.Resume()))
	if got.Err == nil || got.Err.Class != sdk.Lost {
		t.Errorf("from a checkpoint of another form: Err = %v, want class lost", got.Err)
	}
	got = sdktest.Run(t, load, nil, nil, sdktest.Resume("q1"))
	if got.Err == nil || got.Err.Class != sdk.Lost {
		t.Errorf("without the capability: Err = %v, want class lost", got.Err)
	}
}

// A plugin that reads an older format, too, is told which one it gets; it never
// sees another.
func TestResumeFromAFormat(t *testing.T) {
	t.Parallel()

	load := script(func(_ context.Context, job *rawJob) error { return job.Text(fmt.Sprint(job.CheckpointFormat())) })
	for format, want := range map[int32]string{0: "2", 1: "1", 2: "2", 3: ""} {
		got := sdktest.Run(t, load, nil, nil, sdktest.Resume("q1"), sdktest.Plugin(sdk.Resume(2, 1)), sdktest.Request(func(r *pluginpb.StartRequest) {
			r.Checkpoint.Format = format
		}))
		if got.Text != want || (got.Err != nil) != (want == "") || got.Err != nil && got.Err.Class != sdk.Lost {
			t.Errorf("from format %d: got %q and %v, want %q, and lost for one that it does not read", format, got.Text, got.Err, want)
		}
	}
}

// Nobody can go on from nothing, or from what cannot be read.
func TestResumeFromNothing(t *testing.T) {
	t.Parallel()

	load := script(func(_ context.Context, job *rawJob) error {
		var id string
		_, err := job.Load(&id)
		return err
	})
	for name, checkpoint := range map[string]*pluginpb.Checkpoint{
		"no checkpoint": nil,
		"garbage":       {Format: 1, Data: []byte("\x00\xff")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got := sdktest.Run(t, load, nil, nil, sdktest.Plugin(sdk.Resume()), sdktest.Request(func(r *pluginpb.StartRequest) {
				r.Mode, r.Checkpoint = pluginpb.StartMode_START_MODE_RESUME, checkpoint
			}))
			if got.Err == nil || got.Err.Class != sdk.Lost || !strings.Contains(got.Err.Message, "checkpoint") {
				t.Errorf("Err = %v, want class lost, because of the checkpoint", got.Err)
			}
		})
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

// A program goes on until it ends or the job does, whether or not anybody holds
// what it was started with.
func TestProgramsThatNobodyWaitsForGoOn(t *testing.T) {
	t.Parallel()

	done := filepath.Join(t.TempDir(), "done")
	got := sdktest.Run(t, script(func(ctx context.Context, job *rawJob) error {
		if err := job.Exec("sh", "-c", "sleep 0.3; : >"+done).Start(); err != nil {
			return err
		}
		for range 1000 {
			runtime.GC()
			if _, err := os.Stat(done); err == nil {
				return nil
			}
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return errors.New("the program was ended")
	}), nil, nil)
	if got.Err != nil {
		t.Error(got.Err)
	}
}
