package pluginhost_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// serveHost is a host in a process of its own, to be killed. It runs one attempt
// that ends when a file appears, and prints the number of its plugin's process.
func serveHost() {
	config := pluginhost.Config{Directory: os.Getenv("HEIMDALL_TEST_PLUGINS"), DataDir: os.Getenv("HEIMDALL_TEST_DATA"), StartWait: time.Minute}
	jobs, _ := strconv.Atoi(os.Getenv("HEIMDALL_TEST_JOBS"))
	if jobs > 0 {
		perJob(&config)
	}
	h, err := pluginhost.New(config)
	if err == nil {
		err = h.Start(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if jobs > 0 {
		serveOwn(h, jobs)
		return
	}
	begun := newSink()
	go h.Run(context.Background(), until("a1", os.Getenv("HEIMDALL_TEST_FILE")), begun)
	<-begun.begun
	fmt.Println(h.Plugins()[0].PID)
	h.Serve(context.Background())
}

func until(id, path string) pluginhost.Request {
	r := request("good", id, "")
	r.Input, _ = json.Marshal(map[string]string{"do": "until", "path": path})
	return r
}

// killedHost runs a host with one attempt, kills it, and returns the number of
// the plugin process that it has left, and the file that ends the attempt.
func killedHost(t *testing.T, f fixture) (pid int, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "go")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	earlier := exec.Command(self)
	earlier.Env = append(os.Environ(), "HEIMDALL_TEST_ROLE=host", "HEIMDALL_TEST_PLUGINS="+f.plugins, "HEIMDALL_TEST_DATA="+f.data, "HEIMDALL_TEST_FILE="+file)
	out, err := earlier.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := earlier.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if n, _ := fmt.Sscan(line, &pid); n != 1 {
		t.Fatalf("the earlier host did not start: %s %v", line, err)
	}
	earlier.Process.Kill()
	earlier.Wait()
	endLater(t, pid)
	if !alive(pid) {
		t.Fatalf("process %d has died with its host", pid)
	}
	return pid, file
}

// endLater ends processes that a test has left, in the end, and their groups.
func endLater(t *testing.T, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		group := groupFolder(t, pid)
		t.Cleanup(func() {
			syscall.Kill(pid, syscall.SIGKILL)
			if !strings.Contains(group, "/heimdall-") {
				return
			}
			eventually(t, "the group of the process can go", func() bool {
				err := syscall.Rmdir(group)
				return err == nil || errors.Is(err, fs.ErrNotExist)
			})
			syscall.Rmdir(filepath.Dir(group))
		})
	}
}

func TestAttemptsOfAnEarlierLifeAreFollowed(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_VERSION=1.2.3")
	pid, file := killedHost(t, f)

	h := f.start(t)
	if got := h.Plugins()[0].PID; got != pid {
		t.Errorf("PID = %d, want %d: the process goes on", got, pid)
	}
	if got := h.Recall("good", "a1"); got != pluginhost.Known {
		t.Errorf("Recall(a1) = %v, want known", got)
	}
	if got := h.Recall("good", "a2"); got != pluginhost.Unbegun {
		t.Errorf("Recall(a2) = %v, want unbegun: every process of before lives, and none knows it", got)
	}
	s := newSink()
	done := make(chan *pluginhost.Ended, 1)
	go func() { done <- settle(h.Follow(t.Context(), until("a1", file), s)) }()
	<-s.begun // what was reported before is reported again
	h.Disown()
	if ended, _ := run(t, h, "good", "a3", "version"); inline(t, ended) != "1.2.3" {
		t.Error("the process takes no new attempts")
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := inline(t, <-done); got != "1.2.3 was there until the end" {
		t.Errorf("result = %q", got)
	}
	if ended := h.Follow(t.Context(), until("a1", file), newSink()); ended.Error == nil {
		t.Error("an attempt was followed twice")
	}
}

// A plugin that can run only so many is not sent more because the host has begun
// another life.
func TestFollowedAttemptsTakeTheirSlots(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, good, "HEIMDALL_TEST_LIMIT=1")
	_, file := killedHost(t, f)
	h := f.start(t)
	if got := h.Recall("good", "a1"); got != pluginhost.Known {
		t.Fatalf("Recall = %v, want known", got)
	}
	s := newSink()
	followed := make(chan *pluginhost.Ended, 1)
	go func() { followed <- settle(h.Follow(t.Context(), until("a1", file), s)) }()
	<-s.begun
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, &pluginhost.Stop{Reason: pluginhost.StopUser, Message: "enough"})
	defer cancel()
	if ended := settle(h.Run(ctx, request("good", "a2", "hello"), newSink())); ended.Error == nil || ended.Error.Message != "enough" {
		t.Errorf("Ended = %+v (%v) beside the attempt that is followed, want it to wait for its turn", ended, ended.Error)
	}
	touch(t, file)
	inline(t, <-followed)
	ended, _ := run(t, h, "good", "a3", "hello")
	inline(t, ended)
}

