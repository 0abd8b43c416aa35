package config_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/config"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// write makes a configuration file of the text and returns its path.
func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "heimdall.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load loads a text that must be right.
func load(t testing.TB, text string, env ...string) *config.Config {
	t.Helper()
	c, err := config.Load(write(t, text), env)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return c
}

func TestLoadWithoutFile(t *testing.T) {
	t.Parallel()
	c, err := config.Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(), c); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
}

func TestLoadEverySetting(t *testing.T) {
	t.Parallel()
	got := load(t, `
data_dir = "/srv/heimdall"
[server]
advertise = "10.0.0.7:9090"
listen = "[::1]:0"
max_body_bytes = 2_097_152
max_context_bytes = 65536
max_batch_bytes = 4096
max_attachment_bytes = 8192
[store]
url = "postgres://h:${PASSWORD}@db:5432/h$$x"
[artifacts]
url = "file"
[plugins]
directory = "/opt/plugins"
start_timeout = "1m30s"
environment = ["HTTPS_PROXY"]
[plugins.policy.ping]
isolation = "shared"
[plugins.policy.shell]
isolation = "per-job"
memory = "${MEMORY}"
cpu = "90s"
open_files = 64
core = 4096
[queue]
workers = 8
timeout = "1h"
shutdown_grace = "0s"
cancel_grace = "500ms"
lease = "3s"
lost_after = "1m"
max_log_bytes = 1_000
keep_log_bytes = 500
max_result_bytes = 0
max_running_per_user = 5
max_waiting = 0
max_waiting_per_user = 7
keep = "720h"
[auth]
trusted_headers = ["X-User"]
trusted_proxies = []
operators = ["ann", "${OPERATOR}"]
[log]
level = "debug"
format = "json"
[plugin.shell]
path = "${env:P}"
[plugin."quoted"]
`, "PASSWORD=$$é{}", "OPERATOR=bob", "MEMORY=2GiB")
	policy := map[string]config.Policy{
		"ping": {Isolation: "shared"},
		"shell": {Isolation: "per-job", Limits: config.Limits{
			Memory: 2 << 30, CPU: 90 * time.Second, OpenFiles: 64, Core: 4096,
		}},
	}
	want := &config.Config{
		DataDir:   "/srv/heimdall",
		Server:    config.Server{Listen: "[::1]:0", Advertise: "10.0.0.7:9090", MaxBodyBytes: 2 << 20, MaxContextBytes: 64 << 10, MaxBatchBytes: 4096, MaxAttachmentBytes: 8192},
		Store:     config.Store{URL: "postgres://h:$$é{}@db:5432/h$x"},
		Artifacts: config.Artifacts{URL: "file"},
		Plugins:   config.Plugins{Directory: "/opt/plugins", StartTimeout: 90 * time.Second, Environment: []string{"HTTPS_PROXY"}, Policy: policy},
		Queue: config.Queue{
			Workers: 8, Timeout: time.Hour, CancelGrace: 500 * time.Millisecond, MaxLogBytes: 1000, KeepLogBytes: 500,
			Lease: 3 * time.Second, LostAfter: time.Minute,
			MaxRunningPerUser: 5, MaxWaitingPerUser: 7, Keep: 720 * time.Hour,
		},
		Auth:   config.Auth{TrustedHeaders: []string{"X-User"}, TrustedProxies: []string{}, Operators: []string{"ann", "bob"}},
		Log:    config.Log{Level: "debug", Format: "json"},
		Plugin: map[string]json.RawMessage{"shell": json.RawMessage(`{"path":"${env:P}"}`), "quoted": json.RawMessage(`{}`)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
}

func TestEnvironmentOverrides(t *testing.T) {
	t.Parallel()
	text := "data_dir = 'file'\n[store]\nurl = '${NOWHERE}'\n[queue]\nworkers = 0\n[auth]\noperators = ['ann', '${NOWHERE}']\n[plugin.x]\n"
	got := load(t, text,
		"HEIMDALL_DATA_DIR=first", "HEIMDALL_DATA_DIR=/last",
		"HEIMDALL_SERVER_LISTEN=0.0.0.0:80", "HEIMDALL_SERVER_MAX_BODY_BYTES= 10 ",
		"HEIMDALL_STORE_URL=postgres://u:${HOME}$$@db/x", "HEIMDALL_QUEUE_WORKERS=3",
		"HEIMDALL_QUEUE_CANCEL_GRACE=1m", "HEIMDALL_AUTH_OPERATORS=", "HEIMDALL_AUTH_TRUSTED_PROXIES=10.0.0.0/8, ::1/128,",
		// Not settings, though they look like it.
		"HEIMDALL_SERVER=http://other", "HEIMDALL_USER=ann", "HEIMDALL_TEST_POSTGRES=x", "HEIMDALL_PLUGIN=x",
		"HEIMDALL_PLUGIN_X=y", "HEIMDALL_COMMANDS=z", "HEIMDALL_SERVER_WORKERS=1", "heimdall_log_level=x", "bare")
	want := config.Default()
	want.DataDir = "/last"
	want.Server.Listen, want.Server.MaxBodyBytes = "0.0.0.0:80", 10
	want.Store.URL = "postgres://u:${HOME}$$@db/x"
	want.Queue.Workers, want.Queue.CancelGrace = 3, time.Minute
	want.Auth.Operators, want.Auth.TrustedProxies = []string{}, []string{"10.0.0.0/8", "::1/128"}
	want.Plugin = map[string]json.RawMessage{"x": json.RawMessage("{}")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
}

func TestCatalog(t *testing.T) {
	t.Parallel()
	c := load(t, `
[[commands]]
name = "ping-${SUFFIX}"
version = "0.0.1"
status = "InActive"
plugin = "ping"
plugin_version = "^1.2"
is_sync = true
description = "${SUFFIX}$$"
tags = [" type:ping ", "a", "a", ""]
cluster_tags = ["type:localhost", "b"]
timeout = "90s"
[commands.context]
text = "a${X}$$b<&>"
whole = 9_007_199_254_740_993
fraction = 1.5
yes = true
at = 2026-11-23T10:00:00.5+02:00
local = 2026-11-23 10:00:00
date = 2026-11-23
time = 10:30:00
list = [1, "${file:/x}", [true], {"k.k" = 1}]
[[commands.context.tables]]
n = 1
[[commands.context.tables]]
n = 2

[[commands]]
name = "ping"
id = "other"
plugin = "ping"
cluster_tags = [["z", "a"], []]
limits = { memory = "2MB", cpu = "1m", open_files = 40, core = "1KiB" }
retry = { attempts = 3, backoff = "2s", on = ["failed", "lost"] }
max_running = 4
max_timeout = "2h"
max_attempts = 5
max_priority = -1
keep = "720h"

[[clusters]]
name = "ping" # the sides do not share ids
id = "other"
max_running = 9
[clusters.context]
`, "SUFFIX=1")
	got, err := c.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	commands := []*catalog.Command{
		{
			Object: catalog.Object{
				ID: "ping-1", Name: "ping-1", Version: "0.0.1", Description: "1$", Status: catalog.Inactive,
				Tags: tag.New("type:ping", "a", "_id:ping-1", "_name:ping-1", "_version:0.0.1"),
				Context: json.RawMessage(`{"at":"2026-11-23T10:00:00.5+02:00","date":"2026-11-23","fraction":1.5,` +
					`"list":[1,"${file:/x}",[true],{"k.k":1}],"local":"2026-11-23T10:00:00","tables":[{"n":1},{"n":2}],` +
					`"text":"a${X}$$b<&>","time":"10:30:00","whole":9007199254740993,"yes":true}`),
			},
			Plugin: "ping", PluginVersion: "^1.2", Sync: true, Timeout: 90 * time.Second,
			ClusterTags: []tag.Set{tag.New("type:localhost", "b")},
		},
		{
			Object: catalog.Object{
				ID: "other", Name: "ping", Status: catalog.Active,
				Tags: tag.System("other", "ping", ""), Context: json.RawMessage("{}"),
			},
			Plugin: "ping", ClusterTags: []tag.Set{tag.New("a", "z"), {}},
			Limits: catalog.Limits{MemoryBytes: 2e6, CPUSeconds: 60, OpenFiles: 40, CoreBytes: 1024},
			Retry:  &job.Retry{Attempts: 3, Backoff: 2 * time.Second, On: []job.Class{job.WorkFailed, job.Lost}}, MaxRunning: 4,
			Bounds: catalog.Bounds{Timeout: 2 * time.Hour, Attempts: 5, Priority: new(-1)}, Keep: 720 * time.Hour,
		},
	}
	clusters := []*catalog.Cluster{{Object: catalog.Object{
		ID: "other", Name: "ping", Status: catalog.Active,
		Tags: tag.System("other", "ping", ""), Context: json.RawMessage("{}"),
	}, MaxRunning: 9}}
	if diff := cmp.Diff(commands, got.Commands, cmpopts.IgnoreUnexported(catalog.Object{})); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(clusters, got.Clusters, cmpopts.IgnoreUnexported(catalog.Object{})); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}

	again, err := c.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	again.Commands[0].Tags[0] = "changed"
	if got.Commands[0].Tags[0] == "changed" || c.Commands[0].Tags[0] == "changed" {
		t.Error("two snapshots share their tags; want each to have its own")
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]bool{
		"127.0.0.1:9090": true, "127.9.9.9:0": true, "[::1]:80": true, "localhost:80": true, "[::ffff:127.0.0.1]:80": true,
		"0.0.0.0:80": false, ":80": false, "[::]:80": false, "10.0.0.1:80": false, "localhost.example:80": false, "127.0.0.1": false,
	} {
		if got := (config.Server{Listen: listen}).Loopback(); got != want {
			t.Errorf("Loopback of %q = %v, want %v", listen, got, want)
		}
	}
}

func TestValidateAfterChanges(t *testing.T) {
	t.Parallel()
	c := load(t, "[server]\nlisten = '127.0.0.1:1'\n")
	if err := c.Validate(); err != nil {
		t.Errorf("Validate = %v, want nil", err)
	}
	c.Server.Listen, c.Store.URL = "9090", "mysql://root:secret@db"
	c.Commands = []config.Command{{Name: "x"}}
	want := `commands[0].plugin: this is missing; name the plugin that does the work
server.listen: "9090" is not host:port; write it like "127.0.0.1:9090"
store.url: want "sqlite" or "postgres://user:password@host:5432/database"`
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("Validate = %v, want %s", err, want)
	}
	if _, err := c.Catalog(); err == nil || !strings.Contains(err.Error(), "commands[0].plugin") {
		t.Errorf("Catalog = %v, want an error about commands[0].plugin", err)
	}
}

// FuzzLoad feeds arbitrary text: it is a configuration or an error, never a
// panic, and what is accepted makes a catalog.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"heimdall.toml", "compose.toml"} {
		text, err := os.ReadFile(filepath.Join("../../../configs", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, text := range badTexts() {
		f.Add(text)
	}
	path := filepath.Join(f.TempDir(), "heimdall.toml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(path, []string{"NAME=value"})
		if err != nil {
			if !strings.HasPrefix(err.Error(), path) {
				t.Errorf("Load = %v, want an error that begins with the file", err)
			}
			return
		}
		if _, err := c.Catalog(); err != nil {
			t.Errorf("Catalog = %v after Load found no fault", err)
		}
	})
}
