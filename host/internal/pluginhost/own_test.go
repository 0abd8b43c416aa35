package pluginhost_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// perJob is the rule that the plugin good has a process for each job.
func perJob(c *pluginhost.Config) {
	c.Policies = map[string]pluginhost.Policy{"good": {Isolation: pluginhost.PerJob}}
}

// begin runs an attempt that goes on until a file is there, in the background.
func begin(t *testing.T, h *pluginhost.Host, id, file string) <-chan *pluginhost.Ended {
	t.Helper()
	s := newSink()
	done := make(chan *pluginhost.Ended, 1)
	go func() { done <- settle(h.Run(context.Background(), until(id, file), s)) }()
	select {
	case <-s.begun:
	case ended := <-done:
		t.Fatalf("attempt %s has ended: %+v", id, ended.Error)
	}
	return done
}

func touch(t *testing.T, file string) {
	t.Helper()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEachJobHasAProcess(t *testing.T) {
	for name, test := range map[string]struct {
		capability string
		policy     pluginhost.Isolation
	}{
		"the plugin can no other":  {"PER_JOB", ""},
		"the plugin prefers it":    {"PER_JOB SHARED", ""},
		"the operator wants it":    {"", pluginhost.PerJob},
		"against the plugin's own": {"SHARED", pluginhost.PerJob},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_LIMIT=1", "HEIMDALL_TEST_ISOLATION='"+test.capability+"'")
			h := f.start(t, func(c *pluginhost.Config) {
				c.Policies = map[string]pluginhost.Policy{"good": {Isolation: test.policy}}
			})
			file := filepath.Join(t.TempDir(), "go")
			first, second := begin(t, h, "a1", file), begin(t, h, "a2", file)

			status := h.Plugins()[0]
			if status.Isolation != pluginhost.PerJob || status.Running != 2 || len(status.Processes) != 2 {
				t.Fatalf("Status = %+v, want two attempts in processes of their own", status)
			}
			for i, p := range status.Processes {
				if p.PID == status.PID || p.Attempt != fmt.Sprint("a", i+1) || !alive(p.PID) {
					t.Errorf("process %d = %+v beside %d, want one of its own for that attempt", i, p, status.PID)
				}
			}
			touch(t, file)
			inline(t, <-first)
			inline(t, <-second)
			eventually(t, "the processes have ended with their jobs", func() bool {
				return len(h.Plugins()[0].Processes) == 0 && !alive(status.Processes[0].PID) && !alive(status.Processes[1].PID)
			})
			if entries, _ := os.ReadDir(filepath.Join(f.data, "run")); len(entries) != 1 {
				t.Errorf("%d folders of processes, want that of the build alone", len(entries))
			}
			if got := h.Plugins()[0]; got.PID != status.PID || got.RestartCount != 0 {
				t.Errorf("Status = %+v, want the build's own process untouched", got)
			}
		})
	}
}

// A process that does not start at once, because the machine is busy, say, costs
// its job time and nothing else.
func TestAJobWaitsForItsProcess(t *testing.T) {
	f := newFixture(t)
	failing := filepath.Join(f.plugins, "failing")
	writePlugin(t, f.plugins, "heimdall-plugin-good", "X=1\nif test -e "+failing+"; then rm "+failing+"; exit 1; fi")
	h := f.start(t, perJob)
	touch(t, failing)
	ended, _ := run(t, h, "good", "a1", "hello")
	inline(t, ended)
	if _, err := os.Stat(failing); err == nil {
		t.Error("no process has failed to start")
	}
}

func TestSharedIsNotForEveryPlugin(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_ISOLATION=PER_JOB")
	h := f.start(t, func(c *pluginhost.Config) {
		c.Policies = map[string]pluginhost.Policy{"good": {Isolation: pluginhost.Shared}}
	})
	status := h.Plugins()[0]
	if want := `set isolation = "per-job" in [plugins.policy.good]`; status.State != pluginhost.Failed || !strings.Contains(status.Error, want) {
		t.Errorf("State = %s (%s), want it failed and told to %s", status.State, status.Error, want)
	}
}