func TestAttemptsOfADeadProcessAreUnknown(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	pid, _ := killedHost(t, f)
	syscall.Kill(pid, syscall.SIGKILL)
	eventually(t, "the process is dead", func() bool { return !alive(pid) })

	h := f.start(t)
	for _, id := range []string{"a1", "a2"} {
		if got := h.Recall("good", id); got != pluginhost.Unknown {
			t.Errorf("Recall(%s) = %v, want unknown", id, got)
		}
	}
	ended, _ := run(t, h, "good", "a3", "hello")
	inline(t, ended)
}

// Attempts stay unknown for each life of the host until that is recorded: one may
// end before it has asked, or before it could record what it was told.
func TestAttemptsOfADeadProcessStayUnknown(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	pid, _ := killedHost(t, f)
	syscall.Kill(pid, syscall.SIGKILL)
	eventually(t, "the process is dead", func() bool { return !alive(pid) })

	for _, life := range []struct {
		name string
		do   func(h *pluginhost.Host)
		want pluginhost.Fate
	}{
		{"ends before it disowns", func(*pluginhost.Host) {}, pluginhost.Unknown},
		{"ends before it has recorded", func(h *pluginhost.Host) { h.Disown() }, pluginhost.Unknown},
		{"has recorded before it disowns", func(h *pluginhost.Host) { h.Settle("a1"); h.Disown() }, pluginhost.Unknown},
		{"has nothing to record", func(h *pluginhost.Host) { h.Disown() }, pluginhost.Unbegun},
	} {
		h := f.start(t)
		if got := h.Recall("good", "a1"); got != life.want {
			t.Errorf("Recall in a life that %s = %v, want %v", life.name, got, life.want)
		}
		life.do(h)
		h.Close()
	}
}

// The loss of one plugin's process says nothing of jobs on another that never
// began: they wait again. Where it is not known which plugin a job was on, any
// loss counts.
func TestAttemptsOfOtherPluginsAreNotLost(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	pid, _ := killedHost(t, f)
	syscall.Kill(pid, syscall.SIGKILL)
	eventually(t, "the process is dead", func() bool { return !alive(pid) })

	h := f.start(t)
	for plugin, want := range map[string]pluginhost.Fate{"good": pluginhost.Unknown, "other": pluginhost.Unbegun, "": pluginhost.Unknown} {
		if got := h.Recall(plugin, "a9"); got != want {
			t.Errorf("Recall(%q, a9) = %v, want %v", plugin, got, want)
		}
	}
}

