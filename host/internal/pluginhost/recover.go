package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"golang.org/x/sys/unix"
)

// recoverTime bounds how long a living process of an earlier life may take to
// answer.
const recoverTime = 5 * time.Second

// inherited is what an earlier life of the host has left.
type inherited struct {
	mu        sync.Mutex
	processes []*process          // that live and answer, in no order
	attempts  map[string]*process // that they know, by id
	recalled  map[string]*process // those that are going to be followed
	lost      bool                // there were processes that do not live any more
}

// recover finds the processes of an earlier life of the host. Those that live
// and answer are taken over with the attempts that they know; what is left of
// others is removed.
func (h *Host) recover(ctx context.Context) error {
	entries, err := os.ReadDir(h.runDir())
	if err != nil {
		return fmt.Errorf("read folder of processes: %w", err)
	}
	h.inherited.attempts, h.inherited.recalled = map[string]*process{}, map[string]*process{}
	var wait sync.WaitGroup
	failed := make([]error, len(entries))
	for i, entry := range entries {
		folder := filepath.Join(h.runDir(), entry.Name())
		wait.Go(func() { failed[i] = h.recoverProcess(ctx, folder) })
	}
	wait.Wait()
	return errors.Join(append(failed, h.sweepSockets())...)
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
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			h.log.Warn("a process of an earlier life cannot be identified", "error", err)
		}
		return h.forgetProcess(folder)
	}
	if r.copied(folder) {
		h.log.Warn("data_dir is a copy: a plugin process that it names belongs to the original, with its jobs", "plugin", r.Plugin, "pid", r.PID)
		return h.forgetProcess(folder)
	}
	fd := r.lives()
	if fd < 0 {
		return h.forgetProcess(folder)
	}
	p, err := h.takeOver(ctx, folder, r, fd)
	if err == nil {
		h.log.Info("a plugin process goes on with this life of the host", "plugin", r.Plugin, "pid", r.PID, "digest", r.Digest[:min(12, len(r.Digest))])
		return nil
	}
	h.log.Warn("a plugin process of an earlier life cannot go on and is killed", "plugin", r.Plugin, "pid", r.PID, "error", err)
	if p == nil {
		defer unix.Close(fd)
		if err := killHeld(fd, r, h.times.kill); err != nil {
			return err
		}
		killStrays(r.Sockets)
		return h.forgetProcess(folder)
	}
	p.child.signal(unix.SIGKILL)
	p.finish()
	return h.forgetProcess(folder)
}

// forgetProcess removes what a process has left that does not live.
func (h *Host) forgetProcess(folder string) error {
	h.inherited.mu.Lock()
	h.inherited.lost = true
	h.inherited.mu.Unlock()
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
	p := &process{name: r.Plugin, build: b, times: h.times, log: h.log.With("plugin", r.Plugin), gone: make(chan struct{})}
	p.child = &child{
		build: b, folder: folder, log: p.log, record: *r,
		dead: make(chan struct{}), exited: make(chan struct{}),
	}
	if err := p.child.take(fd); err != nil {
		return nil, fmt.Errorf("read what it writes: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, recoverTime)
	defer cancel()
	if err := p.introduce(ctx, h); err != nil {
		return p, err
	}
	list, err := p.plugins.List(ctx, &pluginpb.ListRequest{})
	if err != nil {
		return p, fmt.Errorf("it does not list its attempts: %s", sentence(err))
	}
	p.begun(ctx, h)

	i := &h.inherited
	i.mu.Lock()
	defer i.mu.Unlock()
	i.processes = append(i.processes, p)
	for _, a := range list.GetAttempts() {
		id := a.GetAttemptId()
		if other := i.attempts[id]; other != nil { // one of them does not tell the truth
			p.log.Warn("a plugin lists an attempt twice, or one of another process", "attempt", id, "pid", r.PID, "known_of", other.child.record.PID)
			continue
		}
		i.attempts[id] = p
		p.owed.Add(1)
	}
	return p, nil
}

// killHeld kills a process that fd holds, and its group.
func killHeld(fd int, r *record, wait time.Duration) error {
	// It leads its group, so the group's number is its own as long as it is held.
	_ = unix.Kill(-r.PID, unix.SIGKILL)
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

// inherit returns the process of a build that an earlier life has started, if
// there is one, and removes it from those that nobody has taken.
func (h *Host) inherit(b build) *process {
	i := &h.inherited
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, p := range i.processes {
		if p.build.digest == b.digest && p.name == b.name && p.build.version == b.version {
			i.processes = slices.Delete(i.processes, n, n+1)
			return p
		}
	}
	return nil
}

// Fate is what is known of an attempt that an earlier life of the host was to
// run.
type Fate int

// The fates of attempts.
const (
	Unknown Fate = iota // a process that may have run it is gone
	Unbegun             // no process has ever begun it
	Known               // a living process runs it, or knows its end: Follow it
)

// Recall says what became of an attempt of an earlier life of this host. It is
// to be asked before the first Run. One that is known must be followed.
func (h *Host) Recall(attempt string) Fate {
	i := &h.inherited
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.attempts[attempt] != nil:
		i.recalled[attempt] = i.attempts[attempt]
		delete(i.attempts, attempt)
		return Known
	case i.lost:
		return Unknown
	}
	return Unbegun
}

// Follow goes on with an attempt that Recall has called known, as Run does with
// one that it has begun: all that was not acknowledged is reported again. The
// request's timeout is what is left of it; the plugin keeps the deadline as well.
func (h *Host) Follow(ctx context.Context, request Request, sink Sink) *Ended {
	i := &h.inherited
	i.mu.Lock()
	p := i.recalled[request.AttemptID]
	delete(i.recalled, request.AttemptID)
	i.mu.Unlock()
	if p == nil {
		return notStarted("lost", "the plugin process that ran the job is not known")
	}
	p.running.Add(1)
	defer p.running.Add(-1)
	x := newExecution(p, &request, sink)
	return x.run(ctx, request.Folders, x.watch)
}

// Disown ends what living processes of an earlier life still run, or keep, that
// was not recalled: the host's records say that it is over. It is called once,
// after the last Recall; it does not wait.
func (h *Host) Disown() {
	i := &h.inherited
	i.mu.Lock()
	defer i.mu.Unlock()
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(&Stop{Reason: StopLeaseLost, Message: "the host does not know the job any more"})
	for id, p := range i.attempts {
		x := &execution{process: p, attempt: id, request: &pluginpb.StartRequest{}, sink: ignore{}}
		p.running.Add(1)
		h.wait.Go(func() {
			defer p.running.Add(-1)
			x.run(ctx, Folders{}, x.watch).Ack()
		})
	}
	clear(i.attempts)
}

// ignore takes in what is of no use to anybody.
type ignore struct{}

func (ignore) Started(time.Time)                 {}
func (ignore) Progress(float64, float64, string) {}
func (ignore) Output(job.Output)                 {}
func (ignore) Usage(string, float64)             {}
func (ignore) Checkpoint(int32, []byte) error    { return nil }
func (ignore) Truncated(job.Stream, int64)       {}
