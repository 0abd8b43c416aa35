package pluginhost_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-plugin"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/sdk/handshake"
)

// TestAttach runs attempts in a process that the host did not start, as under a
// debugger. Its end is noticed like any other, but it is not the host's to end.
func TestAttach(t *testing.T) {
	f := newFixture(t)
	folder := filepath.Join(filepath.Dir(f.plugins), "mine")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	stdout, err := os.Create(filepath.Join(folder, "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	mine := exec.Command(os.Args[0])
	mine.Env = append(os.Environ(), "HEIMDALL_TEST_ROLE=plugin", "HEIMDALL_TEST_NAME=mine",
		handshake.Config.MagicCookieKey+"="+handshake.Config.MagicCookieValue,
		"PLUGIN_PROTOCOL_VERSIONS=1", plugin.EnvUnixSocketDir+"="+folder)
	mine.Stdout = stdout
	if err := mine.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mine.Process.Kill(); _ = mine.Wait() })
	var socket string
	eventually(t, "it listens", func() bool {
		line, _ := os.ReadFile(stdout.Name())
		if fields := strings.Split(string(line), "|"); len(fields) > 4 {
			socket = fields[3]
		}
		return socket != ""
	})

	h, stop := f.startStoppable(t, func(c *pluginhost.Config) {
		c.Settings = func(string) (json.RawMessage, map[string][]byte, error) { return nil, nil, errors.New("no settings") }
	})
	if _, err := h.Attach(t.Context(), socket); err == nil || !strings.Contains(err.Error(), "no settings") {
		t.Errorf("Attach = %v, want that there are no settings", err)
	}
	if left, err := os.ReadDir(filepath.Join(f.data, "run")); err != nil || len(left) > 0 {
		t.Errorf("%d folders of processes are left (%v) by an attach in vain, want none", len(left), err)
	}
	stop()
	h, stop = f.startStoppable(t)
	if _, err := h.Attach(t.Context(), filepath.Join(folder, "nothing")); err == nil {
		t.Error("attached to a socket that is not there")
	}
	for _, id := range []string{"a", "b"} {
		name, err := h.Attach(t.Context(), socket)
		if err != nil || name != "mine" {
			t.Fatalf("Attach = %q, %v, want mine", name, err)
		}
		if ended, _ := run(t, h, "mine", id, "hello"); ended.Error != nil || len(ended.Build) != 64 {
			t.Fatalf("attempt %s: %+v, want that it ends well on a known build", id, ended)
		}
		stop()
		if left, err := os.ReadDir(filepath.Join(f.data, "run")); err != nil || len(left) > 0 {
			t.Errorf("%d folders of processes are left (%v), want none: a later life would take its jobs for lost", len(left), err)
		}
		h, stop = f.startStoppable(t) // the process lives on
	}

	if _, err := h.Attach(t.Context(), socket); err != nil {
		t.Fatal(err)
	}
	if ended, _ := run(t, h, "mine", "c", "exit"); ended.Error == nil || ended.Error.Class != job.Lost {
		t.Errorf("ended with %v, want lost", ended.Error)
	}
	eventually(t, "it is told that the process has gone", func() bool {
		err := h.Available("mine", "")
		return err != nil && strings.Contains(err.Error(), "attached to has ended")
	})
}
