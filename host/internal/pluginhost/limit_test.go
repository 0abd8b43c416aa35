package pluginhost_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// hogLimit is more than the fake needs and less than it takes as a hog.
const hogLimit = 250 << 20

// policy is a rule for the plugin good.
func policy(isolation pluginhost.Isolation, limits pluginhost.Limits) func(*pluginhost.Config) {
	return func(c *pluginhost.Config) {
		c.Policies = map[string]pluginhost.Policy{"good": {Isolation: isolation, Limits: limits}}
	}
}

// waysToSample are the two ways in which the processes of a tree are found.
var waysToSample = map[string]func(*pluginhost.Host){
	"in control groups":      func(*pluginhost.Host) {},
	"without control groups": (*pluginhost.Host).WithoutGroups,
}

func TestMemoryOfAJobWithItsOwnProcess(t *testing.T) {
	for way, change := range waysToSample {
		for _, how := range []string{"hog", "hog below"} {
			t.Run(how+" "+way, func(t *testing.T) {
				f := newFixture(t)
				f.change = change
				writePlugin(t, f.plugins, "heimdall-plugin-good")
				h := f.start(t, policy(pluginhost.PerJob, pluginhost.Limits{}))
				file := filepath.Join(t.TempDir(), "go")
				other := begin(t, h, "other", file)
				r := request("good", "a1", how)
				r.Limits.MemoryBytes = hogLimit
				ended := settle(h.Run(t.Context(), r, newSink()))
				if e := ended.Error; e == nil || e.Class != job.Quota || ended.Stop == nil || ended.Stop.Reason != pluginhost.StopLimit {
					t.Fatalf("Error = %+v, Stop = %+v, want class quota, stopped for a limit", ended.Error, ended.Stop)
				}
				if m := ended.Error.Message; !strings.HasPrefix(m, "the job used ") || !strings.HasSuffix(m, " MiB of memory, and its limit is 250 MiB") {
					t.Errorf("Message = %q, want what was used, and the limit", m)
				}
				touch(t, file)
				inline(t, <-other)
				noHogs(t, f)
			})
		}
	}
}

// noHogs waits until no process of a test's hogs is left.
func noHogs(t *testing.T, f fixture) {
	t.Helper()
	eventually(t, "no hog is left", func() bool {
		entries, _ := os.ReadDir("/proc")
		for _, entry := range entries {
			environment, _ := os.ReadFile("/proc/" + entry.Name() + "/environ")
			if strings.Contains(string(environment), "HEIMDALL_TEST_ROLE=hog") && strings.Contains(string(environment), f.data) {
				return false
			}
		}
		return true
	})
}

func TestMemoryOfASharedProcess(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t, policy(pluginhost.Shared, pluginhost.Limits{MemoryBytes: hogLimit}))
	status := h.Plugins()[0]
	other := begin(t, h, "other", filepath.Join(t.TempDir(), "never"))
	ended, _ := run(t, h, "good", "a1", "hog")
	for _, e := range []*pluginhost.Ended{ended, <-other} {
		if e.Error == nil || e.Error.Class != job.Lost || e.Stop != nil || !strings.Contains(e.Error.Message, "of memory, and its limit is 250 MiB") {
			t.Errorf("Error = %+v, Stop = %+v, want class lost with the cause: one process over its limit ends them all", e.Error, e.Stop)
		}
	}
	eventually(t, "the plugin is back", func() bool {
		now := h.Plugins()[0]
		return now.State == pluginhost.Active && now.PID != 0 && now.PID != status.PID
	})
	if now := h.Plugins()[0]; len(now.Restarts) != 1 || !strings.Contains(now.Restarts[0].Reason, "its limit is 250 MiB") {
		t.Errorf("Restarts = %+v, want one for the limit", now.Restarts)
	}
}

// A plugin tells the limits of the attempt, which the host has set, from those of
// others.
func TestLimitsThatThePluginHolds(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)
	ended, _ := run(t, h, "good", "a1", "over limit")
	if e := ended.Error; e == nil || e.Class != job.Quota || ended.Stop == nil || ended.Stop.Reason != pluginhost.StopLimit || ended.Stop.Message != e.Message {
		t.Errorf("Error = %+v, Stop = %+v, want class quota, stopped for a limit", ended.Error, ended.Stop)
	}
	ended, _ = run(t, h, "good", "a2", "quota")
	if e := ended.Error; e == nil || e.Class != job.Quota || ended.Stop != nil {
		t.Errorf("Error = %+v, Stop = %+v, want class quota, and that nobody stopped it", ended.Error, ended.Stop)
	}
}

// A limit that the process is over before it can work ends the attempt as well.
func TestMemoryThatIsNotEnoughToStart(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t, perJob)
	r := until("a1", filepath.Join(t.TempDir(), "never"))
	r.Limits.MemoryBytes = 1 << 10
	ended := settle(h.Run(t.Context(), r, newSink()))
	if e := ended.Error; e == nil || e.Class != job.Quota || ended.Stop == nil || !strings.Contains(e.Message, "its limit is 1 KiB") {
		t.Errorf("Error = %+v, Stop = %+v, want class quota", ended.Error, ended.Stop)
	}
}

