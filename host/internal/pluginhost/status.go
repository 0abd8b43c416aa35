package pluginhost

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// Status is one plugin binary as it stands.
type Status struct {
	Name         string
	Version      string // as described; before that as the file name says it
	Digest       string // SHA-256 of the binary, hex; empty before it was read
	Path         string
	State        State
	Since        time.Time // of the state
	PID          int       // 0 when there is no process
	Running      int       // attempts
	Restarts     []Restart // the latest
	RestartCount int       // all
	Error        string    // why it is not active, one sentence
	Description  *Description
}

// Plugins returns the state of every plugin binary, by name and then the
// highest version first.
func (h *Host) Plugins() []Status {
	var list []Status
	for s := range h.supervisors() {
		list = append(list, s.status())
	}
	slices.SortFunc(list, func(a, b Status) int {
		va, _ := parseVersion(a.Version)
		vb, _ := parseVersion(b.Version)
		return cmp.Or(cmp.Compare(a.Name, b.Name), vb.compare(va), cmp.Compare(a.Path, b.Path))
	})
	return list
}

func (s *supervisor) status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := Status{
		Name:         s.found.name,
		Version:      s.found.version,
		Digest:       s.digest,
		Path:         s.found.path,
		State:        s.state,
		Since:        s.since,
		Restarts:     slices.Clone(s.restarts),
		RestartCount: s.count,
		Error:        s.err,
		Description:  s.last,
	}
	if s.last != nil {
		status.Version = s.last.Version
	}
	if p := s.current.Load(); p != nil {
		status.PID = p.child.record.PID
		status.Running = int(p.running.Load())
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
	candidates := (*h.byName.Load())[plugin]
	for _, s := range candidates {
		p := s.current.Load()
		if p == nil || !p.serves() {
			continue
		}
		if ok, err := allows(constraint, p.version); err != nil {
			return nil, err
		} else if !ok {
			continue
		}
		if best != nil {
			c := p.version.compare(best.version)
			if c < 0 || c == 0 && s.found.modified.Before(bestFile) {
				continue
			}
		}
		best, bestFile = p, s.found.modified
	}
	if best == nil {
		return nil, unavailable(plugin, constraint, candidates)
	}
	return best, nil
}

// unavailable says why no process serves a plugin.
func unavailable(plugin, constraint string, candidates []*supervisor) error {
	if len(candidates) == 0 {
		return fmt.Errorf("no plugin %s is installed on this host", plugin)
	}
	var versions []string
	for _, s := range candidates {
		switch status := s.status(); status.State {
		case Active:
			if p := s.current.Load(); p == nil || !p.serves() {
				return errs.Errorf(errs.Unavailable, "plugin %s has just ended and is to be started again", plugin)
			}
			versions = append(versions, status.Version)
		case Starting:
			return errs.Errorf(errs.Unavailable, "plugin %s is still starting", plugin)
		case Backoff:
			return errs.Errorf(errs.Unavailable, "plugin %s is to be started again: %s", plugin, status.Error)
		default:
			return fmt.Errorf("plugin %s does not run: %s", plugin, status.Error)
		}
	}
	return fmt.Errorf("no version %s of plugin %s is installed on this host, only %v", constraint, plugin, versions)
}
