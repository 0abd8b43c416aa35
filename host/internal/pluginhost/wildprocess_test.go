package pluginhost_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// wildRequest is a request whose input says more than what to do.
func wildRequest(id, do string, more map[string]any) pluginhost.Request {
	r := request("good", id, "")
	input := map[string]any{"do": do}
	for key, value := range more {
		input[key] = value
	}
	r.Input, _ = json.Marshal(input)
	return r
}

// A plugin that writes faster than anybody reads, and never ends a line, fills
// neither memory nor disk, and is not held up.
func TestALogFloodIsBounded(t *testing.T) {
	const size = 512 << 20
	for name, fd := range map[string]int{"stdout": 1, "stderr": 2} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			writePlugin(t, f.plugins, good)
			h := f.start(t)
			memory := watchMemory(t)
			done := make(chan *pluginhost.Ended, 1)
			begun := time.Now()
			go func() {
				done <- settle(h.Run(t.Context(), wildRequest("a1", "log flood", map[string]any{"fd": fd, "bytes": size}), newSink()))
			}()
			var ended *pluginhost.Ended
			var largest int64
			for tick := time.NewTicker(2 * time.Millisecond); ended == nil; {
				select {
				case ended = <-done:
					tick.Stop()
				case <-tick.C:
					largest = max(largest, allocated(t, filepath.Join(f.data, "run", "*", name)))
				}
			}
			took := time.Since(begun)
			inline(t, ended)
			memory(32 << 20)
			// It may hold what is left after a look, and what was written until the next.
			rate := float64(size) / took.Seconds()
			if most := int64(16<<20 + rate/2); largest > most {
				t.Errorf("the file had %d MiB at %.0f MiB/s, want at most %d", largest>>20, rate/(1<<20), most>>20)
			}
			t.Logf("%s: %.0f MiB/s, the file had at most %d MiB", name, rate/(1<<20), largest>>20)
		})
	}
}

// allocated returns how much space files have on the disk.
func allocated(t *testing.T, pattern string) (bytes int64) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		var stat syscall.Stat_t
		if syscall.Stat(file, &stat) == nil {
			bytes += stat.Blocks * 512
		}
	}
	return bytes
}

// A job that writes without end is ended, also when it does not heed that, and
// its log holds what came first.
func TestAJobThatWritesWithoutEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	r := wildRequest("a1", "spill", nil)
	r.Folders.Logs = filepath.Join(t.TempDir(), "logs")
	r.Limits.LogCap = 8 << 20
	begun := time.Now()
	ended := settle(h.Run(t.Context(), r, newSink()))
	took := time.Since(begun)
	if e := ended.Error; e == nil || e.Class != job.Quota || !strings.HasPrefix(e.Message, "the job wrote more than 8388608 bytes to stdout") {
		t.Errorf("Error = %+v, want class quota and how much it wrote", e)
	}
	if ended.Stop == nil || ended.Stop.Reason != pluginhost.StopLimit {
		t.Errorf("Stop = %+v, want that of a limit", ended.Stop)
	}
	info, err := os.Stat(filepath.Join(r.Folders.Logs, "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	// Between its last look and its end it can have written on.
	if info.Size() < 8<<20 || info.Size() > 512<<20 {
		t.Errorf("the log has %d MiB after %v, want about 8", info.Size()>>20, took)
	}
	ended, _ = run(t, h, "good", "a2", "hello")
	inline(t, ended)
}

// A log that is no file of the job's own is not touched.
func TestALogThatIsALinkIsNotCut(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	folder := t.TempDir()
	other := filepath.Join(folder, "other")
	for name, link := range map[string]func(old, new string) error{"symbolic": os.Symlink, "hard": os.Link} {
		if err := os.WriteFile(other, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		r := wildRequest(name, "until", map[string]any{"path": filepath.Join(folder, name+" go")})
		r.Folders.Logs = filepath.Join(folder, name)
		r.Limits.LogCap = 1 << 10
		if err := os.Mkdir(r.Folders.Logs, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := link(other, filepath.Join(r.Folders.Logs, "stdout")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, &pluginhost.Stop{Reason: pluginhost.StopUser})
		settle(h.Run(ctx, r, newSink()))
		cancel()
		if info, err := os.Stat(other); err != nil || info.Size() != 1<<20 {
			t.Errorf("%s link: the other file has %v bytes (%v), want it as it was", name, info.Size(), err)
		}
	}
}

// A process that lives but can no longer be reached is replaced, and attempts
// wait for the next one.
func TestAPluginThatClosesItsSocket(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	pid := h.Plugins()[0].PID
	done := make(chan *pluginhost.Ended, 1)
	go func() { done <- settle(h.Run(t.Context(), request("good", "a1", "socket closed"), newSink())) }()
	stop, renewing := make(chan struct{}), sync.WaitGroup{}
	renewing.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				h.Renew(1, time.Minute)
			}
		}
	})
	if e := (<-done).Error; e == nil || e.Class != job.Lost || !strings.Contains(e.Message, "plugin good") {
		t.Errorf("Error = %+v, want class lost", e)
	}
	ended, _ := run(t, h, "good", "a2", "hello") // waits
	inline(t, ended)
	close(stop)
	renewing.Wait()
	status := h.Plugins()[0]
	if status.PID == pid || len(status.Restarts) != 1 || !strings.Contains(status.Restarts[0].Reason, "did not answer") {
		t.Errorf("Plugins = %+v, want a new process, because the old one did not answer", status)
	}
	if alive(pid) {
		t.Errorf("process %d still runs", pid)
	}
}

