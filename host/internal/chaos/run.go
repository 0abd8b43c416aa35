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
func run(ctx context.Context, p plan, progress func(done, of int)) (*report, error) {
	return try(ctx, p, func(ctx context.Context, r *rig) error { return r.work(ctx, progress) })
}

// try makes a rig, lets work be done on it, waits until all that was promised
// meanwhile has ended, and checks what was seen.
func try(ctx context.Context, p plan, work func(context.Context, *rig) error) (_ *report, err error) {
	begun := time.Now()
	r, err := newRig(ctx, p)
	if err != nil {
		return nil, err
	}
	err = r.live(ctx, work)
	if err := errors.Join(err, r.close()); err != nil {
		return nil, err
	}
	return r.judge(begun)
}

func (r *rig) live(ctx context.Context, work func(context.Context, *rig) error) error {
	watching, stopWatch := context.WithCancel(ctx)
	defer stopWatch()
	background, watching := errgroup.WithContext(watching)
	background.Go(func() error { return r.watch(watching, r.scratch) })
	background.Go(func() error { return r.keepUp(watching) })
	err := work(watching, r)
	if err == nil {
		err = r.finish(watching)
	}
	if err == nil {
		err = r.list(watching)
	}
	stopWatch()
	return errors.Join(err, background.Wait())
}

// work lets clients use the hosts while the faults of the schedule are done.
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
	rep := &report{plan: r.plan, history: &r.history, took: time.Since(begun), violations: check(&r.history), fell: r.fell}
	if r.disk != nil {
		rep.disk = r.disk.how()
	}
	for _, h := range r.hosts {
		rep.violations = append(rep.violations, h.faults()...)
	}
	return rep, nil
}
