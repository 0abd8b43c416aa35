package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

func TestInlineResultAndReports(t *testing.T) {
	f := newFixture(t)
	o := f.run(t, func(_ context.Context, r pluginhost.Request, sink pluginhost.Sink) *pluginhost.Ended {
		if r.User != "alice" || string(r.Input) != `{"a":1}` || r.Attempt != 1 || r.AttemptID != string(f.job.ID)+".1" {
			t.Errorf("request = %+v", r)
		}
		sink.Started(time.Now())
		sink.Output(job.Output{Key: "link", Value: "old", Kind: "link"})
		sink.Output(job.Output{Key: "text", Value: "t", Kind: "text"})
		sink.Output(job.Output{Key: "link", Value: "new", Kind: "link"})
		sink.Usage("rows", 1)
		sink.Usage("rows", 3)
		return &pluginhost.Ended{Build: "digest", Result: &pluginhost.Result{ContentType: job.TableType, Rows: 2, Bytes: 4, Inline: []byte("data")}}
	})
	want := job.Outcome{
		Status: job.Succeeded, Build: "digest", Usage: map[string]float64{"rows": 3},
		Outputs: []job.Output{{Key: "link", Value: "new", Kind: "link"}, {Key: "text", Value: "t", Kind: "text"}},
		Result:  &job.Result{ContentType: job.TableType, Rows: 2, Bytes: 4, Inline: []byte("data")},
	}
	if o.StartedAt.IsZero() || o.EndedAt.Before(o.StartedAt) {
		t.Errorf("times = %v, %v", o.StartedAt, o.EndedAt)
	}
	o.StartedAt, o.EndedAt = time.Time{}, time.Time{}
	if diff := cmp.Diff(want, o); diff != "" {
		t.Errorf("outcome differs (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(f.folder); !errors.Is(err, os.ErrNotExist) {
		t.Error("a job without files has made a folder")
	}
}

func TestFilesAreKeptAndTheFolderGoes(t *testing.T) {
	f := newFixture(t)
	var folders pluginhost.Folders
	r := f.runner(plugin(func(_ context.Context, r pluginhost.Request, _ pluginhost.Sink) *pluginhost.Ended {
		folders = r.Folders
		write(t, r.Folders.Logs, "stdout", "to stdout\n")
		write(t, r.Folders.Logs, "stderr", "")
		content := strings.NewReader(`{"columns":[],"data":[]}`)
		return &pluginhost.Ended{Result: &pluginhost.Result{ContentType: job.TableType, Rows: 7, Bytes: 24, Content: content}}
	}))
	o, done := r.Run(t.Context(), f.claimed(), func(time.Time) {})
	if o.Status != job.Succeeded {
		t.Fatalf("outcome = %+v", o)
	}
	if got := f.read(t, o.Logs.Stdout); got != "to stdout\n" || o.Logs.StdoutBytes != 10 || o.Logs.Stderr != "" {
		t.Errorf("stdout = %q, logs = %+v", got, o.Logs)
	}
	if got := f.read(t, o.Result.Object); got != `{"columns":[],"data":[]}` || o.Result.Rows != 7 || o.Result.Bytes != 24 {
		t.Errorf("result = %q, %+v", got, o.Result)
	}
	if _, err := os.Stat(folders.Logs); err != nil {
		t.Error("the folder went before the end was recorded")
	}
	done()
	if entries, err := os.ReadDir(f.folder); err != nil || len(entries) != 0 {
		t.Errorf("folders left = %v, %v", entries, err)
	}
}

// What a plugin leaves in place of its files must not lead the host elsewhere, and
// its folder goes all the same.
func TestLinksAndPipesAreNotFollowed(t *testing.T) {
	elsewhere := t.TempDir()
	secret := write(t, filepath.Join(elsewhere, "logs"), "stdout", "the host's secret")
	for name, put := range map[string]func(f pluginhost.Folders) error{
		"a link in place of the stream": func(f pluginhost.Folders) error {
			return errors.Join(os.MkdirAll(f.Logs, 0o700), os.Symlink(secret, filepath.Join(f.Logs, "stdout")))
		},
		"a pipe in place of the stream": func(f pluginhost.Folders) error {
			return errors.Join(os.MkdirAll(f.Logs, 0o700), syscall.Mkfifo(filepath.Join(f.Logs, "stdout"), 0o600))
		},
		"a folder in place of the stream": func(f pluginhost.Folders) error {
			return os.MkdirAll(filepath.Join(f.Logs, "stdout"), 0o700)
		},
		"a link in place of the folder of the streams": func(f pluginhost.Folders) error {
			return errors.Join(os.MkdirAll(filepath.Dir(f.Logs), 0o700), os.Symlink(filepath.Dir(secret), f.Logs))
		},
		"a link in place of the folder": func(f pluginhost.Folders) error {
			attempt := filepath.Dir(f.Logs)
			return errors.Join(os.MkdirAll(filepath.Dir(attempt), 0o700), os.Symlink(elsewhere, attempt))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			o := f.run(t, func(_ context.Context, r pluginhost.Request, _ pluginhost.Sink) *pluginhost.Ended {
				if err := put(r.Folders); err != nil {
					t.Fatal(err)
				}
				return &pluginhost.Ended{}
			})
			if o.Logs.Stdout != "" || o.Status != job.Succeeded {
				t.Errorf("outcome = %+v, want a job without the file's content", o)
			}
			if entries, err := os.ReadDir(f.folder); err != nil || len(entries) != 0 {
				t.Errorf("folders left = %v, %v, want none", entries, err)
			}
		})
	}
	if _, err := os.Stat(secret); err != nil {
		t.Errorf("what the links led to: %v, want it untouched", err)
	}
}

