package pluginhost_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// The end of an attempt that is not durable keeps the record of its process.
func TestRecordStaysUntilTheEndIsDurable(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)
	ended := h.Run(t.Context(), request("good", "a1", "kill"), newSink())
	if ended.Error == nil || ended.Error.Class != job.Lost {
		t.Fatalf("Error = %+v, want lost", ended.Error)
	}
	eventually(t, "the plugin is back", func() bool { return h.Available("good", "") == nil })
	folders := func() int {
		entries, _ := os.ReadDir(filepath.Join(f.data, "run"))
		return len(entries)
	}
	if got := folders(); got != 2 {
		t.Errorf("%d records of processes, want that of the dead one beside that of the living", got)
	}
	ended.Ack()
	if got := folders(); got != 1 {
		t.Errorf("%d records of processes after the Ack, want 1", got)
	}
}

// The store can be away when the host is stopped. What a plugin knows of the end of
// a job is all that anybody knows of it then: the next life of the host asks again.
func TestUnrecordedEndsOutliveTheHost(t *testing.T) {
	for name, isolation := range map[string]pluginhost.Isolation{"shared": pluginhost.Shared, "per-job": pluginhost.PerJob} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			writePlugin(t, f.plugins, good)
			wanted := func(c *pluginhost.Config) {
				c.Policies = map[string]pluginhost.Policy{"good": {Isolation: isolation}}
			}
			h, stop := f.startStoppable(t, wanted)
			if first := h.Run(t.Context(), request("good", "a1", "hello"), newSink()); first.Error != nil {
				t.Fatal(first.Error)
			}
			stop() // the end was not acknowledged

			h = f.start(t, wanted)
			if got := h.Recall("good", "a1"); got != pluginhost.Known {
				t.Fatalf("Recall = %v, want known", got)
			}
			again := h.Follow(t.Context(), request("good", "a1", "hello"), newSink())
			if again.Error != nil || len(again.Result.Inline) == 0 {
				t.Errorf("the end is told again as %+v, want the result", again)
			}
			again.Ack()
			h.Disown()
		})
	}
}

// Sockets that lie outside of a data folder with a long path outlive the host as
// well, and what is left of dead processes goes there, too.
func TestSurvivalWithALongDataDir(t *testing.T) {
	short, err := os.MkdirTemp("/tmp", "x")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	t.Setenv("XDG_RUNTIME_DIR", short) // for those who may not write to /run
	f := newFixture(t)
	f.data = filepath.Join(f.data, strings.Repeat("long/", 40))
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	pid, file := killedHost(t, f)
	sockets := socketFolder(t, pid)
	stray := filepath.Join(filepath.Dir(sockets), "0000dead")
	if err := os.Mkdir(stray, 0o700); err != nil {
		t.Fatal(err)
	}

	h := f.start(t)
	if got := h.Plugins()[0].PID; got != pid {
		t.Errorf("PID = %d, want %d: the process goes on", got, pid)
	}
	if got := h.Recall("good", "a1"); got != pluginhost.Known {
		t.Fatalf("Recall = %v, want known", got)
	}
	if _, err := os.Stat(stray); err == nil {
		t.Error("the folder of sockets that nobody uses is still there")
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	inline(t, settle(h.Follow(t.Context(), until("a1", file), newSink())))
}

// socketFolder returns the folder in which a plugin process was told to listen.
func socketFolder(t *testing.T, pid int) string {
	t.Helper()
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	for variable := range strings.SplitSeq(string(environment), "\x00") {
		if folder, ok := strings.CutPrefix(variable, "PLUGIN_UNIX_SOCKET_DIR="); ok {
			return folder
		}
	}
	t.Fatal("the plugin was not told where to listen")
	return ""
}

// Nothing that only looks like a process of an earlier life is taken over, or
// harmed: its number was given to another, the machine was started again, or the
// record came with a copy of data_dir, whose original has a host of its own.
func TestRecordsOfOthersAreOnlyRemoved(t *testing.T) {
	for name, change := range map[string]func(record map[string]any){
		"another process has the number":  func(r map[string]any) { r["start_time"] = 1 },
		"the machine was started again":   func(r map[string]any) { r["boot_id"] = "another" },
		"it is a number of another world": func(r map[string]any) { r["pid_namespace"] = "pid:[1]" },
		"data_dir is a copy":              nil,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			writePlugin(t, f.plugins, good)
			pid, _ := killedHost(t, f)
			original := f.data
			if change == nil {
				f.data += "-copy"
				if out, err := exec.Command("cp", "-a", original, f.data).CombinedOutput(); err != nil {
					t.Fatalf("cp: %v: %s", err, out)
				}
			} else {
				changeRecord(t, f, change)
				leaveGroup(t, pid) // whoever is in a group of ours is ours
			}
			h := f.start(t)
			if got := h.Recall("good", "a1"); got != pluginhost.Unknown {
				t.Errorf("Recall = %v, want that nothing is known of the attempt", got)
			}
			for _, p := range h.Plugins() {
				if p.PID == pid {
					t.Error("the process was taken over")
				}
			}
			if !alive(pid) {
				t.Error("the process was killed")
			}
		})
	}
}

// Processes of a data_dir that was moved write their jobs' files to where it was:
// they are ended, and their attempts are unknown.
func TestMovedDataDir(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	pid, _ := killedHost(t, f)
	moved := f.data + "-moved"
	if err := os.Rename(f.data, moved); err != nil {
		t.Fatal(err)
	}
	f.data = moved
	h := f.start(t)
	if got := h.Recall("good", "a1"); got != pluginhost.Unknown {
		t.Errorf("Recall = %v, want that nothing is known of the attempt", got)
	}
	if alive(pid) {
		t.Error("the process lives on")
	}
	if ended, _ := run(t, h, "good", "a2", "hello"); ended.Error != nil {
		t.Errorf("a new attempt: %v", ended.Error)
	}
}

// changeRecord changes the record of the one process there is.
func changeRecord(t *testing.T, f fixture, change func(map[string]any)) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(f.data, "run", "*", "process.json"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("records = %v, %v, want one", paths, err)
	}
	content, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	var record map[string]any
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	if err := decoder.Decode(&record); err != nil {
		t.Fatal(err)
	}
	change(record)
	if content, err = json.Marshal(record); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(paths[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
}
