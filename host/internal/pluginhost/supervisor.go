package pluginhost

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// State is what a plugin does at the moment.
type State string

// The states of a plugin.
const (
	Starting State = "starting" // being verified, started and described
	Active   State = "active"   // works
	Backoff  State = "backoff"  // failed, and will be started again
	Failed   State = "failed"   // cannot work until its file is changed
	Stopped  State = "stopped"  // the host stops
)

// maxRestarts is how many restarts are remembered.
const maxRestarts = 20

// Restart is one restart of a crashed plugin.
type Restart struct {
	At     time.Time
	Reason string
}

// permanent marks a fault that another try cannot mend.
type permanent struct{ error }

// Unwrap returns the fault.
func (p permanent) Unwrap() error { return p.error }

// supervisor keeps one file of the plugin folder running.
type supervisor struct {
	host    *Host
	found   found
	settled chan struct{} // closed when it was active or failed for the first time

	current atomic.Pointer[process] // nil unless Active

	mu       sync.Mutex
	state    State
	since    time.Time // of the state
	digest   string
	last     *Description // of the latest process
	restarts []Restart    // the latest
	count    int          // of all restarts
	err      string       // why it is not Active
}

func newSupervisor(h *Host, f found) *supervisor {
	return &supervisor{host: h, found: f, settled: make(chan struct{}), state: Starting, since: time.Now()}
}

// serve runs the plugin until ctx is done or it turns out that it cannot run.
func (s *supervisor) serve(ctx context.Context) {
	settle := sync.OnceFunc(func() { close(s.settled) })
	defer settle()
	for failures := 0; ; failures++ {
		p, err := s.launch(ctx)
		if ctx.Err() != nil && err != nil {
			s.set(Stopped, hostStops)
			return
		}
		if err != nil {
			fault := permanent{}
			if errors.As(err, &fault) {
				s.host.log.Error("a plugin cannot be used", "plugin", s.found.name, "path", s.found.path, "error", err)
				s.set(Failed, err.Error())
				return
			}
			s.host.log.Error("a plugin does not start", "plugin", s.found.name, "path", s.found.path, "error", err)
		} else {
			s.activate(p)
			settle()
			err = s.watch(ctx, p)
			if err == nil {
				s.set(Stopped, hostStops)
				return
			}
			s.host.log.Error("a plugin has gone", "plugin", s.found.name, "error", err)
			if time.Since(p.since) >= s.host.times.healthy {
				failures = 0
			}
		}
		s.set(Backoff, err.Error())
		settle()
		if !s.pause(ctx, failures) {
			s.set(Stopped, hostStops)
			return
		}
		s.restarting(err)
	}
}

func (s *supervisor) launch(ctx context.Context) (*process, error) {
	if s.found.err != nil {
		return nil, permanent{s.found.err}
	}
	b, err := keep(s.host.storeDir(), s.found)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.digest = b.digest
	s.mu.Unlock()
	return s.host.launch(ctx, s.found, b)
}

func (s *supervisor) activate(p *process) {
	s.mu.Lock()
	s.last = p.description
	s.mu.Unlock()
	s.set(Active, "")
	s.current.Store(p)
	p.log.Info("a plugin is active", "version", p.description.Version, "digest", p.build.digest[:12], "pid", p.child.record.PID)
}

// watch waits until the process has ended, and returns why; or until ctx is
// done, and stops it.
func (s *supervisor) watch(ctx context.Context, p *process) error {
	var err error
	select {
	case <-p.child.exited:
		text, _ := p.crash()
		err = errors.New(text)
	case <-ctx.Done():
		p.stop(hostStops, p.times.drain)
	}
	s.current.Store(nil)
	p.finish()
	return err
}

// pause waits a random time that grows with the failures. It reports false when
// ctx is done before.
func (s *supervisor) pause(ctx context.Context, failures int) bool {
	longest := min(s.host.times.backoff<<min(failures, 20), s.host.times.longest)
	timer := time.NewTimer(rand.N(longest))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *supervisor) set(state State, err string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.err, s.since = state, err, time.Now()
}

func (s *supervisor) restarting(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.since = Starting, time.Now()
	s.count++
	if len(s.restarts) == maxRestarts {
		s.restarts = append(s.restarts[:0], s.restarts[1:]...)
	}
	s.restarts = append(s.restarts, Restart{At: time.Now(), Reason: reason.Error()})
}
