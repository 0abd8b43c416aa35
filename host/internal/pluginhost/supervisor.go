package pluginhost

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// State is what a build of a plugin does at the moment.
type State string

// The states of a build.
const (
	Starting    State = "starting"    // being started and described
	Active      State = "active"      // works
	Backoff     State = "backoff"     // has failed, and will be started again
	Quarantined State = "quarantined" // has crashed too often: stays down until its file is changed
	Failed      State = "failed"      // cannot work until its file is changed
	Draining    State = "draining"    // takes nothing more; ends when its attempts have
	Stopped     State = "stopped"     // has ended
)

// maxRestarts is how many restarts are remembered.
const maxRestarts = 20

// Restart is one restart of a crashed build.
type Restart struct {
	At     time.Time
	Reason string
}

// permanent marks a fault that another try cannot mend.
type permanent struct{ error }

// Unwrap returns the fault.
func (p permanent) Unwrap() error { return p.error }

// supervisor keeps a process of one build running.
type supervisor struct {
	host    *Host
	build   build
	cancel  context.CancelFunc
	settled chan struct{} // closed when it was active or failed for the first time
	done    chan struct{} // closed when it has stopped

	current  atomic.Pointer[process] // nil unless Active or Draining
	own      own                     // beside it, where attempts have processes of their own
	draining atomic.Bool             // it takes no attempts

	mu       sync.Mutex
	state    State
	since    time.Time // of the state
	last     *Description
	isolates Isolation // how it is to be run; "" before that is known
	restarts []Restart // the latest
	count    int       // of all restarts
	err      string    // why it is not Active
	drained  string    // why it drains; "" when it does not
}

// supervise begins to keep a build running, with the processes that an earlier
// life of the host has left of it.
func (h *Host) supervise(ctx context.Context, b build, left *legacy) *supervisor {
	ctx, cancel := context.WithCancel(ctx)
	s := h.newSupervisor(b, cancel, left)
	h.wait.Go(func() {
		defer close(s.done)
		defer s.host.look()
		s.serve(ctx, left.shared)
		s.own.wait()
	})
	return s
}

// retain keeps what an earlier life has left of a build, and starts nothing. It
// is to be drained.
func (h *Host) retain(ctx context.Context, left *legacy) *supervisor {
	if left.shared != nil {
		return h.supervise(ctx, left.build, left)
	}
	s := h.newSupervisor(left.build, func() {}, left)
	s.state, s.last, s.isolates = Stopped, left.own[0].description, PerJob
	close(s.settled)
	h.wait.Go(func() {
		defer close(s.done)
		defer s.host.look()
		s.own.wait()
	})
	return s
}

func (h *Host) newSupervisor(b build, cancel context.CancelFunc, left *legacy) *supervisor {
	s := &supervisor{
		host: h, build: b, cancel: cancel,
		settled: make(chan struct{}), done: make(chan struct{}),
		state: Starting, since: time.Now(),
		own: own{idle: make(chan struct{})},
	}
	if left.shared != nil {
		s.activate(left.shared) // at once: its attempts are followed
	}
	for _, p := range left.own {
		s.own.hold()
		s.adopt(p)
	}
	return s
}

// serve runs the build until ctx is done or it turns out that it cannot run.
func (s *supervisor) serve(ctx context.Context, p *process) {
	settle := sync.OnceFunc(func() { close(s.settled) })
	defer settle()
	for failures := 0; ; failures++ {
		var err error
		why := didNotStart
		if p == nil {
			p, err = s.host.launch(ctx, s.build, "", s.host.config.Policies[s.build.name].Limits)
		}
		switch {
		case ctx.Err() != nil && err != nil:
			s.set(Stopped, hostStops)
			return
		case err != nil:
			if fault := (permanent{}); errors.As(err, &fault) {
				s.host.log.Error("a plugin cannot be used", "plugin", s.build.name, "path", s.build.source, "error", err)
				s.set(Failed, err.Error())
				return
			}
			s.host.log.Error("a plugin does not start", "plugin", s.build.name, "path", s.build.source, "error", err)
		default:
			s.activate(p)
			settle()
			if err = s.watch(ctx, p); err == nil {
				s.set(Stopped, hostStops)
				return
			}
			why = p.downfall()
			s.host.log.Error("a plugin has gone", "plugin", s.build.name, "error", err)
			if time.Since(p.since) >= s.host.times.healthy {
				failures = 0
			}
			p = nil
		}
		if s.draining.Load() {
			s.set(Stopped, err.Error())
			return
		}
		if failures >= s.host.times.crashes {
			s.host.log.Error("a plugin is quarantined: it has crashed too often", "plugin", s.build.name, "path", s.build.source, "error", err)
			s.set(Quarantined, err.Error())
			return
		}
		s.set(Backoff, err.Error())
		settle()
		if !s.pause(ctx, failures) {
			s.set(Stopped, hostStops)
			return
		}
		s.restarting(err)
		s.host.config.Observer.Restarted(s.build.name, why)
	}
}

func (s *supervisor) activate(p *process) {
	if s.current.Load() == p {
		return
	}
	p.supervisor = s
	s.current.Store(p)
	s.mu.Lock()
	s.last, s.isolates = p.description, p.isolation
	s.mu.Unlock()
	s.set(Active, "")
	time.AfterFunc(s.host.times.proven, s.host.look) // it may displace another one from then on
	p.log.Info("a plugin is active", "version", p.description.Version, "digest", p.build.digest[:12], "pid", p.child.record.PID, "isolation", p.isolation)
}

// watch waits until the process has ended, and returns why; or until ctx is
// done, and stops it.
func (s *supervisor) watch(ctx context.Context, p *process) error {
	select {
	case <-p.child.exited:
		text, _ := p.crash()
		s.current.Store(nil)
		p.finish()
		return errors.New(text)
	case <-ctx.Done():
	}
	if p.child.foreign {
		p.acks.flush(context.Background())
		p.part()
		return nil
	}
	if p.outlives() {
		p.disconnect()
		return nil
	}
	p.stop(s.reason(), p.times.drain)
	s.current.Store(nil)
	p.finish()
	return nil
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
	s.host.look()
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

// works reports whether the build has been active for so long.
func (s *supervisor) works(proven time.Duration) bool {
	p := s.current.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.alive() && s.state == Active && time.Since(s.since) >= proven
}

// ended reports whether the build does not run and will not be started again.
func (s *supervisor) ended() bool {
	switch s.snapshot().State {
	case Failed, Quarantined, Stopped:
		return true
	}
	return false
}

// drain lets the build take no more attempts, and stops it for a reason once
// those that it runs have ended. It returns at once.
func (s *supervisor) drain(reason string) {
	if s.draining.Swap(true) {
		return
	}
	s.mu.Lock()
	s.drained = reason
	s.mu.Unlock()
	s.host.wait.Go(func() {
		defer s.cancel()
		tick := time.NewTicker(drainLook)
		defer tick.Stop()
		for {
			if p := s.current.Load(); (p == nil || p.retire()) && s.own.retire() {
				return
			}
			select {
			case <-s.done:
				return
			case <-tick.C:
			}
		}
	})
}

// reason returns why its processes are stopped.
func (s *supervisor) reason() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drained != "" && s.host.running.Err() == nil {
		return s.drained
	}
	return hostStops
}

// drainLook is the time between looks whether a build that drains is idle.
const drainLook = 50 * time.Millisecond
