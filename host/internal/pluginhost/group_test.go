package pluginhost_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// Which control groups can be made depends on the machine. This test says which,
// and holds the host to it.
func TestControlGroupsOfThisMachine(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good", "HEIMDALL_TEST_ISOLATION=PER_JOB")
	h, stop := f.startStoppable(t, func(c *pluginhost.Config) {
		c.Policies = map[string]pluginhost.Policy{"good": {Limits: pluginhost.Limits{MemoryBytes: 1 << 30}}}
	})
	file := filepath.Join(t.TempDir(), "go")
	done := begin(t, h, "a1", file)
	status := h.Plugins()[0]
	pid := status.Processes[0].PID
	folder, memory := h.Groups()
	t.Logf("groups in %q, which bound memory: %v", folder, memory)

	switch group := groupOf(t, pid); {
	case folder == "":
		if own := groupOf(t, os.Getpid()); group != own {
			t.Errorf("the process is in group %s, want that of the host, %s", group, own)
		}
	case filepath.Base(filepath.Dir(group)) != filepath.Base(folder):
		t.Errorf("the process is in group %s, want one of its own in %s", group, folder)
	default:
		procs, err := os.ReadFile(filepath.Join(folder, filepath.Base(group), "cgroup.procs"))
		if err != nil || strings.TrimSpace(string(procs)) != strconv.Itoa(pid) {
			t.Errorf("the group holds %q, %v, want process %d alone", procs, err, pid)
		}
	}
	want := pluginhost.Sampled
	if memory {
		want = pluginhost.Cgroup
		if got := readGroup(t, folder, pid, "memory.max"); got != strconv.Itoa(1<<30) {
			t.Errorf("memory.max = %s, want that of the policy", got)
		}
	}
	if status.Held.Memory != want || status.JobsHeld.Memory != want {
		t.Errorf("memory is held by %s, of jobs by %s, want %s", status.Held.Memory, status.JobsHeld.Memory, want)
	}
	touch(t, file)
	inline(t, <-done)
	stop()
	if _, err := os.Stat(folder); folder != "" && err == nil {
		t.Errorf("%s is left", folder)
	}
}

func groupOf(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path
		}
	}
	return ""
}

// groupFolder returns the folder of the group of a process; "" when there are no
// groups here.
func groupFolder(t *testing.T, pid int) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		before, after, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(before); strings.HasPrefix(after, "cgroup2 ") {
			below, _ := filepath.Rel(fields[3], groupOf(t, pid))
			return filepath.Join(fields[4], below)
		}
	}
	return ""
}

// leaveGroup puts a process back into the group of this one.
func leaveGroup(t *testing.T, pid int) {
	t.Helper()
	own, group := groupFolder(t, os.Getpid()), groupFolder(t, pid)
	if own == group {
		return
	}
	if err := os.WriteFile(filepath.Join(own, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
		t.Fatal(err)
	}
}

func readGroup(t *testing.T, folder string, pid int, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, filepath.Base(groupOf(t, pid)), file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// What a plugin leaves running when it ends, or is killed, ends with it where
// there are groups, whatever it did to get away.
func TestNothingOutlivesItsGroup(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t, perJob)
	folder, _ := h.Groups()
	if folder == "" {
		t.Log("this machine gives no control groups: processes that leave their session stay")
		return
	}
	for _, how := range []string{"daemon", "daemon and die"} {
		pidFile := filepath.Join(t.TempDir(), "pid")
		r := until(how, pidFile)
		r.Input = []byte(strings.Replace(string(r.Input), "until", how, 1))
		settle(h.Run(t.Context(), r, newSink()))
		var pid int
		eventually(t, "the daemon has run", func() bool {
			text, _ := os.ReadFile(pidFile)
			pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
			return pid > 1
		})
		eventually(t, "the daemon is gone", func() bool { return !alive(pid) })
	}
}

// Groups that a killed host has left go with the next one, and those who still
// run there as well, unless they are taken over.
func TestGroupsOfAnEarlierLife(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	l := killedHostOfJobs(t, f, 2)
	h, stop := f.startStoppable(t, perJob)
	folder, _ := h.Groups()
	if folder == "" {
		t.Log("this machine gives no control groups")
	}
	h.Recall("good", "a0")
	done := make(chan *pluginhost.Ended, 1)
	go func() { done <- settle(h.Follow(t.Context(), until("a0", l.file), newSink())) }()
	h.Disown()
	touch(t, l.file)
	inline(t, <-done)
	stop()
	if _, err := os.Stat(folder); folder != "" && err == nil {
		t.Errorf("%s is left", folder)
	}
}
