package runner_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/live"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/runner"
)

// What an attempt reports is known while it runs, and no longer.
func TestReports(t *testing.T) {
	f := newFixture(t)
	var reports live.Reports
	r := runner.New(runner.Config{
		Plugins: plugin(func(_ context.Context, _ pluginhost.Request, sink pluginhost.Sink) *pluginhost.Ended {
			if got := reports.Of(f.job.ID); got.Progress != nil || got.Outputs != nil {
				t.Errorf("report = %+v before any, want none", got)
			}
			sink.Progress(1, 4, "first")
			sink.Output(job.Output{Key: "a", Value: "1"})
			before := reports.Of(f.job.ID)
			sink.Output(job.Output{Key: "a", Value: "2"})
			sink.Progress(2, 4, "second")
			want := job.Report{Progress: &job.Progress{Done: 2, Total: 4, Message: "second"}, Outputs: []job.Output{{Key: "a", Value: "2"}}}
			if diff := cmp.Diff(want, reports.Of(f.job.ID)); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
			if before.Outputs[0].Value != "1" || before.Progress.Done != 1 {
				t.Errorf("a report that was read has changed: %+v", before)
			}
			return &pluginhost.Ended{}
		}),
		Catalog: f, Artifacts: f.kept, Checkpoints: f, Reports: &reports, Folder: f.folder, Log: hclog.NewNullLogger(),
	})
	_, done := r.Run(t.Context(), f.claimed(), func(time.Time) {})
	done()
	if got := reports.Of(f.job.ID); got.Progress != nil || got.Outputs != nil {
		t.Errorf("report = %+v behind the end, want none", got)
	}
}

// shows is what everybody may know of contexts.
type shows struct{}

func (shows) Public(e *catalog.Entry) []byte {
	if e.Kind == catalog.ClusterKind {
		return []byte(`{"endpoint":"https://k:1","password":{"set":true,"ref":"env:CANARY"},"token":{"set":true,"ref":"env:CANARY","part":true},"big":12345678901234567890,"none":null,"hosts":["a",{"set":true},"b"],"flags":{"set":true,"x":1}}`)
	}
	return []byte(`{"path":"/p"}`)
}

func (shows) PublicInput(_ *catalog.Command, input json.RawMessage) []byte { return input }

// What is shown with a job is made of what everybody may know; what cannot be made is
// left out, and said if that is a fault.
func TestAttributes(t *testing.T) {
	const canary = "canary-93f"
	f := newFixture(t)
	f.job.Tags, f.job.Context = []string{"team:a"}, json.RawMessage(`{"query":"select 1"}`)
	cluster, command := f.clusters[0], f.commands[0]
	cluster.Context = json.RawMessage(`{"password":"` + canary + `"}`)
	cluster.Attributes = map[string]catalog.Attribute{
		"Cluster":    {Kind: "link", Value: "{{.Cluster.Context.endpoint}}/ui/{{.Outputs.query_id}}"},
		"Password":   {Kind: "text", Value: "{{.Cluster.Context.password}}"},
		"Token":      {Kind: "text", Value: "{{.Cluster.Context.token}}"},
		"None":       {Kind: "text", Value: "{{.Cluster.Context.none}}"},
		"All":        {Kind: "text", Value: "{{.}}"},
		"Hosts":      {Kind: "text", Value: `{{join .Cluster.Context.hosts " "}}, {{.Cluster.Context.big}}, {{.Cluster.Context.flags.x}}`},
		"Both":       {Kind: "text", Value: "the cluster's"},
		"Everyone's": {Kind: "text", Value: "the cluster's"},
	}
	command.Attributes = map[string]catalog.Attribute{
		"Both":       {Kind: "text", Value: "the command's"},
		"Everyone's": {Kind: "text", Value: "the command's"},
		"Job":        {Kind: "text", Value: "{{.Job.ID}} {{.Job.Name}} {{.Job.User}} {{index .Job.Tags 0}} {{.Job.Context.query}} {{.Command.Plugin}}{{.Command.Context.path}}"},
		"Missing":    {Kind: "text", Value: "{{.Outputs.nothing}}"},
		"Empty":      {Kind: "text", Value: "{{if eq .Job.Name \"other\"}}x{{end}}"},
		"No address": {Kind: "link", Value: "{{.Command.Context.path}}"},
	}
	var log bytes.Buffer
	reports := &live.Reports{}
	var r *runner.Runner
	r = runner.New(runner.Config{
		Plugins: plugin(func(_ context.Context, _ pluginhost.Request, sink pluginhost.Sink) *pluginhost.Ended {
			for _, o := range r.Shown(f.job, reports.Of(f.job.ID).Outputs) {
				if o.Key == "Cluster" {
					t.Errorf("%s = %q before the plugin has reported anything, want none", o.Key, o.Value)
				}
			}
			sink.Output(job.Output{Key: "query_id", Value: "q7", Kind: "text"})
			sink.Output(job.Output{Key: "Everyone's", Value: "the plugin's", Kind: "text"})
			if shown := r.Shown(f.job, reports.Of(f.job.ID).Outputs); !strings.Contains(texts(shown), "Cluster=https://k:1/ui/q7\n") {
				t.Errorf("shown while it runs:\n%s", texts(shown))
			}
			return &pluginhost.Ended{}
		}),
		Catalog: f, Public: shows{}, Artifacts: f.kept, Checkpoints: f, Reports: reports, Folder: f.folder, Log: hclog.New(&hclog.LoggerOptions{Output: &log}),
	})
	o, done := r.Run(t.Context(), f.claimed(), func(time.Time) {})
	done()
	got := texts(o.Outputs)
	if strings.Contains(got, canary) || strings.Contains(got, "CANARY") {
		t.Errorf("a secret, or what it is called, is shown:\n%s", got)
	}
	var kept []job.Output
	for _, o := range o.Outputs {
		if o.Key != "All" { // it is there for the canary
			kept = append(kept, o)
		}
	}
	want := "Both=the command's\nCluster=https://k:1/ui/q7\nEveryone's=the plugin's\nHosts=a b, 12345678901234567890, 1\n" +
		"Job=" + string(f.job.ID) + " n alice team:a select 1 p/p\nquery_id=q7\n"
	if diff := cmp.Diff(want, texts(kept)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), `attribute="No address"`) {
		t.Errorf("log:\n%s\nwant one line, about what is no address", log.String())
	}
}

func texts(all []job.Output) string {
	var b strings.Builder
	for _, o := range all {
		b.WriteString(o.Key + "=" + o.Value + "\n")
	}
	return b.String()
}
