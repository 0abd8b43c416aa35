package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// followedAgain is the longest time from the start of a host's new process to
// where it follows all jobs of the one that was killed.
const followedAgain = 2 * time.Second

// takeOver kills a host with running jobs and measures how soon the next one
// follows them: with one process for all, and one for each.
func (b *bench) takeOver() error {
	for _, isolation := range []pluginhost.Isolation{pluginhost.Shared, pluginhost.PerJob} {
		if err := b.takeOverOf(isolation); err != nil {
			return fmt.Errorf("%s: %w", isolation, err)
		}
	}
	return nil
}

func (b *bench) takeOverOf(isolation pluginhost.Isolation) (err error) {
	const kills, jobs = 5, 100
	r, err := b.rig("over-"+string(isolation), isolation)
	if err != nil {
		return err
	}
	defer r.end(&err)
	var took []time.Duration
	for range kills {
		one, err := b.takeOverOnce(r, jobs)
		if err != nil {
			return err
		}
		took = append(took, one)
	}
	longest := slices.Max(took)
	name := fmt.Sprintf("%s, %d jobs: exec to all followed", isolation, jobs)
	b.add(Figure{Name: name + ", p50", Value: milli(middle(took)), Unit: "ms"})
	b.add(Figure{
		Name: fmt.Sprintf("the same, longest of %d", kills), Value: milli(longest), Unit: "ms",
		Against: "limit of 2 s", Ratio: ratio(longest, followedAgain), Goal: "at most 1",
	})
	return nil
}

// takeOverOnce does so once, and makes sure that each job was begun once and
// ends well.
func (b *bench) takeOverOnce(r *rig, jobs int) (time.Duration, error) {
	file, ledger := filepath.Join(b.scratch, "go"), filepath.Join(b.scratch, "ledger")
	for _, old := range []string{file, ledger} {
		if err := os.RemoveAll(old); err != nil {
			return 0, err
		}
	}
	ids, err := b.beginMany(r, jobs, map[string]any{"until": file, "ledger": ledger})
	if err != nil {
		return 0, err
	}
	if err := r.kill(); err != nil {
		return 0, err
	}
	if err := r.start(b); err != nil {
		return 0, err
	}
	if _, err := b.until("all jobs are followed again", shortPause, func() (bool, error) {
		running, _, err := r.running(b.ctx)
		return running >= jobs, err
	}); err != nil {
		return 0, err
	}
	took := time.Since(r.begun)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return 0, err
	}
	if err := r.finish(b.ctx, ids); err != nil {
		return 0, err
	}
	begun, err := starts(ledger)
	if err == nil && len(begun) != jobs {
		err = fmt.Errorf("%d jobs were begun %d times", jobs, len(begun))
	}
	return took, err
}