// The file of a socket is needed once only.
func TestAPluginWhoseSocketIsRemoved(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	pid := h.Plugins()[0].PID
	ended, _ := run(t, h, "good", "a1", "socket unlinked")
	if got := inline(t, ended); got != "removed 1" {
		t.Errorf("result = %q, want that one socket was removed", got)
	}
	ended, _ = run(t, h, "good", "a2", "hello")
	inline(t, ended)
	if got := h.Plugins()[0].PID; got != pid {
		t.Errorf("PID = %d, want %d", got, pid)
	}
}

// A plugin that exits in the middle of a job has not done the job, however well
// it says that it went.
func TestAPluginThatExitsWellMidJob(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	ended, _ := run(t, h, "good", "a1", "gone well")
	if e := ended.Error; e == nil || e.Class != job.Lost || e.RetrySafe || e.Message != "plugin good ended by itself" {
		t.Errorf("Error = %+v, want class lost because the plugin ended by itself", e)
	}
	ended, _ = run(t, h, "good", "a2", "hello")
	inline(t, ended)
}

// A plugin that stops itself is ended when its job is canceled.
func TestAPluginThatFreezesItself(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	s := newSink()
	done := make(chan *pluginhost.Ended, 1)
	go func() { done <- settle(h.Run(ctx, request("good", "a1", "frozen"), s)) }()
	<-s.begun
	cancel(&pluginhost.Stop{Reason: pluginhost.StopUser, Message: "by ann", Grace: 10 * time.Millisecond})
	if e := (<-done).Error; e == nil || e.Class != job.WasCanceled || !strings.Contains(e.Message, "its process was killed") {
		t.Errorf("Error = %+v, want that the process was killed", e)
	}
	ended, _ := run(t, h, "good", "a2", "hello")
	inline(t, ended)
}

// What a plugin describes may be wrong in many ways; none of them takes the host
// long or its memory.
func TestWildDescriptions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, how := range []string{"huge", "hangs", "no", "changes"} {
		writePlugin(t, f.plugins, "heimdall-plugin-"+how, "HEIMDALL_TEST_DESCRIBE="+how)
	}
	h := f.start(t, func(c *pluginhost.Config) { c.StartTimeout = 3 * time.Second })
	want := map[string]struct {
		state pluginhost.State
		error string
	}{
		"huge":    {pluginhost.Failed, "plugin huge describes itself at too great a length"},
		"hangs":   {pluginhost.Backoff, "did not describe itself before its time to start was over"},
		"no":      {pluginhost.Backoff, "did not describe itself: not today"},
		"changes": {pluginhost.Active, ""},
	}
	for _, got := range h.Plugins() {
		if want := want[got.Name]; got.State != want.state && got.State != pluginhost.Starting || !strings.Contains(got.Error, want.error) {
			t.Errorf("%s: %s %q, want %s and %q", got.Name, got.State, got.Error, want.state, want.error)
		}
	}
	first := h.Plugins()[0]
	if first.Name != "changes" {
		t.Fatalf("the first plugin is %s", first.Name)
	}
	ended, _ := run(t, h, "changes", "a1", "kill")
	if ended.Error == nil {
		t.Fatal("Error = nil, want a crash")
	}
	ended, _ = run(t, h, "changes", "a2", "hello")
	inline(t, ended)
	if again := h.Plugins()[0].Description; again == nil || again.Docs == first.Description.Docs {
		t.Errorf("Description = %+v, want that of the process that runs", again)
	}
}

// Two files of one version: the one that was changed last serves. One that is
// broken takes nothing from the other.
func TestFilesThatClaimTheSame(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-x", "HEIMDALL_TEST_VERSION=1.0.0", "HEIMDALL_TEST_DESCRIBE=changes")
	writePlugin(t, f.plugins, "heimdall-plugin-x_v1.0.0", "HEIMDALL_TEST_VERSION=1.0.0")
	if err := os.WriteFile(filepath.Join(f.plugins, "heimdall-plugin-x_v2.0.0"), []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(f.plugins, "heimdall-plugin-x"), old, old); err != nil {
		t.Fatal(err)
	}
	h := f.start(t)
	builds := map[string]string{} // path by digest
	for _, s := range h.Plugins() {
		builds[s.Digest] = filepath.Base(s.Path)
		if filepath.Base(s.Path) != "heimdall-plugin-x_v2.0.0" && s.Error != "" {
			t.Errorf("%s: Error = %q, want none", s.Path, s.Error)
		}
	}
	if len(builds) != 3 {
		t.Fatalf("Plugins = %+v, want three", h.Plugins())
	}
	ended, _ := run(t, h, "x", "a1", "hello")
	inline(t, ended)
	if got := builds[ended.Build]; got != "heimdall-plugin-x_v1.0.0" {
		t.Errorf("ran on %s, want the file that was changed last", got)
	}
	if err := os.Chtimes(filepath.Join(f.plugins, "heimdall-plugin-x"), time.Time{}, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other file serves", func() bool {
		ended, _ := run(t, h, "x", fmt.Sprint("b", time.Now().UnixNano()), "hello")
		inline(t, ended)
		return builds[ended.Build] == "heimdall-plugin-x"
	})
	eventually(t, "it is told why the third is not there", func() bool { // or that it is just started once more
		err := h.Available("x", "^2.0")
		return err != nil && strings.Contains(err.Error(), "exit status 3")
	})
}

