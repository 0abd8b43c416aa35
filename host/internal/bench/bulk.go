package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/sdk/client"
)

// A job that writes very much must not take the host's memory.
const (
	bulkBytes  = 1 << 30  // of stdout, and of the result
	bulkGrowth = 64 << 20 // of the host's memory, at most
	bulkRoom   = 5 << 30  // that all copies need
)

// bulk runs a job of a large log and a large result, reads them back, and
// measures the host's memory meanwhile, and the time against copying as much.
func (b *bench) bulk() (err error) {
	var disk unix.Statfs_t
	if err := unix.Statfs(b.scratch, &disk); err != nil {
		return fmt.Errorf("look at %s: %w", b.scratch, err)
	}
	if free := disk.Bavail * uint64(disk.Bsize); free < bulkRoom {
		return fmt.Errorf("%s has %d bytes free and %d are needed: set TMPDIR to a larger disk", b.scratch, free, uint64(bulkRoom))
	}
	r, err := b.rig("bulk", pluginhost.Shared)
	if err != nil {
		return err
	}
	defer r.end(&err)
	if err := r.run(b.ctx, map[string]any{}); err != nil { // what the first job makes is there
		return err
	}
	before, err := r.anonymous()
	if err != nil {
		return err
	}
	peak := watchMemory(r.server.anonymous)
	defer peak.stop()

	ledger := filepath.Join(b.scratch, "ledger-bulk")
	unix.Sync() // what was written before is not to be waited for
	begun := time.Now()
	j, err := r.submit(b.ctx, map[string]any{"stdout_bytes": bulkBytes, "result_bytes": bulkBytes, "ledger": ledger}, -1)
	if err != nil {
		return err
	}
	ended := time.Now()
	if j.Status != client.StatusSucceeded {
		return fmt.Errorf("job %s is %s: %s", j.ID, j.Status, j.Error)
	}
	wrote, err := os.Stat(ledger) // was written to last when the plugin was done
	if err != nil {
		return err
	}
	read, err := readBack(b.ctx, r, j.ID)
	if err != nil {
		return err
	}
	most, err := peak.stop()
	if err != nil {
		return err
	}
	copied, err := b.copyBulk(filepath.Join(r.deployment.data, "artifacts", "jobs", j.ID, "1"))
	if err != nil {
		return err
	}

	b.add(Figure{Name: "RssAnon before", Value: before / (1 << 20), Unit: "MiB"})
	b.add(Figure{
		Name: "RssAnon at most, more than before", Value: (most - before) / (1 << 20), Unit: "MiB",
		Against: "limit of 64 MiB", Ratio: (most - before) / bulkGrowth, Goal: "under 1",
	})
	b.add(Figure{Name: "cp and sync of 1 GiB stdout and 1 GiB result", Value: copied.Seconds(), Unit: "s"})
	for _, f := range []struct {
		name string
		took time.Duration
	}{
		{"the job: the plugin writes them", wrote.ModTime().Sub(begun)},
		{"the job: the host keeps them", ended.Sub(wrote.ModTime())},
		{"read back by HTTP", read},
	} {
		b.add(Figure{Name: f.name, Value: f.took.Seconds(), Unit: "s", Against: "cp", Ratio: ratio(f.took, copied)})
	}
	return nil
}

// readBack reads stdout and the result of a job, which are of full length.
func readBack(ctx context.Context, r *rig, id string) (time.Duration, error) {
	begun := time.Now()
	for _, open := range []func() (io.ReadCloser, error){
		func() (io.ReadCloser, error) { return r.Log(ctx, id, client.Stdout, client.LogOptions{}) },
		func() (io.ReadCloser, error) { return r.Result(ctx, id) },
	} {
		content, err := open()
		if err != nil {
			return 0, err
		}
		n, err := io.Copy(io.Discard, content)
		if err := errors.Join(err, content.Close()); err != nil {
			return 0, err
		}
		if n != bulkBytes {
			return 0, fmt.Errorf("%d bytes were read back, want %d", n, bulkBytes)
		}
	}
	return time.Since(begun), nil
}

// copyBulk copies what a job has left as cp does, and makes it durable.
func (b *bench) copyBulk(folder string) (time.Duration, error) {
	target := filepath.Join(b.scratch, "copy")
	unix.Sync()
	begun := time.Now()
	for _, command := range [][]string{
		{"cp", "-r", "--reflink=never", "--sparse=never", folder, target},
		{"sync", filepath.Join(target, "stdout"), filepath.Join(target, "result")},
	} {
		if output, err := exec.CommandContext(b.ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%s: %w: %s", command[0], err, output)
		}
	}
	return time.Since(begun), nil
}
