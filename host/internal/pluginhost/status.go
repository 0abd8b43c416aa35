package pluginhost

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// Status is a build of a plugin as it stands, or a file that has none.
type Status struct {
	Name         string
	Version      string // as described; before that as the file name says it
	Digest       string // SHA-256 of the binary, hex; empty when it was not read
	Path         string // the file in the plugin folder; empty when it is gone or holds another build now
	Serves       bool   // it takes new attempts
	State        State
	Since        time.Time // of the state
	Isolation    Isolation // "" before it is known
	PID          int       // 0 when there is no process
	Processes    []Process // those that serve one attempt each, beside the one of PID
	Limits       Limits    // of the process of PID
	Held         Holding   // what holds these
	JobsHeld     Holding   // what holds the limits of attempts
	Running      int       // attempts
	Restarts     []Restart // the latest
	RestartCount int       // all
	Error        string    // why it is not active, one sentence
	Description  *Description
}

// Process is a process of its own that an attempt has.
type Process struct {
	PID     int
	Attempt string
	Since   time.Time
}

// Plugins returns the state of every build and of every file without one, by
// name and then the highest version first.
func (h *Host) Plugins() []Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []Status
	named := map[*supervisor]bool{}
	for path, f := range h.files {
		for _, s := range []*supervisor{f.serves, f.next} {
			if s != nil {
				status := s.snapshot()
				status.Path, status.Serves = path, s == f.serves && status.State == Active
				list = append(list, status)
				named[s] = true
			}
		}
		if f.err != "" {
			list = append(list, Status{
				Name: f.found.name, Version: f.found.version, Path: path,
				State: Failed, Since: f.taken.Modified, Error: f.err,
			})
		}
	}
	for s := range h.builds {
		if status := s.snapshot(); !named[s] && status.State != Stopped {
			list = append(list, status)
		}
	}
	slices.SortFunc(list, func(a, b Status) int {
		va, _ := parseVersion(a.Version)
		vb, _ := parseVersion(b.Version)
		return cmp.Or(cmp.Compare(a.Name, b.Name), vb.compare(va), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Digest, b.Digest))
	})
	return list
}

// snapshot returns the state of a build.
func (s *supervisor) snapshot() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := Status{
		Name:         s.build.name,
		Version:      s.build.version,
		Digest:       s.build.digest,
		State:        s.state,
		Since:        s.since,
		Restarts:     slices.Clone(s.restarts),
		RestartCount: s.count,
		Error:        s.err,
		Isolation:    s.isolates,
		Description:  s.last,
	}
	if s.draining.Load() && s.state == Active {
		status.State = Draining
	}
	if s.last != nil {
		status.Version = s.last.Version
		status.JobsHeld = s.host.jobsHolding(s.isolates, s.last)
	}
	if p := s.current.Load(); p != nil {
		status.PID = p.child.record.PID
		status.Limits, status.Held = p.child.record.Limits, p.child.holding()
		status.Running = int(max(p.running.Load(), 0))
	}
	for _, p := range s.own.all() {
		if status.State == Stopped { // but for these
			status.State = Draining
		}
		status.Running += int(max(p.running.Load(), 0))
		status.Processes = append(status.Processes, Process{PID: p.child.record.PID, Attempt: p.child.record.Attempt, Since: p.since})
	}
	return status
}

// Available returns nil when an attempt on the plugin could start now, else why
// not, in one sentence; errs.Unavailable when that may be over soon. An empty
// version means the newest. A plugin that runs as much as it can is available:
// further attempts wait for their turn.
func (h *Host) Available(plugin, version string) error {
	_, err := h.pick(plugin, version)
	return err
}

// await is pick, but waits for a plugin that starts, or starts again after a
// crash: attempts that were promised must not fail for that.
func (h *Host) await(ctx context.Context, plugin, constraint string) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, h.times.await)
	defer cancel()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		p, err := h.pick(plugin, constraint)
		if !errs.Is(err, errs.Unavailable) {
			return p, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// pick returns the process that serves a plugin: of those whose version is
// allowed, the one of the highest version, then of the last changed file.
func (h *Host) pick(plugin, constraint string) (*process, error) {
	var best *process
	var bestFile time.Time
	services := (*h.serving.Load())[plugin]
	for _, s := range services {
		p := s.process()
		if p == nil {
			continue
		}
		if ok, err := allows(constraint, p.version); err != nil {
			return nil, err
		} else if !ok {
			continue
		}
		if best != nil {
			c := p.version.compare(best.version)
			if c < 0 || c == 0 && s.file.modified.Before(bestFile) {
				continue
			}
		}
		best, bestFile = p, s.file.modified
	}
	if best == nil {
		return nil, unavailable(plugin, constraint, services)
	}
	return best, nil
}

// process returns what can take an attempt now, or nil.
func (s *service) process() *process {
	if s.supervisor == nil || s.draining.Load() {
		return nil
	}
	if p := s.current.Load(); p.alive() {
		return p
	}
	return nil
}

// unavailable says why no process serves a plugin: one that may do so soon comes
// before those that will not, and of these the first in the order of their files.
func unavailable(plugin, constraint string, services []*service) error {
	if len(services) == 0 {
		return fmt.Errorf("no plugin %s is installed on this host", plugin)
	}
	var versions []string
	var fault error
	for _, s := range services {
		if s.supervisor == nil {
			fault = cmp.Or(fault, fmt.Errorf("plugin %s does not run: %s", plugin, s.err))
			continue
		}
		switch status := s.snapshot(); status.State {
		case Active:
			if s.process() == nil {
				return errs.Errorf(errs.Unavailable, "plugin %s has just ended and is to be started again", plugin)
			}
			versions = append(versions, status.Version)
		case Starting:
			return errs.Errorf(errs.Unavailable, "plugin %s is still starting", plugin)
		case Backoff:
			return errs.Errorf(errs.Unavailable, "plugin %s is to be started again: %s", plugin, status.Error)
		default:
			fault = cmp.Or(fault, fmt.Errorf("plugin %s does not run: it is %s: %s", plugin, status.State, status.Error))
		}
	}
	if len(versions) == 0 {
		return fault
	}
	return fmt.Errorf("no version %s of plugin %s runs on this host, only %v", constraint, plugin, versions)
}
