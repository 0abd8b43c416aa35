package sdktest_test

import (
	"context"
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
