package pluginhost

import (
	"cmp"
	"fmt"
	"slices"
	"time"
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
// not, in one sentence. An empty version means the newest.
func (h *Host) Available(plugin, version string) error {
	p, err := h.pick(plugin, version)
	if err != nil {
		return err
	}
	if p.slots != nil && len(p.slots) == cap(p.slots) {
		return fmt.Errorf("plugin %s runs as many jobs as it can at once (%d)", plugin, cap(p.slots))
	}
	return nil
}

// pick returns the process that serves a plugin: of those whose version is
// allowed, the one of the highest version, then of the last changed file.
func (h *Host) pick(plugin, constraint string) (*process, error) {
	var best *process
	var bestFile time.Time
	candidates := (*h.byName.Load())[plugin]
	for _, s := range candidates {
		p := s.current.Load()
		if p == nil || p.stopping.Load() {
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
			versions = append(versions, status.Version)
		case Starting:
			return fmt.Errorf("plugin %s is still starting", plugin)
		default:
			return fmt.Errorf("plugin %s does not run: %s", plugin, status.Error)
		}
	}
	return fmt.Errorf("no version %s of plugin %s is installed on this host, only %v", constraint, plugin, versions)
}