// A result is there whole or not at all.
func TestAResultThatCannotBeStoredFailsTheJob(t *testing.T) {
	for fault, want := range map[error]job.Class{
		errors.New("its file is another one"):                   job.Internal,
		errs.Errorf(errs.Unavailable, "the service fails"):      job.Unavailable,
		fmt.Errorf("write: %w", syscall.ENOSPC):                 job.Unavailable,
		&os.PathError{Op: "write", Path: "x", Err: syscall.EIO}: job.Unavailable,
	} {
		f := newFixture(t)
		o := f.run(t, func(context.Context, pluginhost.Request, pluginhost.Sink) *pluginhost.Ended {
			broken := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(fault))
			return &pluginhost.Ended{Result: &pluginhost.Result{ContentType: "text/plain", Bytes: 8, Content: broken}}
		})
		if o.Result != nil || o.Status != job.Failed || o.Error.Class != want || !strings.Contains(o.Error.Message, fault.Error()) {
			t.Errorf("outcome = %+v, error %v, want a failed job of class %s that says why", o, o.Error, want)
		}
		if left, err := filepath.Glob(filepath.Join(filepath.Dir(f.folder), "artifacts", "jobs", "*", "*", "*")); err != nil || len(left) > 0 {
			t.Errorf("artifacts = %v, %v, want none", left, err)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Setenv("PASSWORD", "hunter2")
	tests := map[string]struct {
		command, cluster string
		settings         string
		secrets          map[string][]byte
		fails            string
	}{
		"none":                    {"", "", `{}`, nil, ""},
		"one side":                {`{"a":1}`, "{}", `{"a":1}`, nil, ""},
		"the other":               {"", `{"b":"x"}`, `{"b":"x"}`, nil, ""},
		"both":                    {`{"a":12345678901234567890}`, `{"b":"x"}`, `{"a":12345678901234567890,"b":"x"}`, nil, ""},
		"references are resolved": {`{"a":{"p":"${PASSWORD}"}}`, "", `{"a":{}}`, map[string][]byte{"/a/p": []byte("hunter2")}, ""},
		"a key on both sides":     {`{"a":1}`, `{"a":1}`, "", nil, `both contexts set "a"`},
		"an unset variable":       {`{"a":"${NOWHERE_SET}"}`, "", "", nil, "NOWHERE_SET"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.commands[0].Context, f.clusters[0].Context = json.RawMessage(tt.command), json.RawMessage(tt.cluster)
			ran := false
			o := f.run(t, func(_ context.Context, r pluginhost.Request, _ pluginhost.Sink) *pluginhost.Ended {
				ran = true
				if got := string(r.Settings); got != tt.settings {
					t.Errorf("settings = %s, want %s", got, tt.settings)
				}
				if diff := cmp.Diff(tt.secrets, r.Secrets); diff != "" && len(tt.secrets)+len(r.Secrets) > 0 {
					t.Errorf("secrets differ (-want +got):\n%s", diff)
				}
				return &pluginhost.Ended{}
			})
			if ran == (tt.fails != "") {
				t.Fatalf("the plugin ran: %v, outcome %+v", ran, o)
			}
			if tt.fails != "" && (o.Status != job.Failed || !strings.Contains(o.Error.Message, tt.fails)) {
				t.Errorf("outcome = %+v, want it to say %q", o, tt.fails)
			}
		})
	}
}

