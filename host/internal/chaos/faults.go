package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

// kind is a kind of fault.
type kind string

// The kinds of faults.
const (
	killHost        kind = "host killed"
	freezeHost      kind = "host frozen"
	stopHost        kind = "host restarted"
	killPlugin      kind = "plugin killed"
	restartPostgres kind = "PostgreSQL restarted"
	killPostgres    kind = "PostgreSQL killed"
	cutBefore       kind = "cut before commit"
	cutAfter        kind = "cut after commit"
	fillDisk        kind = "disk full"
)

// kinds are all of them, in the order of the table.
var kinds = []kind{killHost, freezeHost, stopHost, killPlugin, restartPostgres, killPostgres, cutBefore, cutAfter, fillDisk}

// of reports whether a fault can be done to hosts on a store.
func (k kind) of(store string) bool {
	return store == "postgres" || !slices.Contains([]kind{restartPostgres, killPostgres, cutBefore, cutAfter}, k)
}

// cutTime is how long a connection that is to be cut may write nothing.
const cutTime = 10 * time.Second

// mostKills is how many times in a row a plugin may be killed before its host is
// killed, too: one that crashes again and again is not started any more.
const mostKills = 4

// inject does a fault, and returns when the system has been put right again.
func (r *rig) inject(ctx context.Context, f fault) error {
	h := r.hosts[f.host]
	switch f.kind {
	case restartPostgres, killPostgres:
		return r.breakPostgres(ctx, f)
	case cutBefore, cutAfter:
		return r.cut(ctx, f)
	case fillDisk:
		h = r.disk.host
	}
	h.busy.Lock()
	defer h.busy.Unlock()
	switch f.kind {
	case killHost:
		r.fault("host %s is killed", h.name)
		if err := h.kill(); err != nil {
			return err
		}
		return r.again(ctx, h, f.hold)
	case stopHost:
		r.fault("host %s is told to stop", h.name)
		if err := h.end(syscall.SIGTERM); err != nil {
			return err
		}
		return r.again(ctx, h, f.hold)
	case freezeHost:
		return r.freeze(ctx, h, r.lease+f.hold)
	case killPlugin:
		return r.killPlugin(ctx, h, f)
	case fillDisk:
		return r.fill(ctx, h, f.hold)
	}
	return fmt.Errorf("there is no fault %q", f.kind)
}

// again starts a host that has ended, after a while.
func (r *rig) again(ctx context.Context, h *host, after time.Duration) error {
	if err := pause(ctx, after); err != nil {
		return err
	}
	err := h.start(ctx)
	if err == nil {
		r.fault("host %s is back", h.name)
	}
	return err
}

// keepUp starts hosts that have ended by themselves, as any supervisor does, until
// ctx is done.
func (r *rig) keepUp(ctx context.Context) error {
	for {
		for _, h := range r.hosts {
			if !h.fell() {
				continue
			}
			r.fell = append(r.fell, h.name+": "+h.lastWord())
			r.fault("host %s has ended by itself: %s", h.name, h.lastWord())
			if err := h.start(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
		if pause(ctx, lookTime) != nil {
			return nil
		}
	}
}

func (r *rig) freeze(ctx context.Context, h *host, length time.Duration) error {
	r.fault("host %s is frozen for %v", h.name, length)
	if err := h.freeze(ctx); err != nil {
		return errors.Join(err, h.thaw())
	}
	paused := pause(ctx, length)
	r.fault("host %s is thawed", h.name)
	return errors.Join(h.thaw(), paused)
}

func (r *rig) killPlugin(ctx context.Context, h *host, f fault) error {
	var pids []int
	if err := until(ctx, "host "+h.name+" has a plugin", func() (bool, error) {
		var err error
		pids, err = pluginsOf(h.folder)
		return len(pids) > 0, err
	}); err != nil {
		return err
	}
	slices.Sort(pids)
	pid := pids[f.pick(len(pids))]
	r.fault("the plugin of host %s, process %d, is killed", h.name, pid)
	h.mu.Lock()
	heard := h.since
	h.mu.Unlock()
	r.kill(pid, heard)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	h.mu.Lock()
	h.kills++
	often := h.kills >= mostKills
	h.mu.Unlock()
	if !often {
		return nil
	}
	r.fault("host %s is killed, so that it forgets how often its plugin was", h.name)
	if err := h.kill(); err != nil {
		return err
	}
	return r.again(ctx, h, 0)
}

func (r *rig) fill(ctx context.Context, h *host, length time.Duration) error {
	r.fault("the disk of host %s is full for %v, by %s", h.name, length, r.disk.how())
	if err := r.disk.fill(); err != nil {
		return err
	}
	paused := pause(ctx, length)
	r.fault("the disk of host %s has room", h.name)
	return errors.Join(r.disk.free(), paused)
}

func (r *rig) breakPostgres(ctx context.Context, f fault) error {
	p := r.postgres
	p.busy.Lock()
	defer p.busy.Unlock()
	switch {
	case f.kind == restartPostgres:
		r.fault("PostgreSQL is shut down at once")
		if err := p.end(syscall.SIGQUIT); err != nil {
			return err
		}
	case f.pick(2) == 0:
		r.fault("PostgreSQL is killed")
		if err := p.end(syscall.SIGKILL); err != nil {
			return err
		}
	default:
		r.fault("a process of PostgreSQL is killed")
		if err := p.killWorker(ctx, f.pick); err != nil {
			return err
		}
	}
	if err := pause(ctx, f.hold); err != nil {
		return err
	}
	if err := p.start(ctx); err != nil {
		return err
	}
	r.fault("PostgreSQL is back")
	return nil
}

func (r *rig) cut(ctx context.Context, f fault) error {
	h := r.hosts[f.host]
	h.busy.Lock() // one that is down writes nothing
	defer h.busy.Unlock()
	wrote, err := r.proxies[f.host].cut(ctx, f.kind == cutAfter, "", cutTime)
	if err != nil {
		return fmt.Errorf("cut a connection of host %s: %w", h.name, err)
	}
	r.fault("%s of host %s: %.60s", f.kind, h.name, strings.Join(strings.Fields(wrote), " "))
	return nil
}

// pause lets time pass.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// until waits until something is so.
func until(ctx context.Context, what string, so func() (bool, error)) error {
	deadline := time.Now().Add(readyTime)
	for {
		ok, err := so()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it was not so within %v: %s", readyTime, what)
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}
