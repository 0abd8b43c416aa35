package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// embedded is a plugin host in this process: what happens in it is seen at the
// moment when it happens.
type embedded struct {
	*pluginhost.Host
	stop   context.CancelFunc
	served chan error
}

// embed starts a plugin host; close ends it.
func (b *bench) embed(plugins, data string) (*embedded, error) {
	h, err := pluginhost.New(pluginhost.Config{Directory: plugins, DataDir: data, StartWait: 20 * time.Second, Log: hclog.NewNullLogger()})
	if err != nil {
		return nil, err
	}
	if err := h.Start(b.ctx); err != nil {
		return nil, err
	}
	e := &embedded{Host: h, served: make(chan error, 1)}
	var serving context.Context
	serving, e.stop = context.WithCancel(b.ctx)
	go func() { e.served <- h.Serve(serving) }()
	return e, nil
}

func (e *embedded) close() error {
	e.stop()
	return <-e.served
}

// pid returns the process of the only build that runs.
func (e *embedded) pid() (int, error) {
	list := e.Plugins()
	if len(list) != 1 || list[0].PID == 0 {
		return 0, fmt.Errorf("the plugin host runs %+v, want one plugin", list)
	}
	return list[0].PID, nil
}

// request is an attempt on a plugin.
func request(plugin, id, folder string, input any) (pluginhost.Request, error) {
	content, err := json.Marshal(input)
	return pluginhost.Request{
		Plugin: plugin, AttemptID: id, Attempt: 1,
		Job:  pluginhost.JobInfo{ID: job.ID(id), Name: "bench", Created: time.Now()},
		User: "bench", Settings: json.RawMessage("{}"), Input: content,
		Folders: pluginhost.Folders{
			Work: filepath.Join(folder, "work"), Logs: filepath.Join(folder, "logs"), Result: filepath.Join(folder, "result"),
		},
	}, err
}

// begun is a sink that tells when the work has begun.
type begun chan struct{}

func (s begun) Started(time.Time)               { close(s) }
func (begun) Progress(float64, float64, string) {}
func (begun) Output(job.Output)                 {}
func (begun) Usage(string, float64)             {}
func (begun) Checkpoint(int32, []byte) error    { return nil }
func (begun) Truncated(job.Stream, int64)       {}

// copyPlugin makes a folder that holds one plugin.
func copyPlugin(binary, folder string) error {
	content, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, filepath.Base(binary)), content, 0o755)
}
