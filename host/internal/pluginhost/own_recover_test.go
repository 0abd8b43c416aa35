package pluginhost_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// left is what a killed host has left of attempts with processes of their own.
type left struct {
	Shared int            // the process of the build
	Own    map[string]int // by attempt
	file   string         // its appearance ends the attempts
}

// serveOwn is the part of serveHost for attempts a0, a1, … with processes of
// their own, and for one whose process is told nothing.
func serveOwn(h *pluginhost.Host, jobs int) {
	for i := range jobs {
		s := newSink()
		go h.Run(context.Background(), until(fmt.Sprint("a", i), os.Getenv("HEIMDALL_TEST_FILE")), s)
		<-s.begun
	}
	if _, err := h.LaunchOwn("good", "unbegun"); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	status := h.Plugins()[0]
	l := left{Shared: status.PID, Own: map[string]int{}}
	for _, p := range status.Processes {
		l.Own[p.Attempt] = p.PID
	}
	content, _ := json.Marshal(l)
	fmt.Println(string(content))
	h.Serve(context.Background())
}

// killedHostOfJobs runs a host with attempts in processes of their own, and kills
// it.
func killedHostOfJobs(t *testing.T, f fixture, jobs int) left {
	t.Helper()
	l := left{file: filepath.Join(t.TempDir(), "go")}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	earlier := exec.Command(self)
	earlier.Env = append(os.Environ(), "HEIMDALL_TEST_ROLE=host", "HEIMDALL_TEST_PLUGINS="+f.plugins, "HEIMDALL_TEST_DATA="+f.data,
		"HEIMDALL_TEST_FILE="+l.file, fmt.Sprint("HEIMDALL_TEST_JOBS=", jobs))
	out, err := earlier.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := earlier.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if json.Unmarshal(line, &l) != nil {
		t.Fatalf("the earlier host did not start: %s %v", line, err)
	}
	earlier.Process.Kill()
	earlier.Wait()
	endLater(t, append(slices.Collect(maps.Values(l.Own)), l.Shared)...)
	if len(l.Own) != jobs+1 {
		t.Fatalf("the earlier host left %+v, want %d processes and one that has nothing to do", l, jobs)
	}
	return l
}

func TestProcessesOfJobsAreTakenOver(t *testing.T) {
	const jobs = 12
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_VERSION=1.2.3")
	l := killedHostOfJobs(t, f, jobs)
	syscall.Kill(l.Own["a3"], syscall.SIGKILL)
	eventually(t, "the process of a3 is dead", func() bool { return !alive(l.Own["a3"]) })

	h := f.start(t, perJob)
	eventually(t, "the process that had nothing to do is gone", func() bool { return !alive(l.Own["unbegun"]) })
	status := h.Plugins()[0]
	if status.PID != l.Shared {
		t.Errorf("PID = %d, want %d: the process of the build is none of a job", status.PID, l.Shared)
	}
	if got := len(status.Processes); got != jobs-1 {
		t.Errorf("%d processes of jobs are taken over, want %d: %+v", got, jobs-1, status.Processes)
	}
	for attempt, want := range map[string]pluginhost.Fate{
		"a3":      pluginhost.Unknown, // it died on its own
		"unbegun": pluginhost.Unbegun,
		"other":   pluginhost.Unbegun, // that a3 died says nothing of others
	} {
		if got := h.Recall("good", attempt); got != want {
			t.Errorf("Recall(%s) = %v, want %v", attempt, got, want)
		}
	}
	var ended, begun sync.WaitGroup
	for i := range jobs {
		id := fmt.Sprint("a", i)
		if i == 3 || i == 5 { // the host does not know a5 any more
			continue
		}
		if got := h.Recall("good", id); got != pluginhost.Known {
			t.Errorf("Recall(%s) = %v, want known", id, got)
			continue
		}
		s := newSink()
		begun.Add(1)
		ended.Go(func() {
			go func() { <-s.begun; begun.Done() }()
			end := settle(h.Follow(context.Background(), until(id, l.file), s))
			if end.Error != nil || string(end.Result.Inline) != "1.2.3 was there until the end" {
				t.Errorf("%s ended with %+v, %v", id, end.Result, end.Error)
			}
		})
	}
	h.Disown()
	begun.Wait()
	touch(t, l.file)
	ended.Wait()
	eventually(t, "no process of a job is left", func() bool {
		for _, pid := range l.Own {
			if alive(pid) {
				return false
			}
		}
		return len(h.Plugins()[0].Processes) == 0
	})
	fresh, _ := run(t, h, "good", "b1", "version")
	inline(t, fresh)
}

