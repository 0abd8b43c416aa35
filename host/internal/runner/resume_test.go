package runner_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// plugins is a plugin that says whether it can resume, and cleans up.
type plugins struct {
	plugin
	can   func(ctx context.Context, format int32) error
	clean func(pluginhost.Remains) error
}

func (p plugins) CanResume(ctx context.Context, _, _ string, format int32) error {
	return p.can(ctx, format)
}

func (p plugins) Cleanup(_ context.Context, r pluginhost.Remains) error { return p.clean(r) }

// What was reported before a checkpoint is kept with it, and is there again for
// whoever follows the attempt or resumes its work.
func TestCheckpointsHoldWhatWasShown(t *testing.T) {
	f := newFixture(t)
	f.run(t, func(ctx context.Context, _ pluginhost.Request, sink pluginhost.Sink) *pluginhost.Ended {
		sink.Output(job.Output{Key: "query", Value: "q1"})
		sink.Usage("rows", 3)
		if err := sink.Checkpoint(ctx, 2, []byte("intent")); err != nil {
			t.Error(err)
		}
		sink.Output(job.Output{Key: "late", Value: "x"})
		return &pluginhost.Ended{}
	})
	want := &job.Checkpoint{
		Attempt: 1, Format: 2, Data: []byte("intent"),
		Outputs: []job.Output{{Key: "query", Value: "q1"}}, Usage: map[string]float64{"rows": 3},
	}
	if len(f.saved) != 1 {
		t.Fatalf("%d checkpoints were kept, want 1", len(f.saved))
	}
	if diff := cmp.Diff(want, f.saved[0]); diff != "" {
		t.Errorf("checkpoint differs (-want +got):\n%s", diff)
	}

	for name, attempt := range map[string]int{"followed": 1, "resumed": 2} {
		t.Run(name, func(t *testing.T) {
			c := f.claimed()
			c.Lease.Attempt, c.Checkpoint, c.Resume = attempt, want, attempt == 2
			begun := 0
			started := func(time.Time) { begun++ }
			r := f.runner(plugin(func(_ context.Context, r pluginhost.Request, sink pluginhost.Sink) *pluginhost.Ended {
				if r.Resume != c.Resume || r.Checkpoint.Format != 2 || string(r.Checkpoint.Data) != "intent" {
					t.Errorf("request = %+v, want the checkpoint", r)
				}
				if attempt == 2 {
					sink.Started(time.Now())
				}
				return &pluginhost.Ended{}
			}))
			perform := r.Follow
			if c.Resume {
				perform = r.Run
			}
			o, _ := perform(t.Context(), c, started)
			if diff := cmp.Diff(want.Outputs, o.Outputs); diff != "" {
				t.Errorf("outputs differ (-want +got):\n%s", diff)
			}
			if got, want := len(o.Usage), 2-attempt; got != want {
				t.Errorf("usage = %v, want that of this attempt only", o.Usage)
			}
			if begun != 1 || o.Checkpoint != want {
				t.Errorf("begun %d times with checkpoint %+v, want once, and the same", begun, o.Checkpoint)
			}
		})
	}
}

// A plugin waits for a checkpoint as long as the store is away or its job may run.
func TestCheckpointsWhileTheStoreIsAway(t *testing.T) {
	away := errs.Errorf(errs.Unavailable, "away")
	tests := map[string]struct {
		refuse []error
		cancel time.Duration
		want   func(error) bool
		took   time.Duration
	}{
		"it comes back":          {[]error{away, away, errors.New("odd")}, 0, func(err error) bool { return err == nil }, 350 * time.Millisecond},
		"the job is canceled":    {[]error{away, away, away, away, away, away}, 500 * time.Millisecond, func(err error) bool { return errors.Is(err, context.Canceled) }, 500 * time.Millisecond},
		"it is refused for ever": {[]error{errs.Errorf(errs.Invalid, "no")}, 0, func(err error) bool { return errs.Is(err, errs.Invalid) }, 0},
		"the lease is gone": {[]error{store.ErrLeaseLost}, 0, func(err error) bool {
			stop, ok := errors.AsType[*pluginhost.Stop](err)
			return ok && stop.Reason == pluginhost.StopLeaseLost
		}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.refuse = tt.refuse
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.cancel > 0 {
					time.AfterFunc(tt.cancel, cancel)
				}
				f.run(t, func(_ context.Context, _ pluginhost.Request, sink pluginhost.Sink) *pluginhost.Ended {
					begun := time.Now()
					if err := sink.Checkpoint(ctx, 1, []byte("q")); !tt.want(err) || time.Since(begun) != tt.took {
						t.Errorf("Checkpoint = %v after %v, want something else, or after %v", err, time.Since(begun), tt.took)
					}
					return &pluginhost.Ended{}
				})
			})
		})
	}
}