func TestACrashEndsOneJobOnly(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t, perJob)
	file := filepath.Join(t.TempDir(), "go")
	other := begin(t, h, "a1", file)
	before := h.Plugins()[0]
	for i, how := range []string{"kill", "exit", "panic"} {
		ended, _ := run(t, h, "good", fmt.Sprint("c", i), how)
		if ended.Error == nil || ended.Error.Class != job.Lost {
			t.Errorf("%s: Error = %+v, want class lost", how, ended.Error)
		}
	}
	if got := h.Plugins()[0]; got.PID != before.PID || got.State != pluginhost.Active || got.RestartCount != 0 {
		t.Errorf("Status = %+v, want the build untouched by crashes of jobs", got)
	}
	touch(t, file)
	inline(t, <-other)
}

// The process of a build that only describes and checks may crash while jobs run
// beside it.
func TestJobsOutliveTheProcessOfTheirBuild(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t, perJob)
	file := filepath.Join(t.TempDir(), "go")
	done := begin(t, h, "a1", file)
	pid := h.Plugins()[0].PID
	syscall.Kill(pid, syscall.SIGKILL)
	eventually(t, "the build is back", func() bool {
		s := h.Plugins()[0]
		return s.State == pluginhost.Active && s.PID != pid
	})
	touch(t, file)
	inline(t, <-done)
}

func TestStopOfAJobWithItsOwnProcess(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t, perJob)
	for _, how := range []string{"wait", "stubborn", "deaf"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		s := newSink()
		done := make(chan *pluginhost.Ended, 1)
		go func() { done <- settle(h.Run(ctx, request("good", how, how), s)) }()
		<-s.begun
		cancel(&pluginhost.Stop{Reason: pluginhost.StopUser, Message: "by ann", Grace: 100 * time.Millisecond})
		if ended := <-done; ended.Error == nil || ended.Error.Class != job.WasCanceled {
			t.Errorf("%s: Error = %+v, want class canceled", how, ended.Error)
		}
	}
	canceled, cancel := context.WithCancelCause(t.Context())
	cancel(&pluginhost.Stop{Reason: pluginhost.StopUser, Message: "by ann"})
	if ended := settle(h.Run(canceled, request("good", "never", "hello"), newSink())); ended.Error == nil || ended.Error.Class != job.WasCanceled {
		t.Errorf("Error = %+v, want class canceled before the start", ended.Error)
	}
	eventually(t, "no process is left", func() bool { return len(h.Plugins()[0].Processes) == 0 })
}

func TestHotReplacementWhileJobsHaveProcesses(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_VERSION=1.0.0")
	h := f.start(t, perJob)
	file := filepath.Join(t.TempDir(), "go")
	old := begin(t, h, "a1", file)
	before := h.Plugins()[0]

	writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_VERSION=2.0.0")
	eventually(t, "the new build serves", func() bool {
		ended, _ := run(t, h, "good", fmt.Sprint("v", time.Now().UnixNano()), "version")
		return inline(t, ended) == "2.0.0"
	})
	if !alive(before.Processes[0].PID) {
		t.Error("the process of the running job was stopped")
	}
	var draining pluginhost.Status
	for _, s := range h.Plugins() {
		if s.Version == "1.0.0" {
			draining = s
		}
	}
	if draining.State != pluginhost.Draining || draining.Running != 1 {
		t.Errorf("Status of the old build = %+v, want it draining with one job", draining)
	}
	touch(t, file)
	if got := inline(t, <-old); got != "1.0.0 was there until the end" {
		t.Errorf("result = %q", got)
	}
	eventually(t, "the old build is gone", func() bool { return len(h.Plugins()) == 1 && !alive(before.PID) })
}

// A host that is told to stop ends what still runs, in bounded time.
func TestStopEndsTheProcessesOfJobs(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h, stop := f.startStoppable(t, perJob)
	var ended sync.WaitGroup
	for i := range 3 {
		done := begin(t, h, strconv.Itoa(i), filepath.Join(t.TempDir(), "never"))
		ended.Go(func() {
			if e := (<-done).Error; e == nil || e.Class != job.Shutdown {
				t.Errorf("Error = %+v, want class shutdown", e)
			}
		})
	}
	processes := h.Plugins()[0].Processes
	stop()
	ended.Wait()
	for _, p := range processes {
		if alive(p.PID) {
			t.Errorf("process %d has outlived its host", p.PID)
		}
	}
}
