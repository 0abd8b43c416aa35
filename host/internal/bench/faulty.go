package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/sdk/client"
)

const faultyCatalog = `
[queue]
workers = 1024
keep_log_bytes = 0 # all of it
[plugins.policy.faulty]
isolation = %q
[[commands]]
name = "faulty"
plugin = "faulty"
is_sync = true
tags = ["type:faulty"]
[[clusters]]
name = "localhost"
`

// faulty is the binary of the plugin that does what its input says.
func (b *bench) faulty() string { return filepath.Join(b.bin, "faulty", "heimdall-plugin-faulty") }

// rig is a host that runs jobs of the plugin faulty, and a client of it.
type rig struct {
	*server
	*client.Client
	deployment deployment
}

// rig starts a host in a folder of its own, with a copy of the plugin.
func (b *bench) rig(name string, isolation pluginhost.Isolation) (*rig, error) {
	folder := filepath.Join(b.scratch, name)
	r := &rig{deployment: deployment{
		config: fmt.Sprintf(faultyCatalog, isolation), data: filepath.Join(folder, "data"), store: "sqlite", plugins: filepath.Join(folder, "plugins"),
	}}
	if err := copyPlugin(b.faulty(), r.deployment.plugins); err != nil {
		return nil, err
	}
	return r, r.start(b)
}

// start starts the host, again if it was killed.
func (r *rig) start(b *bench) (err error) {
	if r.server, err = b.serve(r.deployment); err != nil {
		return err
	}
	r.Client, err = client.New(r.address, "bench")
	r.HTTP = keepAlive(callers)
	return err
}

// end stops the host: in good order when all went well, else at once.
func (r *rig) end(err *error) {
	if r.server == nil {
		return
	}
	if *err != nil {
		_ = r.command.Process.Signal(syscall.SIGTERM) // the second one is that of stop
	}
	*err = errors.Join(*err, r.stop())
}

// run runs a job to its end, which must be a good one.
func (r *rig) run(ctx context.Context, input map[string]any) error {
	j, err := r.submit(ctx, input, -1)
	if err == nil && j.Status != client.StatusSucceeded {
		err = fmt.Errorf("job %s is %s: %s", j.ID, j.Status, j.Error)
	}
	return err
}

// begin submits a job and does not wait for it.
func (r *rig) begin(ctx context.Context, input map[string]any) (id string, err error) {
	j, err := r.submit(ctx, input, 0)
	if err != nil {
		return "", err
	}
	return j.ID, nil
}

func (r *rig) submit(ctx context.Context, input map[string]any, wait time.Duration) (*client.Job, error) {
	content, err := json.Marshal(input)
	if err != nil {
		return nil, err
	}
	return r.Submit(ctx, client.Submission{
		Name: "bench", Context: content, CommandCriteria: []string{"type:faulty"}, Wait: wait,
	})
}

// finish waits until jobs have ended, which all must do well.
func (r *rig) finish(ctx context.Context, ids []string) error {
	for _, id := range ids {
		j, err := r.Wait(ctx, id)
		if err != nil {
			return err
		}
		if j.Status != client.StatusSucceeded {
			return fmt.Errorf("job %s is %s: %s", j.ID, j.Status, j.Error)
		}
	}
	return nil
}

// running returns how many jobs run, and in how many builds.
func (r *rig) running(ctx context.Context) (jobs, builds int, err error) {
	p, err := r.Plugin(ctx, "faulty")
	if err != nil {
		return 0, 0, err
	}
	for _, build := range p.Builds {
		jobs += build.RunningJobs
	}
	return jobs, len(p.Builds), nil
}

// shortPause is between two looks at a host whose work must not be disturbed.
const shortPause = 5 * time.Millisecond

// until asks again and again, with a pause between, until something is so, for a minute at most, and
// returns how long that took.
func (b *bench) until(what string, pause time.Duration, so func() (bool, error)) (time.Duration, error) {
	for begun := time.Now(); ; time.Sleep(pause) {
		ok, err := so()
		if ok || err != nil {
			return time.Since(begun), err
		}
		if err := b.ctx.Err(); err != nil {
			return 0, err
		}
		if time.Since(begun) > time.Minute {
			return 0, fmt.Errorf("it was not so within a minute: %s", what)
		}
	}
}

// starts reads the ledger of jobs: the numbers of the processes that ran them, in
// the order of their starts.
func starts(ledger string) (pids []string, err error) {
	content, err := os.ReadFile(ledger)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); fields[0] == "start" {
			pids = append(pids, fields[3])
		}
	}
	return pids, nil
}
