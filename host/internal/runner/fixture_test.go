package runner_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/artifacts"
	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/runner"
)

// plugin plays the part of all plugins.
type plugin func(ctx context.Context, r pluginhost.Request, sink pluginhost.Sink) *pluginhost.Ended

func (p plugin) Run(ctx context.Context, r pluginhost.Request, sink pluginhost.Sink) *pluginhost.Ended {
	return p(ctx, r, sink)
}

func (p plugin) Recall(string, string) pluginhost.Fate { return pluginhost.Known }

func (p plugin) Settle(string) {}

// settling notes which losses are recorded.
type settling struct {
	plugin
	settled []string
}

func (s *settling) Settle(attempt string) { s.settled = append(s.settled, attempt) }

func (p plugin) Follow(ctx context.Context, r pluginhost.Request, sink pluginhost.Sink) *pluginhost.Ended {
	return p(ctx, r, sink)
}

func (p plugin) CanResume(context.Context, string, string, int32) error { return nil }
func (p plugin) Check(context.Context, string, string, json.RawMessage, map[string][]byte) (pluginhost.Health, error) {
	return pluginhost.Health{}, nil
}

func (p plugin) Cleanup(context.Context, pluginhost.Remains) error { return nil }

type fixture struct {
	commands []*catalog.Command
	clusters []*catalog.Cluster
	folder   string
	kept     *artifacts.Store
	job      *job.Job
	saved    []*job.Checkpoint
	inputs   map[string]string // files that came with the job, by name
	refuse   []error           // what the next checkpoints are answered
}

// Checkpoint keeps a checkpoint in memory.
func (f *fixture) Checkpoint(_ context.Context, _ job.Lease, c *job.Checkpoint) error {
	if len(f.refuse) > 0 {
		err := f.refuse[0]
		f.refuse = f.refuse[1:]
		return err
	}
	f.saved = append(f.saved, c)
	return nil
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	data := t.TempDir()
	kept, err := artifacts.Open("file", data)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kept.Close() })
	object := func(id string) catalog.Object {
		return catalog.Object{ID: id, Name: id, Status: catalog.Active}
	}
	return &fixture{
		commands: []*catalog.Command{{Object: object("c"), Plugin: "p"}},
		clusters: []*catalog.Cluster{{Object: object("k")}},
		folder:   filepath.Join(data, "jobs"),
		kept:     kept,
		job: &job.Job{
			ID: job.NewID(), User: "alice", Request: job.Request{Name: "n", Context: json.RawMessage(`{"a":1}`)},
			Pair: job.Pair{CommandID: "c", ClusterID: "k"},
		},
	}
}

func (f *fixture) Snapshot() *catalog.Snapshot {
	s, err := catalog.NewSnapshot(f.commands, f.clusters)
	if err != nil {
		panic(err)
	}
	return s
}

func (f *fixture) runner(p runner.Plugins) *runner.Runner {
	return runner.New(runner.Config{
		Plugins: p, Catalog: f, Artifacts: f.kept, Inputs: f, Checkpoints: f, Folder: f.folder, CancelGrace: time.Second, Log: hclog.NewNullLogger(),
	})
}

func (f *fixture) claimed() job.Claimed {
	return job.Claimed{Job: f.job, Lease: job.Lease{JobID: f.job.ID, Attempt: 1, HostID: "h", Epoch: 1}}
}

func (f *fixture) run(t *testing.T, p plugin) job.Outcome {
	t.Helper()
	o, done := f.runner(p).Run(t.Context(), f.claimed(), func(time.Time) {})
	done()
	return o
}

func (f *fixture) read(t *testing.T, key string) string {
	t.Helper()
	r, err := f.kept.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func write(t *testing.T, folder, name, content string) string {
	t.Helper()
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