// A process that its host could not even finish to start had no job, so none is
// lost for it; what there is of it is ended.
func TestUnfinishedStartsLoseNoJobs(t *testing.T) {
	for name, socket := range map[string]any{"executed, not recorded": nil, "no handshake yet": ""} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.change = func(h *pluginhost.Host) { h.WithoutGroups() }
			writePlugin(t, f.plugins, good)
			pid, _ := killedHost(t, f)
			leaveGroup(t, pid)
			changeRecord(t, f, func(r map[string]any) {
				r["socket"] = ""
				if socket == nil {
					r["pid"], r["start_time"] = 0, 0
				}
			})
			h := f.start(t)
			if got := h.Recall("good", "a9"); got != pluginhost.Unbegun {
				t.Errorf("Recall = %v, want unbegun", got)
			}
			eventually(t, "the process is gone", func() bool { return !alive(pid) })
		})
	}
	t.Run("nothing but a folder", func(t *testing.T) {
		f := newFixture(t)
		writePlugin(t, f.plugins, good)
		if err := os.MkdirAll(filepath.Join(f.data, "run", "deadbeef"), 0o700); err != nil {
			t.Fatal(err)
		}
		if got := f.start(t).Recall("good", "a9"); got != pluginhost.Unbegun {
			t.Errorf("Recall = %v, want unbegun", got)
		}
	})
}

// What the host does not know any more is ended, and the process works on.
func TestStrayAttemptsAreDisowned(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	pid, file := killedHost(t, f)
	h := f.start(t)
	h.Disown()
	if err := os.WriteFile(file, nil, 0o600); err != nil { // this fake does not heed a cancel
		t.Fatal(err)
	}
	eventually(t, "the plugin has forgotten the attempt", func() bool {
		ended, _ := run(t, h, "good", fmt.Sprint("s", time.Now().UnixNano()), "state")
		return !strings.Contains(inline(t, ended), "a1")
	})
	if got := h.Plugins()[0].PID; got != pid {
		t.Errorf("PID = %d, want %d", got, pid)
	}
}

// A build that was replaced while no host ran goes on until its attempts have
// ended, beside its successor.
func TestAReplacedBuildFinishesItsAttempts(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_VERSION=1.0.0")
	pid, file := killedHost(t, f)
	writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_VERSION=2.0.0")

	h := f.start(t)
	if got := h.Recall("good", "a1"); got != pluginhost.Known {
		t.Fatalf("Recall = %v, want known", got)
	}
	done := make(chan *pluginhost.Ended, 1)
	go func() { done <- settle(h.Follow(t.Context(), until("a1", file), newSink())) }()
	eventually(t, "the new build serves", func() bool {
		ended, _ := run(t, h, "good", fmt.Sprint("v", time.Now().UnixNano()), "version")
		return inline(t, ended) == "2.0.0"
	})
	if !alive(pid) {
		t.Error("the old build was stopped while it had an attempt")
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := inline(t, <-done); got != "1.0.0 was there until the end" {
		t.Errorf("result = %q", got)
	}
	eventually(t, "the old build is gone", func() bool { return !alive(pid) })
}

// A host that stops leaves the attempts that it is told to leave, and the next
// one goes on with them.
func TestDetach(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_VERSION=1.0.0")
	file := filepath.Join(t.TempDir(), "go")
	h, err := pluginhost.New(pluginhost.Config{Directory: f.plugins, DataDir: f.data, StartWait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	h.Hurry()
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- h.Serve(serving) }()
	pid := h.Plugins()[0].PID
	endLater(t, pid)
	ctx, cancel := context.WithCancelCause(t.Context())
	s := newSink()
	done := make(chan *pluginhost.Ended, 1)
	go func() { done <- h.Run(ctx, until("a1", file), s) }()
	<-s.begun
	cancel(&pluginhost.Stop{Reason: pluginhost.StopDetach})
	if ended := <-done; !ended.Left || ended.Error != nil {
		t.Errorf("Ended = %+v, want it left", ended)
	}
	stop()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if !alive(pid) {
		t.Fatal("the process was stopped")
	}

	next := f.start(t)
	if got := next.Recall("good", "a1"); got != pluginhost.Known {
		t.Fatalf("Recall = %v, want known", got)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := inline(t, settle(next.Follow(t.Context(), until("a1", file), newSink()))); got != "1.0.0 was there until the end" {
		t.Errorf("result = %q", got)
	}
}