// A plugin that names the socket of somebody else is not talked to.
func TestAPluginThatNamesTheSocketOfAnother(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	path := filepath.Join(filepath.Dir(f.plugins), "s")
	socket, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	script := "#!/bin/sh\necho '1|1|unix|" + path + "|grpc'\nexec sleep 60\n"
	if err := os.WriteFile(filepath.Join(f.plugins, good), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	h := f.start(t, func(c *pluginhost.Config) { c.StartTimeout = 2 * time.Second })
	if got := h.Plugins()[0]; !strings.Contains(got.Error, "the plugin's socket is served by process") {
		t.Errorf("Error = %q, want that it is served by another process", got.Error)
	}
}

// A plugin that heeds nothing and forks out of its session leaves nothing behind.
func TestNothingOutlivesAPluginThatHidesItsChildren(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, h *pluginhost.Host, pid int, cancel context.CancelCauseFunc){
		"when its job is canceled": func(_ *testing.T, _ *pluginhost.Host, _ int, cancel context.CancelCauseFunc) {
			cancel(&pluginhost.Stop{Reason: pluginhost.StopUser, Message: "by ann", Grace: 10 * time.Millisecond})
		},
		"when it crashes": func(t *testing.T, _ *pluginhost.Host, pid int, _ context.CancelCauseFunc) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.change = (*pluginhost.Host).WithoutGroups // which would make it easy
			writePlugin(t, f.plugins, good)
			h := f.start(t)
			pids := filepath.Join(t.TempDir(), "pids")
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			s := newSink()
			done := make(chan *pluginhost.Ended, 1)
			go func() {
				done <- settle(h.Run(ctx, wildRequest("a1", "immortal", map[string]any{"pids": pids}), s))
			}()
			<-s.begun
			before := h.Plugins()[0].PID
			end(t, h, before, cancel)
			if e := (<-done).Error; e == nil {
				t.Error("Error = nil, want one")
			}
			ended, _ := run(t, h, "good", "a2", "hello")
			inline(t, ended)
			content, err := os.ReadFile(pids)
			if err != nil {
				t.Fatal(err)
			}
			for _, field := range append(strings.Fields(string(content)), fmt.Sprint(before)) {
				var pid int
				if _, err := fmt.Sscan(field, &pid); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) }) // where the host did not
				eventually(t, "process "+field+" has gone", func() bool { return !alive(pid) })
			}
		})
	}
}

// A living plugin of before that lists what it never ran, or not what it runs,
// neither keeps the host from working nor itself from being ended.
func TestAPluginThatListsWhatIsNotSo(t *testing.T) {
	t.Parallel()
	t.Run("more", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		writePlugin(t, f.plugins, good, "HEIMDALL_TEST_LIST=lies")
		pid, file := killedHost(t, f)
		h := f.start(t)
		if got := h.Recall("good", "a1"); got != pluginhost.Known {
			t.Fatalf("Recall(a1) = %v, want known", got)
		}
		if got := h.Recall("good", "lie"); got != pluginhost.Known {
			t.Fatalf("Recall(lie) = %v, want known: the process says so", got)
		}
		h.Disown()
		r := request("good", "lie", "")
		ended := settle(h.Follow(t.Context(), r, newSink()))
		if e := ended.Error; e == nil || e.RetrySafe || !strings.Contains(e.Message, "no such attempt") {
			t.Errorf("Error = %+v, want that the plugin knows of none", e)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		inline(t, settle(h.Follow(t.Context(), until("a1", file), newSink())))
		if err := os.Remove(filepath.Join(f.plugins, good)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the removed plugin has ended: nothing is owed to it", func() bool { return !alive(pid) })
	})
	t.Run("less", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		writePlugin(t, f.plugins, good, "HEIMDALL_TEST_LIST=omits")
		pid, _ := killedHost(t, f)
		h := f.start(t)
		if got := h.Recall("good", "a1"); got != pluginhost.Unbegun {
			t.Fatalf("Recall(a1) = %v, want unbegun: the only process does not know it", got)
		}
		ended, _ := run(t, h, "good", "a2", "hello")
		inline(t, ended)
		if got := h.Plugins()[0].PID; got != pid {
			t.Errorf("PID = %d, want %d", got, pid)
		}
	})
}