func TestWhetherALostAttemptIsResumed(t *testing.T) {
	tests := map[string]struct {
		attempt    int
		checkpoint *job.Checkpoint
		can        func(context.Context, int32) error
		change     func(*fixture)
		stop       *pluginhost.Stop
		resumable  bool
		status     job.Status
		message    string
	}{
		"by a plugin that can": {1, &job.Checkpoint{Attempt: 1, Format: 4}, nil, nil, nil, true, job.Failed, "crashed"},
		"for the fifth time":   {5, &job.Checkpoint{Attempt: 1, Format: 4}, nil, nil, nil, true, job.Failed, "crashed"},
		"not for the sixth":    {6, &job.Checkpoint{Attempt: 1, Format: 4}, nil, nil, nil, false, job.Failed, "crashed; it cannot be resumed: 5 attempts in a row"},
		"but later again":      {6, &job.Checkpoint{Attempt: 2, Format: 4}, nil, nil, nil, true, job.Failed, "crashed"},
		"from a later one's":   {1, &job.Checkpoint{Attempt: 3, Format: 4}, nil, nil, nil, true, job.Failed, "crashed"},
		"without a checkpoint": {1, nil, nil, nil, nil, false, job.Failed, "crashed"},
		"by a plugin that cannot": {1, &job.Checkpoint{Attempt: 1, Format: 4}, func(context.Context, int32) error {
			return errors.New("version 1 knows no such format")
		}, nil, nil, false, job.Failed, "crashed; it cannot be resumed: version 1 knows no such format"},
		"by an inactive command": {1, &job.Checkpoint{Attempt: 1, Format: 4}, nil, func(f *fixture) { f.commands[0].Status = catalog.Inactive }, nil, true, job.Failed, "crashed"},
		"without its command":    {1, &job.Checkpoint{Attempt: 1, Format: 4}, nil, func(f *fixture) { f.commands = nil }, nil, false, job.Failed, "not in force"},
		"after its time": {1, &job.Checkpoint{Attempt: 1, Format: 4}, func(ctx context.Context, _ int32) error {
			<-ctx.Done()
			return errors.New("still starting")
		}, func(f *fixture) { f.job.Timeout = time.Millisecond }, nil, false, job.Killed, "the job took longer than its timeout of 1ms"},
		"after its deadline": {1, &job.Checkpoint{Attempt: 1, Format: 4}, func(ctx context.Context, _ int32) error {
			<-ctx.Done()
			return errors.New("still starting")
		}, func(f *fixture) { f.job.Deadline = time.Date(2026, 5, 17, 9, 30, 0, 0, time.UTC) }, nil, false, job.Killed, "the job had not ended at its deadline, 2026-05-17T09:30:00Z"},
		"when it is canceled": {1, &job.Checkpoint{Attempt: 1, Format: 4}, nil, nil, &pluginhost.Stop{Reason: pluginhost.StopUser, Message: "canceled by bob"}, false, job.Canceled, "canceled by bob"},
		"when the host stops": {1, &job.Checkpoint{Attempt: 1, Format: 4}, nil, nil, &pluginhost.Stop{Reason: pluginhost.StopShutdown, Message: "stopped"}, false, job.Killed, "stopped"},
		"by the next life":    {1, &job.Checkpoint{Attempt: 1, Format: 4}, nil, nil, &pluginhost.Stop{Reason: pluginhost.StopDetach}, false, "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			if tt.change != nil {
				tt.change(f)
			}
			p := plugins{can: tt.can}
			if p.can == nil {
				p.can = func(_ context.Context, format int32) error {
					if format != 4 {
						t.Errorf("format = %d, want 4", format)
					}
					return nil
				}
			}
			p.plugin = func(context.Context, pluginhost.Request, pluginhost.Sink) *pluginhost.Ended {
				return &pluginhost.Ended{Error: &job.Error{Class: job.Lost, Message: "crashed"}, Resumable: true, Remains: true}
			}
			c := f.claimed()
			c.Lease.Attempt, c.Checkpoint, c.Resume = tt.attempt, tt.checkpoint, tt.attempt > 1
			synctest.Test(t, func(t *testing.T) {
				c.Job.StartedAt = time.Now()
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if tt.stop != nil {
					cancel(tt.stop)
				}
				o, _ := f.runner(p).Follow(ctx, c, func(time.Time) {})
				if o.Resumable != tt.resumable || o.Status != tt.status {
					t.Errorf("resumable %t as %q, want %t as %q", o.Resumable, o.Status, tt.resumable, tt.status)
				}
				if tt.message != "" && (o.Error == nil || !strings.Contains(o.Error.Message, tt.message)) {
					t.Errorf("error = %v, want it to say %q", o.Error, tt.message)
				}
				if (o.Remains == "") != (tt.status == "") {
					t.Errorf("remains = %q, want what is left to be known", o.Remains)
				}
				if took := time.Since(c.Job.StartedAt); tt.resumable && (took > 0) != (tt.attempt > tt.checkpoint.Attempt) {
					t.Errorf("took %v, want a pause only between resumes", took)
				}
			})
		})
	}
}

