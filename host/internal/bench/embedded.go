package main

import (
	"context"
	"encoding/json"
	"errors"
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

// startWait is how long a plugin may take that is about to be measured.
const startWait = 20 * time.Second

// embed starts a plugin host with the operator's policies; close ends it.
func (b *bench) embed(plugins, data string, policies map[string]pluginhost.Policy) (*embedded, error) {
	h, err := pluginhost.New(pluginhost.Config{
		Directory: plugins, DataDir: data, StartWait: startWait, Policies: policies, Log: hclog.NewNullLogger(),
	})
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

// end closes it at the end of a function that returns err.
func (e *embedded) end(err *error) { *err = errors.Join(*err, e.close()) }

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

// sink notes when the work has begun.
type sink struct {
	begun chan struct{}
	at    time.Time // valid when begun is closed
}

func newSink() *sink { return &sink{begun: make(chan struct{})} }

func (s *sink) Started(time.Time)                             { s.at = time.Now(); close(s.begun) }
func (*sink) Progress(float64, float64, string)               {}
func (*sink) Output(job.Output)                               {}
func (*sink) Usage(string, float64)                           {}
func (*sink) Checkpoint(context.Context, int32, []byte) error { return nil }
func (*sink) Truncated(job.Stream, int64)                     {}

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