func TestThePairIsCheckedAgain(t *testing.T) {
	for name, change := range map[string]func(*fixture){
		"command gone":     func(f *fixture) { f.commands = nil },
		"command inactive": func(f *fixture) { f.commands[0].Status = catalog.Inactive },
		"cluster gone":     func(f *fixture) { f.clusters = nil },
		"cluster deleted":  func(f *fixture) { f.clusters[0].Status = catalog.Deleted },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			change(f)
			o := f.run(t, func(context.Context, pluginhost.Request, pluginhost.Sink) *pluginhost.Ended {
				t.Error("the plugin ran")
				return &pluginhost.Ended{}
			})
			if o.Status != job.Failed || o.Error.Class != job.Unavailable || !strings.Contains(o.Error.Message, "not in force") {
				t.Errorf("outcome = %+v", o)
			}
		})
	}
}

func TestHowAStoppedJobEnds(t *testing.T) {
	broke := &job.Error{Class: job.WorkFailed, Message: "exit status 143"}
	tests := map[string]struct {
		reason pluginhost.StopReason
		ended  *job.Error
		status job.Status
		class  job.Class
	}{
		"it ended well before":  {pluginhost.StopUser, nil, job.Succeeded, ""},
		"canceled":              {pluginhost.StopUser, broke, job.Canceled, job.WasCanceled},
		"the caller has gone":   {pluginhost.StopClientGone, broke, job.Canceled, job.WasCanceled},
		"its time was up":       {pluginhost.StopTimeout, broke, job.Killed, job.TimedOut},
		"the host stopped":      {pluginhost.StopShutdown, broke, job.Killed, job.Shutdown},
		"the host lost its job": {pluginhost.StopLeaseLost, &job.Error{Class: job.Lost}, job.Failed, job.Lost},
		"it failed by its own":  {"", broke, job.Failed, job.WorkFailed},
		"a limit was broken":    {pluginhost.StopLimit, &job.Error{Class: job.Lost}, job.Killed, job.Quota},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			o := f.run(t, func(context.Context, pluginhost.Request, pluginhost.Sink) *pluginhost.Ended {
				ended := &pluginhost.Ended{Error: tt.ended}
				if tt.reason != "" {
					ended.Stop = &pluginhost.Stop{Reason: tt.reason, Message: "because"}
				}
				return ended
			})
			if o.Status != tt.status {
				t.Errorf("status = %s, want %s", o.Status, tt.status)
			}
			if tt.ended != nil && o.Error.Class != tt.class {
				t.Errorf("class = %s, want %s", o.Error.Class, tt.class)
			}
			if broke.Message != "exit status 143" {
				t.Error("the plugin's error was changed in place")
			}
		})
	}
}