// Processes of a build that was removed while no host ran go on until their jobs
// have ended, and nothing else of that build is started.
func TestProcessesOfJobsOfARemovedBuild(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_VERSION=1.0.0")
	l := killedHostOfJobs(t, f, 1)
	syscall.Kill(l.Shared, syscall.SIGKILL)
	if err := os.Remove(filepath.Join(f.plugins, "heimdall-plugin-good")); err != nil {
		t.Fatal(err)
	}

	h := f.start(t)
	if got := h.Recall("good", "a0"); got != pluginhost.Known {
		t.Fatalf("Recall = %v, want known", got)
	}
	done := make(chan *pluginhost.Ended, 1)
	go func() { done <- settle(h.Follow(context.Background(), until("a0", l.file), newSink())) }()
	var old pluginhost.Status
	eventually(t, "the attempt is followed", func() bool {
		for _, s := range h.Plugins() {
			if s.Version == "1.0.0" {
				old = s
			}
		}
		return old.Running == 1
	})
	if old.PID != 0 || old.State != pluginhost.Draining || old.Isolation != pluginhost.PerJob {
		t.Errorf("Status = %+v, want a build that drains without a process beside that of its job", old)
	}
	if err := h.Available("good", ""); err == nil {
		t.Error("a plugin that was removed takes new attempts")
	}
	touch(t, l.file)
	if got := inline(t, <-done); got != "1.0.0 was there until the end" {
		t.Errorf("result = %q", got)
	}
	eventually(t, "the old build is gone", func() bool { return len(h.Plugins()) == 0 })
}

// A configuration that a plugin cannot work under is said, and ends no job that
// ran before it.
func TestJobsGoOnUnderAChangedPolicy(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, good, "HEIMDALL_TEST_ISOLATION=PER_JOB", "HEIMDALL_TEST_VERSION=1.0.0")
	l := killedHostOfJobs(t, f, 2)
	h := f.start(t, func(c *pluginhost.Config) {
		c.Policies = map[string]pluginhost.Policy{"good": {Isolation: pluginhost.Shared}}
	})
	for _, id := range []string{"a0", "a1"} {
		if got := h.Recall("good", id); got != pluginhost.Known {
			t.Errorf("Recall(%s) = %v, want known", id, got)
		}
	}
	if got := h.Recall("good", "a9"); got != pluginhost.Unbegun {
		t.Errorf("Recall(a9) = %v, want unbegun: nothing was lost", got)
	}
	if err := h.Available("good", ""); err == nil || !strings.Contains(err.Error(), "must have a process for each job") {
		t.Errorf("Available = %v, want what is wrong with the policy", err)
	}
	touch(t, l.file)
	for _, id := range []string{"a0", "a1"} {
		if got := inline(t, settle(h.Follow(t.Context(), until(id, l.file), newSink()))); got != "1.0.0 was there until the end" {
			t.Errorf("result of %s = %q", id, got)
		}
	}
}

// A host that stops leaves the attempts that it is told to leave with their
// processes, and ends the one of their build.
func TestDetachOfJobsWithProcesses(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_VERSION=1.0.0")
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
	ctx, cancel := context.WithCancelCause(t.Context())
	s := newSink()
	done := make(chan *pluginhost.Ended, 1)
	go func() { done <- h.Run(ctx, until("a1", file), s) }()
	<-s.begun
	status := h.Plugins()[0]
	pid := status.Processes[0].PID
	endLater(t, pid)
	cancel(&pluginhost.Stop{Reason: pluginhost.StopDetach})
	if ended := <-done; !ended.Left || ended.Error != nil {
		t.Errorf("Ended = %+v, want it left", ended)
	}
	h.Close()
	if !alive(pid) || alive(status.PID) {
		t.Fatalf("alive: %v for the process of the job, %v for that of its build; want only the first", alive(pid), alive(status.PID))
	}

	next := f.start(t, perJob)
	if got := next.Recall("good", "a1"); got != pluginhost.Known {
		t.Fatalf("Recall = %v, want known", got)
	}
	if got := next.Recall("good", "a2"); got != pluginhost.Unbegun {
		t.Errorf("Recall = %v, want unbegun: nothing was lost", got)
	}
	touch(t, file)
	if got := inline(t, settle(next.Follow(t.Context(), until("a1", file), newSink()))); got != "1.0.0 was there until the end" {
		t.Errorf("result = %q", got)
	}
}

// The end of an attempt that is not durable keeps its process, which knows it;
// when that dies as well, its record keeps the doubt.
func TestProcessOfAJobStaysUntilItsEndIsDurable(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t, perJob)
	ended := h.Run(t.Context(), request("good", "a1", "hello"), newSink())
	inline(t, ended)
	if got := h.Plugins()[0].Processes; len(got) != 1 || !alive(got[0].PID) {
		t.Fatalf("Processes = %+v before the end is durable, want the one that knows it", got)
	}
	ended.Ack()
	eventually(t, "the process has ended", func() bool { return len(h.Plugins()[0].Processes) == 0 })

	dead := h.Run(t.Context(), request("good", "a2", "kill"), newSink())
	if dead.Error == nil || dead.Error.Class != job.Lost {
		t.Fatalf("Error = %+v, want lost", dead.Error)
	}
	folders := func() int {
		entries, _ := os.ReadDir(filepath.Join(f.data, "run"))
		return len(entries)
	}
	if got := folders(); got != 2 {
		t.Errorf("%d records of processes, want that of the dead one beside that of the build", got)
	}
	dead.Ack()
	eventually(t, "the record of the dead one is gone", func() bool { return folders() == 1 })
}
