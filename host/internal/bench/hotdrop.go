package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// takesOver is the longest time from the last write of a replacement to the
// first job that runs on it.
const takesOver = 2 * time.Second

// hotDrop measures how soon a replaced plugin serves, first of an idle host.
func (b *bench) hotDrop() (err error) {
	r, err := b.rig("hot-drop", pluginhost.Shared)
	if err != nil {
		return err
	}
	defer r.end(&err)
	d, err := b.dropper(r)
	if err != nil {
		return err
	}
	took, err := d.replaceMany(10)
	if err != nil {
		return err
	}
	b.addDrop("replaced when idle", took)
	return b.dropUnderLoad(r, d)
}

func (b *bench) addDrop(what string, took []time.Duration) {
	longest := slices.Max(took)
	b.add(Figure{Name: what + ": write to first job, p50", Value: milli(middle(took)), Unit: "ms"})
	b.add(Figure{
		Name: what + fmt.Sprintf(": the same, longest of %d", len(took)), Value: milli(longest), Unit: "ms",
		Against: "limit of 2 s", Ratio: ratio(longest, takesOver), Goal: "at most 1",
	})
}

// dropper replaces the plugin of a host.
type dropper struct {
	bench  *bench
	rig    *rig
	binary []byte
	count  int
	pid    string // of the process that serves
}

func (b *bench) dropper(r *rig) (*dropper, error) {
	binary, err := os.ReadFile(b.faulty())
	if err != nil {
		return nil, err
	}
	d := &dropper{bench: b, rig: r, binary: binary}
	d.pid, err = d.serving()
	return d, err
}

// serving returns the process that a new job runs in.
func (d *dropper) serving() (string, error) {
	ledger := filepath.Join(d.bench.scratch, "ledger")
	_ = os.Remove(ledger)
	if err := d.rig.run(d.bench.ctx, map[string]any{"ledger": ledger}); err != nil {
		return "", err
	}
	pids, err := starts(ledger)
	if err != nil || len(pids) != 1 {
		return "", fmt.Errorf("one job has left the starts %v: %w", pids, err)
	}
	return pids[0], nil
}

func (d *dropper) replaceMany(times int) (took []time.Duration, err error) {
	for range times {
		one, err := d.replace()
		if err != nil {
			return nil, err
		}
		took = append(took, one)
	}
	return took, nil
}

// replace drops another build in, by turns as cp does and by rename, and returns
// the time from the last write to the end of the first job that ran on it.
func (d *dropper) replace() (time.Duration, error) {
	d.count++
	// A loader does not mind what follows the sections.
	build := bytes.Join([][]byte{d.binary, []byte(strconv.Itoa(d.count))}, nil)
	path := filepath.Join(d.rig.deployment.plugins, "heimdall-plugin-faulty")
	target := path
	if d.count%2 == 0 {
		target += ".new"
	}
	if err := os.WriteFile(target, build, 0o755); err != nil {
		return 0, err
	}
	if target != path {
		if err := os.Rename(target, path); err != nil {
			return 0, err
		}
	}
	return d.bench.until("the new build runs a job", shortPause, func() (bool, error) {
		pid, err := d.serving()
		before := d.pid
		d.pid = pid
		return pid != before, err
	})
}

// dropUnderLoad replaces the plugin again and again while jobs run that were
// begun before, and others come and go all the time. None may fail.
func (b *bench) dropUnderLoad(r *rig, d *dropper) error {
	const long, replacements = 200, 20
	file, ledger := filepath.Join(b.scratch, "go"), filepath.Join(b.scratch, "ledger-under-load")
	ids, err := b.beginMany(r, long, map[string]any{"until": file, "ledger": ledger})
	if err != nil {
		return err
	}
	quick := func(ctx context.Context) error { return r.run(ctx, map[string]any{"ledger": ledger}) }
	slow := func(ctx context.Context) error { return r.run(ctx, map[string]any{"ledger": ledger, "sleep": "1s"}) }
	calm, err := drivePart(b.ctx, 4, b.length, quick)
	if err != nil {
		return err
	}

	var over atomic.Bool
	var streams errgroup.Group
	var quickLoad, slowLoad load
	streams.Go(func() (err error) { quickLoad, err = driveUntil(b.ctx, 4, over.Load, quick); return err })
	streams.Go(func() (err error) { slowLoad, err = driveUntil(b.ctx, 16, over.Load, slow); return err })
	took, err := d.replaceMany(replacements)
	over.Store(true)
	err = errors.Join(err, streams.Wait(), os.WriteFile(file, nil, 0o600))
	released := time.Now()
	if err := errors.Join(err, r.finish(b.ctx, ids)); err != nil {
		return err
	}
	_, err = b.until("the old builds are gone", shortPause, func() (bool, error) {
		_, builds, err := r.running(b.ctx)
		processes, listErr := os.ReadDir(filepath.Join(r.deployment.data, "run"))
		return builds == 1 && len(processes) == 1, errors.Join(err, listErr)
	})
	gone := time.Since(released)
	if err != nil {
		return err
	}
	pids, err := starts(ledger)
	if err != nil {
		return err
	}
	slices.Sort(pids)

	b.addDrop("replaced while 200 jobs run", took)
	b.add(Figure{Name: "jobs meanwhile, none of which failed", Value: float64(long + quickLoad.calls + slowLoad.calls), Unit: "jobs"})
	b.add(Figure{Name: "builds that ran them", Value: float64(len(slices.Compact(pids))), Unit: "builds", Goal: fmt.Sprint(replacements + 1)})
	b.add(Figure{Name: "200 jobs told to end: old builds gone after", Value: milli(gone), Unit: "ms"})
	b.add(Figure{
		Name: "quick jobs meanwhile, p99", Value: milli(quickLoad.p99), Unit: "ms",
		Against: "p99 without replacements", Ratio: ratio(quickLoad.p99, calm.p99),
	})
	return nil
}

// beginMany begins jobs that do not end, and waits until they run.
func (b *bench) beginMany(r *rig, n int, input map[string]any) (ids []string, err error) {
	for range n {
		id, err := r.begin(b.ctx, input)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	_, err = b.until("the jobs run", shortPause, func() (bool, error) {
		jobs, _, err := r.running(b.ctx)
		return jobs >= n, err
	})
	return ids, err
}