func TestWhoseTimeoutHolds(t *testing.T) {
	for name, tt := range map[string]struct{ job, command, standard, want time.Duration }{
		"none":             {0, 0, 0, 0},
		"of the job":       {1, 2, 3, 1},
		"of the command":   {0, 2, 3, 2},
		"of configuration": {0, 0, 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.job.Timeout, f.commands[0].Timeout = tt.job, tt.command
			f.job.Deadline = time.Now().Add(time.Hour)
			r := f.runner(plugin(func(_ context.Context, r pluginhost.Request, _ pluginhost.Sink) *pluginhost.Ended {
				if r.Timeout != tt.want || r.Grace != time.Second || !r.Deadline.Equal(f.job.Deadline) {
					t.Errorf("timeout = %v with grace %v until %v, want %v with 1s until %v", r.Timeout, r.Grace, r.Deadline, tt.want, f.job.Deadline)
				}
				return &pluginhost.Ended{}
			}))
			r.DefaultTimeout = tt.standard
			r.Run(t.Context(), f.claimed(), func(time.Time) {})
		})
	}
}

func TestLostKeepsTheLogs(t *testing.T) {
	f := newFixture(t)
	write(t, filepath.Join(f.folder, string(f.job.ID), "1", "logs"), "stdout", "began")
	plugins := &settling{}
	o, done := f.runner(plugins).Lost(t.Context(), f.claimed())
	if len(plugins.settled) > 0 {
		t.Errorf("settled = %v before the loss is recorded, want nothing", plugins.settled)
	}
	done()
	if want := []string{string(f.job.ID) + ".1"}; !slices.Equal(plugins.settled, want) {
		t.Errorf("settled = %v, want %v", plugins.settled, want)
	}
	if o.Status != job.Failed || o.Error.Class != job.Lost {
		t.Errorf("outcome = %+v", o)
	}
	if got := f.read(t, o.Logs.Stdout); got != "began" {
		t.Errorf("stdout = %q, want what was written before", got)
	}
	if _, err := os.Stat(filepath.Join(f.folder, fmt.Sprint(f.job.ID))); !errors.Is(err, os.ErrNotExist) {
		t.Error("the folder is still there")
	}
}

// An attempt of an earlier life is followed whatever the catalog says now, with
// what is left of its time.
func TestFollow(t *testing.T) {
	f := newFixture(t)
	f.commands = nil
	f.job.Timeout, f.job.StartedAt = time.Hour, time.Now().Add(-20*time.Minute)
	o, done := f.runner(plugin(func(_ context.Context, r pluginhost.Request, _ pluginhost.Sink) *pluginhost.Ended {
		if left := r.Timeout.Round(time.Minute); left != 40*time.Minute || r.AttemptID != string(f.job.ID)+".1" {
			t.Errorf("request = %+v, want 40m for the attempt", r)
		}
		write(t, r.Folders.Logs, "stdout", "all of it")
		return &pluginhost.Ended{}
	})).Follow(t.Context(), f.claimed(), func(time.Time) {})
	done()
	if o.Status != job.Succeeded || !o.StartedAt.Equal(f.job.StartedAt) || f.read(t, o.Logs.Stdout) != "all of it" {
		t.Errorf("outcome = %+v", o)
	}
}

func TestLeftAttemptsHaveNoOutcome(t *testing.T) {
	f := newFixture(t)
	var logs string
	o := f.run(t, func(_ context.Context, r pluginhost.Request, _ pluginhost.Sink) *pluginhost.Ended {
		logs = write(t, r.Folders.Logs, "stdout", "so far")
		return &pluginhost.Ended{Left: true}
	})
	if o.Status != "" {
		t.Errorf("outcome = %+v, want none", o)
	}
	if _, err := os.Stat(logs); err != nil {
		t.Error("the files of an attempt that goes on are gone")
	}
}
