package sdk_test

import (
	"context"
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"github.com/heimdall-run/heimdall/sdk/sdktest"
)

// hog is a program that keeps as many bytes in memory.
const hog = `hog() { (head -c "$1" /dev/zero; sleep 60) | tail >/dev/null; }; `

func limited(memory int64) sdktest.Option {
	return sdktest.Request(func(r *pluginpb.StartRequest) { r.Limits.MemoryBytes = memory })
}

func TestMemoryOfPrograms(t *testing.T) {
	t.Parallel()
	const limit = 100 << 20
	for name, run := range map[string]func(*sdk.Job[json.RawMessage]) error{
		"of one": func(job *sdk.Job[json.RawMessage]) error {
			return job.Exec("sh", "-c", hog+"hog 200000000").Run()
		},
		"of a grandchild that has left its session": func(job *sdk.Job[json.RawMessage]) error {
			return job.Exec("sh", "-c", "(setsid sh -c '"+hog+"hog 200000000' &); sleep 60").Run()
		},
		"of several together": func(job *sdk.Job[json.RawMessage]) error {
			for range 2 {
				if err := job.Exec("sh", "-c", hog+"hog 70000000").Start(); err != nil {
					return err
				}
			}
			return job.Exec("sleep", "60").Run()
		},
		"that Run does not mind": func(job *sdk.Job[json.RawMessage]) error {
			_ = job.Exec("sh", "-c", hog+"hog 200000000").Run()
			return job.Text("all is well")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := sdktest.Run(t, script(func(_ context.Context, job *sdk.Job[json.RawMessage]) error { return run(job) }), nil, nil, limited(limit))
			if got.Err == nil || got.Err.Class != sdk.Quota || !strings.HasPrefix(got.Err.Message, "the job used ") || !strings.HasSuffix(got.Err.Message, "of memory, and its limit is 100 MiB") {
				t.Fatalf("Err = %+v, want class quota with what was used, and the limit", got.Err)
			}
			if last := got.Events[len(got.Events)-1].GetEnded(); last.GetError().GetLimit() != "memory" {
				t.Errorf("limit = %q, want memory", last.GetError().GetLimit())
			}
		})
	}
}

// What is below the limit, or has none, runs on, however often it is looked at.
func TestMemoryBelowItsLimit(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]int64{"below": 100 << 20, "without": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := sdktest.Run(t, script(func(_ context.Context, job *sdk.Job[json.RawMessage]) error {
				return job.Exec("sh", "-c", "(head -c 30000000 /dev/zero; sleep 0.7) | tail >/dev/null").Run()
			}), nil, nil, limited(limit))
			if got.Err != nil {
				t.Errorf("Err = %+v, want none", got.Err)
			}
		})
	}
}

func TestProcessorTimeOfPrograms(t *testing.T) {
	t.Parallel()
	got := sdktest.Run(t, script(func(_ context.Context, job *sdk.Job[json.RawMessage]) error {
		return job.Exec("sh", "-c", "while :; do :; done").Run()
	}), nil, nil, sdktest.Request(func(r *pluginpb.StartRequest) { r.Limits.CpuSeconds = 1 }))
	if got.Err == nil || got.Err.Class != sdk.Quota || !strings.Contains(got.Err.Message, "processor time") {
		t.Errorf("Err = %+v, want class quota for the processor time", got.Err)
	}
}

// A program that somebody else kills may have been killed by the kernel.
func TestKillByOthersIsNamed(t *testing.T) {
	t.Parallel()
	got := sdktest.Run(t, script(func(_ context.Context, job *sdk.Job[json.RawMessage]) error {
		cmd := job.Exec("sleep", "60")
		if err := cmd.Start(); err != nil {
			return err
		}
		syscall.Kill(cmd.Pid(), syscall.SIGKILL)
		return cmd.Wait()
	}), nil, nil)
	if got.Err == nil || got.Err.Class != sdk.Failed || got.Err.Signal != "SIGKILL" || !strings.Contains(got.Err.Message, "out of memory") {
		t.Errorf("Err = %+v, want class failed with the possible cause", got.Err)
	}
}
