package sdktest_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"github.com/heimdall-run/heimdall/sdk/sdktest"
)

type settings struct {
	Name  string `json:"name"`
	Token string `json:"token" secret:"true"`
}

type input struct {
	Wait bool `json:"wait"`
	Save bool `json:"save"`
}

func (s *settings) Run(ctx context.Context, job *sdk.Job[input]) error {
	_, _ = job.Stdout.WriteString("out")
	_, _ = job.Stderr.WriteString("err")
	job.Usage("rows", 2)
	job.Output("token", s.Token)
	if job.Input.Save {
		return job.Save(s.Name)
	}
	if job.Input.Wait {
		<-ctx.Done()
		return ctx.Err()
	}
	table := job.Table(sdk.Column{Name: "a", Type: "string"}, sdk.Column{Name: "b", Type: "int64"})
	return table.Append(s.Name, 1)
}

func create() *settings { return &settings{Name: "default"} }

func TestOutcome(t *testing.T) {
	t.Parallel()

	got := sdktest.Run(t, create, map[string]string{"name": "n"}, nil, sdktest.Secret("/token", "secret"))
	if got.Err != nil || len(got.Rows) != 1 || got.Rows[0][0] != "n" || got.Columns[1].Type != "int64" {
		t.Errorf("got %v, %v and %v, want one row", got.Columns, got.Rows, got.Err)
	}
	if got.Stdout != "out" || got.Stderr != "err" || got.Usage["rows"] != 2 || got.Outputs["token"] != "secret" {
		t.Errorf("got %q, %q, %v and %v, want what the job wrote", got.Stdout, got.Stderr, got.Usage, got.Outputs)
	}
}

func TestStop(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		stop  func(*sdktest.Attempt)
		opts  []sdktest.Option
		class sdk.Class
	}{
		"cancel":   {func(a *sdktest.Attempt) { a.Cancel(time.Minute) }, nil, sdk.Canceled},
		"kill":     {(*sdktest.Attempt).Kill, nil, sdk.Canceled},
		"deadline": {func(*sdktest.Attempt) {}, []sdktest.Option{sdktest.Deadline(50 * time.Millisecond)}, sdk.Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			a := sdktest.Start(t, create, nil, input{Wait: true}, test.opts...)
			a.Until(func(e *pluginpb.Event) bool { return e.GetOutput() != nil })
			test.stop(a)
			if got := a.Wait(); got.Err == nil || got.Err.Class != test.class {
				t.Errorf("Err = %v, want class %s", got.Err, test.class)
			}
		})
	}
}

func TestCheckpointIsAcknowledged(t *testing.T) {
	t.Parallel()

	got := sdktest.Run(t, create, nil, input{Save: true})
	if got.Err != nil || string(got.Checkpoint) != `"default"` {
		t.Errorf("got %s and %v, want the checkpoint", got.Checkpoint, got.Err)
	}
}

// remote is a plugin whose work goes on elsewhere.
type remote struct {
	work *atomic.Int32 // 1: goes on; 2: was stopped
}

func (r *remote) Run(ctx context.Context, job *sdk.Job[sdk.None]) error {
	var query string
	if _, err := job.Load(&query); err != nil {
		return err
	}
	if job.Resume {
		return job.Text("followed " + query)
	}
	if err := job.Save("q1"); err != nil {
		return err
	}
	r.work.Store(1)
	job.Output("query", "q1")
	<-ctx.Done()
	if !sdk.Abandoned(ctx) {
		r.work.Store(2)
	}
	return context.Cause(ctx)
}

func (r *remote) Cleanup(_ context.Context, remains sdk.Remains) error {
	var query string
	if ok, err := remains.Load(&query); err != nil || !ok {
		return fmt.Errorf("Load: %v, %w", ok, err)
	}
	r.work.Store(2)
	return nil
}

func TestAbandonResumeCleanup(t *testing.T) {
	t.Parallel()

	var work atomic.Int32
	create := func() *remote { return &remote{&work} }
	a := sdktest.Start(t, create, nil, nil, sdktest.Plugin(sdk.Resume()))
	a.Until(func(e *pluginpb.Event) bool { return e.GetOutput() != nil })
	left := a.Abandon()
	if left.Err == nil || left.Err.Class != sdk.Lost || work.Load() != 1 {
		t.Errorf("got %v with the work at %d, want class lost and the work going on", left.Err, work.Load())
	}
	got := sdktest.Run(t, create, nil, nil, sdktest.Plugin(sdk.Resume()), sdktest.Resume(left.Checkpoint))
	if got.Text != "followed q1" {
		t.Errorf("got %q and %v, want the same work followed", got.Text, got.Err)
	}
	if err := sdktest.Cleanup(t, create, nil, left.Checkpoint); err != nil || work.Load() != 2 {
		t.Errorf("got %v with the work at %d, want it stopped", err, work.Load())
	}
	if err := sdktest.Cleanup(t, create, nil, nil); err == nil {
		t.Error("got no error without a checkpoint, want that of the plugin")
	}
}
