package pluginhost_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

func TestBrokenPluginsAreReported(t *testing.T) {
	f := newFixture(t)
	script := func(file, text string) {
		if err := os.WriteFile(filepath.Join(f.plugins, file), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	variants := map[string]struct {
		make  func(file string)
		state pluginhost.State
		want  string
	}{
		"garbage":    {func(file string) { script(file, "#!/bin/sh\necho hello there\n") }, pluginhost.Failed, `"hello there"`},
		"endless":    {func(file string) { script(file, "#!/bin/sh\nhead -c 100000 /dev/zero\nsleep 60\n") }, pluginhost.Failed, "not a handshake"},
		"unfinished": {func(file string) { script(file, "#!/bin/sh\nprintf abc\n") }, pluginhost.Failed, `"abc"`},
		"exits":      {func(file string) { script(file, "#!/bin/sh\necho no license >&2\nexit 3\n") }, pluginhost.Backoff, "exit status 3: no license"},
		"address": {func(file string) {
			script(file, "#!/bin/sh\necho no license >&2\necho '{\"@level\":\"debug\",\"@message\":\"plugin address\"}' >&2\nexit 3\n")
		}, pluginhost.Backoff, "exit status 3: no license"},
		"silent":     {func(file string) { script(file, "#!/bin/sh\nexit 0\n") }, pluginhost.Backoff, "ended before its handshake: exit status 0"},
		"hangs":      {func(file string) { script(file, "#!/bin/sh\necho thinking >&2\nsleep 60\n") }, pluginhost.Backoff, "without a handshake when its time to start was over: thinking"},
		"protocol":   {func(file string) { script(file, "#!/bin/sh\necho '1|9|unix|/none|grpc'\n") }, pluginhost.Failed, "speaks version 9 of the plugin protocol and this host version 1"},
		"netrpc":     {func(file string) { script(file, "#!/bin/sh\necho '1|1|unix|/none|netrpc'\nsleep 60\n") }, pluginhost.Failed, `unsupported plugin protocol "netrpc"`},
		"fourfields": {func(file string) { script(file, "#!/bin/sh\necho '1|1|unix|/none'\nsleep 60\n") }, pluginhost.Failed, `unsupported plugin protocol "netrpc"`},
		"encrypts": {func(file string) {
			script(file, "#!/bin/sh\necho '1|1|unix|/none|grpc|"+certificate(t)+"'\nsleep 60\n")
		}, pluginhost.Failed, "encrypts its socket: a plugin must serve plain gRPC"},
		"tcp":         {func(file string) { script(file, "#!/bin/sh\necho '1|1|tcp|127.0.0.1:1|grpc'\nsleep 60\n") }, pluginhost.Failed, "must listen on a unix socket"},
		"stranger":    {func(file string) { script(file, "#!/bin/sh\necho '1|1|unix|"+f.data+"/none|grpc'\nexit 1\n") }, pluginhost.Backoff, "exit status 1"},
		"noshebang":   {func(file string) { script(file, "just text\n") }, pluginhost.Failed, "cannot be executed"},
		"interpreter": {func(file string) { script(file, "#!/no/such\n") }, pluginhost.Backoff, "cannot be executed"},
		"noexec": {func(file string) {
			script(file, "#!/bin/sh\n")
			os.Chmod(filepath.Join(f.plugins, file), 0o644)
		}, pluginhost.Failed, "is not executable: chmod +x it"},
		"open": {func(file string) {
			script(file, "#!/bin/sh\n")
			os.Chmod(filepath.Join(f.plugins, file), 0o777)
		}, pluginhost.Failed, "anybody may change"},
		"pipe":     {func(file string) { syscall.Mkfifo(filepath.Join(f.plugins, file), 0o755) }, pluginhost.Failed, "not a regular file"},
		"dangling": {func(file string) { os.Symlink("/no/such", filepath.Join(f.plugins, file)) }, pluginhost.Failed, "cannot be read"},
		"Upper":    {func(file string) { script(file, "") }, pluginhost.Failed, "is no name for a plugin"},
		"other":    {func(file string) { writePlugin(t, f.plugins, file, "HEIMDALL_TEST_NAME=mine") }, pluginhost.Failed, `calls itself "mine"`},
		"beta":     {func(file string) { writePlugin(t, f.plugins, file, "HEIMDALL_TEST_VERSION=newest") }, pluginhost.Failed, `"newest" is not a semantic version`},
		"schema":   {func(file string) { writePlugin(t, f.plugins, file, "HEIMDALL_TEST_SCHEMA=[]") }, pluginhost.Failed, "bad schema of its settings"},
		"cookie":   {func(file string) { writePlugin(t, f.plugins, file, "HEIMDALL_PLUGIN_COOKIE=stale") }, pluginhost.Backoff, "exit status 1"},
		"crashing": {func(file string) { writePlugin(t, f.plugins, file, "HEIMDALL_TEST_ROLE=plugin GODEBUG=x\nexit 9") }, pluginhost.Backoff, "exit status 9"},
	}
	for name, v := range variants {
		v.make("heimdall-plugin-" + name)
	}
	writePlugin(t, f.plugins, "heimdall-plugin-mismatch_v2.0.0") // describes 1.0.0
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	script("README.md", "no plugin")
	script(".heimdall-plugin-hidden", "no plugin")
	os.Mkdir(filepath.Join(f.plugins, "heimdall-plugin-folder"), 0o755)

	h := f.start(t, func(c *pluginhost.Config) { c.StartTimeout = 5 * time.Second })
	statuses := map[string]pluginhost.Status{}
	for _, s := range h.Plugins() {
		statuses[s.Name] = s
	}
	if len(statuses) != len(variants)+2 {
		t.Errorf("got %d plugins, want %d", len(statuses), len(variants)+2)
	}
	for name, want := range variants {
		got := statuses[name]
		if got.State != want.state && !(want.state == pluginhost.Backoff && got.State == pluginhost.Starting) {
			t.Errorf("%s: State = %s (%s), want %s", name, got.State, got.Error, want.state)
		}
		if !strings.Contains(got.Error, want.want) || strings.Contains(got.Error, "\n") {
			t.Errorf("%s: Error = %q, want one line with %q", name, got.Error, want.want)
		}
		if err := h.Available(name, ""); err == nil {
			t.Errorf("%s: Available = nil, want an error", name)
		}
	}
	if got := statuses["mismatch"]; !strings.Contains(got.Error, "_v1.0.0") {
		t.Errorf("mismatch: Error = %q, want it to say the right name", got.Error)
	}
	if got := statuses["good"]; got.State != pluginhost.Active || got.PID == 0 || got.Description == nil {
		t.Errorf("good: %+v, want it active", got)
	}
	ended, _ := run(t, h, "good", "a1", "hello")
	inline(t, ended)
}

func TestNewRefusesBadFolders(t *testing.T) {
	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		"":                "no plugin folder is set",
		"/no/such/folder": "does not exist",
		"/etc/passwd":     "is not a folder",
		open:              "chmod o-w",
	} {
		_, err := pluginhost.New(pluginhost.Config{Directory: dir, DataDir: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%q) = %v, want an error with %q", dir, err, want)
		}
	}
}

func TestStartDoesNotWaitForSlowPlugins(t *testing.T) {
	f := newFixture(t)
	gate := filepath.Join(f.plugins, "gate")
	writePlugin(t, f.plugins, "heimdall-plugin-slow", "X=1\nuntil test -e "+gate+"; do sleep 0.01; done")
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t, func(c *pluginhost.Config) { c.StartWait = 10 * time.Millisecond })
	if err := h.Available("slow", ""); err == nil || err.Error() != "plugin slow is still starting" {
		t.Errorf("Available = %v, want that it is still starting", err)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the slow plugin is available", func() bool { return h.Available("slow", "") == nil })
}

func TestStartIsCanceled(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-slow", "X=1\nsleep 60")
	h, err := pluginhost.New(pluginhost.Config{Directory: f.plugins, DataDir: f.data, StartWait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := h.Start(ctx); err == nil {
		t.Error("Start = nil, want an error")
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("Start took %s after it was canceled", took)
	}
}

func TestBinaryRunsFromTheStore(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)
	digest := h.Plugins()[0].Digest
	kept := filepath.Join(f.data, "plugins", digest, "heimdall-plugin-good")
	info, err := os.Stat(kept)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o555 {
		t.Errorf("the copy has the mode %v, want 0555", info.Mode().Perm())
	}
	remembered(t, f)
	left, err := os.ReadDir(filepath.Join(f.data, "plugins"))
	if err != nil || len(left) != 2 {
		t.Errorf("the store has %d entries (%v), want the build and the list of those that work", len(left), err)
	}
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
