package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// recover finds the processes of an earlier life of the host. Those that live
// and answer are taken over with the attempts that they know; what is left of
// others is removed.
func (h *Host) recover(ctx context.Context) error {
	entries, err := os.ReadDir(h.runDir())
	if err != nil {
		return fmt.Errorf("read folder of processes: %w", err)
	}
	i := &h.inherited
	i.attempts, i.recalled = map[string]survivor{}, map[string]survivor{}
	i.lost, i.doubtful, i.unsettled = map[string]bool{}, map[string]bool{}, map[string]bool{}
	var wait sync.WaitGroup
	failed := make([]error, len(entries))
	for i, entry := range entries {
		folder := filepath.Join(h.runDir(), entry.Name())
		wait.Go(func() { failed[i] = h.recoverProcess(ctx, folder) })
	}
	wait.Wait()
	return errors.Join(append(failed, h.sweepSockets(), h.sweepGroups())...)
}

// sweepGroups ends what is left in control groups of processes that were not
// taken over.
func (h *Host) sweepGroups() error {
	used := map[string]bool{}
	for _, p := range h.inherited.processes {
		used[p.child.record.Group] = true
	}
	return h.groups.sweep(used, h.times.kill)
}

// sweepSockets removes the folders of sockets that belong to no process which
// was taken over, where they do not lie with the processes.
func (h *Host) sweepSockets() error {
	if h.sockets == h.runDir() {
		return nil
	}
	entries, err := os.ReadDir(h.sockets)
	if err != nil {
		return fmt.Errorf("read folder of sockets: %w", err)
	}
	used := map[string]bool{}
	for _, p := range h.inherited.processes {
		used[p.child.record.Sockets] = true
	}
	for _, entry := range entries {
		if folder := filepath.Join(h.sockets, entry.Name()); !used[folder] {
			err = errors.Join(err, os.RemoveAll(folder))
		}
	}
	return err
}

func (h *Host) recoverProcess(ctx context.Context, folder string) error {
	r, err := readRecord(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return removeProcess(folder) // nothing was ever executed there
	}
	if err != nil {
		h.log.Warn("a process of an earlier life cannot be identified", "error", err)
		return h.forgetProcess(folder, &record{})
	}
	if r.copied(folder) {
		h.log.Warn("data_dir is a copy: a plugin process that it names belongs to the original, with its jobs", "plugin", r.Plugin, "pid", r.PID)
		return h.forgetProcess(folder, r)
	}
	defer func() { h.groups.forget(r.Group) }() // unless something runs in it
	if r.PID == 0 && r.Socket == "" {           // its number was not written down in time
		killStrays(r.Sockets)
		return h.forgetProcess(folder, r)
	}
	fd := r.lives()
	if fd < 0 {
		return h.forgetProcess(folder, r)
	}
	p, err := h.takeOver(ctx, folder, r, fd)
	if err == nil {
		h.log.Info("a plugin process goes on with this life of the host", "plugin", r.Plugin, "pid", r.PID, "digest", r.Digest[:min(12, len(r.Digest))])
		return nil
	}
	unused := r.Socket == "" || errors.Is(err, errUnused)
	if unused {
		h.log.Info("a plugin process of an earlier life had nothing to do yet and is ended", "plugin", r.Plugin, "pid", r.PID, "attempt_id", r.Attempt)
	} else {
		h.log.Warn("a plugin process of an earlier life cannot go on and is killed", "plugin", r.Plugin, "pid", r.PID, "error", err)
	}
	if p == nil {
		defer unix.Close(fd)
		if err := killHeld(fd, r, h.times.kill); err != nil {
			return err
		}
		if err := (&group{path: r.Group}).remove(h.times.kill); err != nil {
			return err
		}
		killStrays(r.Sockets)
	} else {
		p.owed.Add(1) // whatever it was: its record stays
		p.child.signal(unix.SIGKILL)
		p.finish()
	}
	if unused {
		return removeProcess(folder)
	}
	return h.forgetProcess(folder, r)
}

// forgetProcess notes a process that does not live. Unless it had not shaken hands
// yet, it is unknown what became of the attempt that it was to serve, or of any of
// its plugin when it took any; its record stays until that is recorded.
func (h *Host) forgetProcess(folder string, r *record) error {
	if r.Plugin != "" && r.Socket == "" {
		return removeProcess(folder)
	}
	i := &h.inherited
	i.mu.Lock()
	defer i.mu.Unlock()
	if r.Attempt == "" {
		i.lost[r.Plugin] = true
	} else {
		i.doubtful[r.Attempt] = true
	}
	i.dead = append(i.dead, folder)
	return nil
}

func removeProcess(folder string) error {
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("remove folder of an ended process: %w", err)
	}
	return nil
}

// takeOver connects to a living process and learns what it is and does. The
// process is returned also with an error once it holds fd.
func (h *Host) takeOver(ctx context.Context, folder string, r *record, fd int) (*process, error) {
	if r.Socket == "" {
		return nil, errors.New("it had not shaken hands")
	}
	if r.Folder != folder {
		return nil, fmt.Errorf("data_dir was moved here from %s, where it still writes the files of its jobs", filepath.Dir(filepath.Dir(r.Folder)))
	}
	b := found{name: r.Plugin, version: r.Version, path: r.Plugin}.build(h.storeDir(), r.Digest)
	p := h.emptyProcess(b, r.Attempt)
	p.child = &child{
		build: b, folder: folder, log: p.log, record: *r, gone: p.gone,
		dead: make(chan struct{}), exited: make(chan struct{}),
	}
	p.child.rejoin(h.groups)
	if err := p.child.take(fd); err != nil {
		return nil, fmt.Errorf("read what it writes: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, h.times.silent)
	defer cancel()
	if err := p.introduce(ctx, h); err != nil {
		return p, err
	}
	list, err := p.attempts(ctx)
	if err != nil {
		return p, err
	}
	isolation, err := isolate(p.description, h.config.Policies[p.name])
	if err != nil {
		// What the operator wants now is for new attempts; those that run go on.
		if !p.alone() && len(list.GetAttempts()) == 0 {
			return p, fmt.Errorf("%w: %w", errUnused, err)
		}
		isolation = PerJob
	}
	p.isolate(isolation)
	p.begun(ctx, h)

	i := &h.inherited
	i.mu.Lock()
	defer i.mu.Unlock()
	i.processes = append(i.processes, p)
	for _, a := range list.GetAttempts() {
		id := a.GetAttemptId()
		if other := i.attempts[id].process; other != nil { // one of them does not tell the truth
			p.log.Warn("a plugin lists an attempt twice, or one of another process", "attempt_id", id, "pid", r.PID, "known_of", other.child.record.PID)
			continue
		}
		i.attempts[id] = p.survivor(a)
		h.givenUp.Store(id, p)
		p.owed.Add(1)
	}
	return p, nil
}

// killHeld kills a process that fd holds, and its group.
func killHeld(fd int, r *record, wait time.Duration) error {
	// It leads its group, so the group's number is its own as long as it is held.
	_ = unix.Kill(-r.PID, unix.SIGKILL)
	(&group{path: r.Group}).kill()
	_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(wait); ; {
		n, err := unix.Poll(poll, int(max(time.Until(deadline), 0).Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return fmt.Errorf("process %d of plugin %s was left by an earlier life and cannot be killed: end it by hand", r.PID, r.Plugin)
		}
		return nil
	}
}
