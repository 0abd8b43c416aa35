package main

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// run does what the plan says, and returns what came of it. The rig is stopped by
// then.
func run(ctx context.Context, p plan, progress func(done, of int)) (rep *report, err error) {
	begun := time.Now()
	r, err := newRig(ctx, p)
	if err != nil {
		return nil, err
	}
	closed := false
	defer func() {
		if !closed {
			err = errors.Join(err, r.close())
		}
	}()
	if err := r.live(ctx, progress); err != nil {
		return nil, err
	}
	closed = true
	if err := r.close(); err != nil {
		return nil, err
	}
	return r.judge(begun)
}

// live lets clients work on the rig while faults are done to it, and then until
// all that they were promised has ended.
func (r *rig) live(ctx context.Context, progress func(done, of int)) error {
	watching, stopWatch := context.WithCancel(ctx)
	defer stopWatch()
	background, watching := errgroup.WithContext(watching)
	background.Go(func() error { return r.watch(watching, r.scratch) })
	err := r.work(watching, progress)
	if err == nil {
		r.mu.Lock()
		r.settled = time.Now()
		r.mu.Unlock()
		err = r.finish(watching)
	}
	if err == nil {
		err = r.list(watching)
	}
	stopWatch()
	return errors.Join(err, background.Wait())
}

func (r *rig) work(ctx context.Context, progress func(done, of int)) error {
	working, stop := context.WithCancel(ctx)
	defer stop()
	clients, working := errgroup.WithContext(working)
	for n := range r.clients {
		clients.Go(func() error { return r.submit(working, n) })
	}
	clients.Go(func() error { return r.read(working) })
	err := r.disturb(working, progress)
	stop()
	return errors.Join(err, clients.Wait())
}

// judge checks what was seen.
func (r *rig) judge(begun time.Time) (*report, error) {
	ledger, err := os.ReadFile(r.ledger)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	if err := r.addLedger(string(ledger)); err != nil {
		return nil, err
	}
	rep := &report{plan: r.plan, history: &r.history, took: time.Since(begun), violations: check(&r.history)}
	if r.disk != nil {
		rep.disk = r.disk.how()
	}
	for _, h := range r.hosts {
		rep.violations = append(rep.violations, h.faults()...)
	}
	return rep, nil
}