func TestLimitsThatTheKernelHolds(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	ofPolicy := pluginhost.Limits{OpenFiles: 99, CPUSeconds: 77, CoreBytes: 4096}
	h := f.start(t, policy(pluginhost.PerJob, ofPolicy))
	ofCommand := request("good", "a1", "limits")
	ofCommand.Limits = pluginhost.Limits{OpenFiles: 55}
	for name, test := range map[string]struct {
		request          pluginhost.Request
		files, cpu, core string
	}{
		"of the policy":               {request("good", "a2", "limits"), "99", "77", "4096"},
		"of the command, then policy": {ofCommand, "55", "77", "4096"},
	} {
		t.Run(name, func(t *testing.T) {
			text := inline(t, settle(h.Run(t.Context(), test.request, newSink())))
			own, child, _ := strings.Cut(text, "\n\n")
			for who, limits := range map[string]string{"the process": own, "its child": child} {
				for limit, want := range map[string]string{"Max open files": test.files, "Max cpu time": test.cpu, "Max core file size": test.core} {
					soft, hard := limitOf(limits, limit)
					if soft != want || hard != want {
						t.Errorf("%s of %s = %s, at most %s, want %s", limit, who, soft, hard, want)
					}
				}
			}
		})
	}
	status := h.Plugins()[0]
	if want := (pluginhost.Holding{Memory: pluginhost.Nobody, CPU: pluginhost.Rlimit, OpenFiles: pluginhost.Rlimit, Core: pluginhost.Rlimit}); status.Limits != ofPolicy || status.Held != want {
		t.Errorf("Limits = %+v held by %+v, want %+v by %+v", status.Limits, status.Held, ofPolicy, want)
	}
}

// limitOf returns a limit out of /proc/…/limits.
func limitOf(text, name string) (soft, hard string) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			_, _ = fmt.Sscan(rest, &soft, &hard)
		}
	}
	return soft, hard
}

// Without any rule no core files are written, and nothing else is bounded.
func TestDefaultLimits(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)
	ended, _ := run(t, h, "good", "a1", "limits")
	text := inline(t, ended)
	if soft, _ := limitOf(text, "Max core file size"); soft != "0" {
		t.Errorf("core files of at most %s, want 0", soft)
	}
	if soft, _ := limitOf(text, "Max cpu time"); soft != "unlimited" {
		t.Errorf("processor time of at most %s, want no limit", soft)
	}
	nobody := pluginhost.Holding{Memory: pluginhost.Nobody, CPU: pluginhost.Nobody, OpenFiles: pluginhost.Nobody, Core: pluginhost.Nobody}
	if status := h.Plugins()[0]; status.JobsHeld != nobody {
		t.Errorf("limits of jobs held by %+v, want by nobody: the plugin does not say that it holds any", status.JobsHeld)
	}
}

func TestProcessorTimeOfAJob(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t, perJob)
	r := request("good", "a1", "spin")
	r.Limits.CPUSeconds = 1
	ended := settle(h.Run(t.Context(), r, newSink()))
	if e := ended.Error; e == nil || e.Class != job.Quota || ended.Stop == nil || !strings.Contains(e.Message, "used up its limit of 1s of processor time") {
		t.Errorf("Error = %+v, Stop = %+v, want class quota for the processor time", ended.Error, ended.Stop)
	}
}

// A SIGKILL that comes from nobody here may be that of the kernel.
func TestKillByOthersIsNamed(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)
	done := begin(t, h, "a1", filepath.Join(t.TempDir(), "never"))
	syscall.Kill(h.Plugins()[0].PID, syscall.SIGKILL)
	if e := (<-done).Error; e == nil || e.Class != job.Lost || !strings.Contains(e.Message, "SIGKILL that the host did not send; perhaps the machine was out of memory") {
		t.Errorf("Error = %+v, want class lost with the possible cause", e)
	}
}

// The memory of a process that an earlier life has started keeps its limit.
func TestMemoryAfterATakeover(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	file := filepath.Join(t.TempDir(), "go")
	config := pluginhost.Config{Directory: f.plugins, DataDir: f.data, StartWait: time.Minute}
	perJob(&config)
	h, err := pluginhost.New(config)
	if err != nil {
		t.Fatal(err)
	}
	h.Hurry()
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := until("a1", file)
	r.Input = []byte(strings.Replace(string(r.Input), "until", "until hog", 1))
	r.Limits.MemoryBytes = hogLimit
	ctx, cancel := context.WithCancelCause(t.Context())
	s := newSink()
	done := make(chan *pluginhost.Ended, 1)
	go func() { done <- h.Run(ctx, r, s) }()
	<-s.begun
	cancel(&pluginhost.Stop{Reason: pluginhost.StopDetach})
	<-done
	h.Close()

	next := f.start(t, perJob)
	if got := next.Recall("good", "a1"); got != pluginhost.Known {
		t.Fatalf("Recall = %v, want known", got)
	}
	touch(t, file)
	ended := settle(next.Follow(t.Context(), r, newSink()))
	if e := ended.Error; e == nil || e.Class != job.Quota || !strings.Contains(e.Message, "its limit is 250 MiB") {
		t.Errorf("Error = %+v, want class quota", e)
	}
}
