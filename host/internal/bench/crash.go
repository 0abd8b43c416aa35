package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// noticed is the longest time from the death of a process to the end of its
// attempt, with the cause.
const noticed = 50 * time.Millisecond

// crash measures how long it takes until an attempt ends whose process was
// killed.
func (b *bench) crash() error {
	const kills = 100
	for _, c := range []struct {
		name  string
		crash func(data string) (time.Duration, error)
	}{
		{"a process of this life", b.crashOwn},
		{"a process taken over", b.crashTakenOver},
	} {
		var took []time.Duration
		for range kills {
			one, err := c.crash(filepath.Join(b.scratch, "crash"))
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			took = append(took, one)
		}
		slices.Sort(took)
		b.add(Figure{Name: "crash of " + c.name + ", p50", Value: milli(took[kills/2]), Unit: "ms"})
		p99 := took[kills*99/100-1] // the second longest of 100
		b.add(Figure{
			Name: "crash of " + c.name + ", p99", Value: milli(p99), Unit: "ms",
			Against: "limit of 50 ms", Ratio: ratio(p99, noticed), Goal: "under 1",
		})
	}
	return nil
}

// crashOwn kills the process of an attempt. The host is a new one each time: a
// build that crashes again and again is made to wait.
func (b *bench) crashOwn(data string) (took time.Duration, err error) {
	h, err := b.embed(filepath.Dir(b.faulty()), data, nil)
	if err != nil {
		return 0, err
	}
	defer h.end(&err)
	r, err := request("faulty", string(job.NewID()), data, map[string]any{"hang": true})
	if err != nil {
		return 0, err
	}
	return b.killUnder(h, func(s *sink) *pluginhost.Ended { return h.Run(b.ctx, r, s) })
}

// crashTakenOver does so in a host that has not started the process.
func (b *bench) crashTakenOver(data string) (took time.Duration, err error) {
	r, err := request("faulty", string(job.NewID()), data, map[string]any{"hang": true})
	if err != nil {
		return 0, err
	}
	if err := b.detach(r, data); err != nil {
		return 0, err
	}
	h, err := b.embed(filepath.Dir(b.faulty()), data, nil)
	if err != nil {
		return 0, err
	}
	defer h.end(&err)
	if fate := h.Recall(r.Plugin, r.AttemptID); fate != pluginhost.Known {
		return 0, fmt.Errorf("the attempt of the host before is not known: %v", fate)
	}
	h.Disown()
	return b.killUnder(h, func(s *sink) *pluginhost.Ended { return h.Follow(b.ctx, r, s) })
}

// detach runs an attempt in a host that ends before it.
func (b *bench) detach(r pluginhost.Request, data string) error {
	h, err := b.embed(filepath.Dir(b.faulty()), data, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(b.ctx)
	defer cancel(nil)
	s, done := newSink(), make(chan *pluginhost.Ended, 1)
	go func() { done <- h.Run(ctx, r, s) }()
	var ended *pluginhost.Ended
	select {
	case <-s.begun:
		cancel(&pluginhost.Stop{Reason: pluginhost.StopDetach})
		ended = <-done
	case ended = <-done:
	}
	if err := h.close(); err != nil || ended.Left {
		return err
	}
	return fmt.Errorf("the attempt ended instead of being left: %v", ended.Error)
}

// killUnder runs an attempt, kills its process, and returns the time until the
// attempt ended.
func (b *bench) killUnder(h *embedded, run func(*sink) *pluginhost.Ended) (time.Duration, error) {
	s, done := newSink(), make(chan *pluginhost.Ended, 1)
	go func() { done <- run(s) }()
	select {
	case <-s.begun:
	case ended := <-done:
		return 0, fmt.Errorf("the attempt ended before its process was killed: %v", ended.Error)
	}
	pid, err := h.pid()
	if err != nil {
		return 0, err
	}
	killed := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return 0, err
	}
	ended := <-done
	took := time.Since(killed)
	ended.Ack()
	if ended.Error == nil || ended.Error.Class != job.Lost {
		return 0, fmt.Errorf("the attempt of a killed process ended with %v", ended.Error)
	}
	return took, nil
}