// The attempt that resumes goes on with the logs of those before it, also when an
// earlier move was cut short.
func TestLogsAreCarriedOn(t *testing.T) {
	for name, earlier := range map[string][]int{"of the attempt before": {2}, "of one further back": {1}, "of none": nil} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			r := f.runner(plugin(func(_ context.Context, r pluginhost.Request, _ pluginhost.Sink) *pluginhost.Ended {
				file, err := os.OpenFile(filepath.Join(r.Folders.Logs, "stdout"), os.O_APPEND|os.O_WRONLY, 0)
				if len(earlier) == 0 {
					write(t, r.Folders.Logs, "stdout", "resumed")
					return &pluginhost.Ended{}
				}
				if err != nil {
					t.Fatal(err)
				}
				defer file.Close()
				if _, err := file.WriteString("resumed"); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(r.Folders.Work); !errors.Is(err, os.ErrNotExist) {
					t.Error("the working folder is not a new one")
				}
				return &pluginhost.Ended{}
			}))
			want := "resumed"
			for _, attempt := range earlier {
				folder := filepath.Join(f.folder, string(f.job.ID), strconv.Itoa(attempt))
				write(t, filepath.Join(folder, "logs"), "stdout", "begun ")
				write(t, filepath.Join(folder, "work"), "file", "")
				want = "begun resumed"
			}
			c := f.claimed()
			c.Lease.Attempt, c.Resume, c.Checkpoint = 3, true, &job.Checkpoint{Attempt: 1}
			for range 2 {
				r.Carry(c)
			}
			o, done := r.Run(t.Context(), c, func(time.Time) {})
			done()
			if got := f.read(t, o.Logs.Stdout); got != want {
				t.Errorf("stdout = %q, want %q", got, want)
			}
			if entries, err := os.ReadDir(f.folder); err != nil || len(entries) != 0 {
				t.Errorf("folders left = %v, %v", entries, err)
			}
		})
	}
}

// A job that is resumed has the time that is left since its work began.
func TestTimeoutOfAResumedJob(t *testing.T) {
	f := newFixture(t)
	f.job.Timeout, f.job.StartedAt = time.Hour, time.Now().Add(-20*time.Minute)
	c := f.claimed()
	c.Lease.Attempt, c.Resume, c.Checkpoint = 2, true, &job.Checkpoint{Attempt: 1}
	o, _ := f.runner(plugin(func(_ context.Context, r pluginhost.Request, _ pluginhost.Sink) *pluginhost.Ended {
		if left := r.Timeout.Round(time.Minute); left != 40*time.Minute || r.AttemptID != string(f.job.ID)+".2" {
			t.Errorf("request = %+v, want 40m for the second attempt", r)
		}
		return &pluginhost.Ended{}
	})).Run(t.Context(), c, func(time.Time) {})
	if !o.StartedAt.Equal(f.job.StartedAt) {
		t.Errorf("started at %v, want %v: when the work began", o.StartedAt, f.job.StartedAt)
	}
}

func TestCleanup(t *testing.T) {
	t.Setenv("PASSWORD", "hunter2")
	f := newFixture(t)
	f.commands[0].Status, f.commands[0].Context = catalog.Inactive, []byte(`{"p":"${PASSWORD}"}`)
	left := job.Cleanup{Job: f.job, Attempt: 3, Reason: "it crashed", Checkpoint: &job.Checkpoint{Format: 2, Data: []byte("table t")}}
	broken := errors.New("cannot remove table t")
	r := f.runner(plugins{clean: func(r pluginhost.Remains) error {
		if r.Plugin != "p" || r.AttemptID != string(f.job.ID)+".3" || r.Reason != "it crashed" || r.Checkpoint.Format != 2 ||
			string(r.Checkpoint.Data) != "table t" || string(r.Secrets["/p"]) != "hunter2" || !strings.HasSuffix(r.Folders.Work, "/3/work") {
			t.Errorf("remains = %+v", r)
		}
		return broken
	}})
	if err := r.Cleanup(t.Context(), left); !errors.Is(err, broken) {
		t.Errorf("Cleanup = %v, want what the plugin said", err)
	}
	f.commands = nil
	if err := r.Cleanup(t.Context(), left); err == nil || !strings.Contains(err.Error(), "not in force") {
		t.Errorf("Cleanup = %v, want that the command is gone", err)
	}
}

// A job whose command is gone cannot be resumed, and has left what it began: that
// is lost, to be cleaned up, and not safe to try again.
func TestResumeWithoutACommand(t *testing.T) {
	f := newFixture(t)
	c := f.claimed()
	orphan := *c.Job
	orphan.Pair.CommandID = "gone"
	c.Job, c.Resume, c.Checkpoint = &orphan, true, &job.Checkpoint{Attempt: 1}
	o, _ := f.runner(plugins{}).Run(t.Context(), c, func(time.Time) {})
	if o.Error == nil || o.Error.Class != job.Lost || o.Error.RetrySafe || o.Remains == "" {
		t.Errorf("outcome = %+v (%+v), want class lost and that something remains", o, o.Error)
	}
}
