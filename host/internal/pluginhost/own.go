package pluginhost

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// own are the processes of a build that serve one attempt each.
type own struct {
	mu     sync.Mutex
	list   []*process    // in the order of their start
	held   int           // attempts that have such a process, or are about to
	closed bool          // no attempt gets one any more
	idle   chan struct{} // closed when it is closed and nothing is held
}

// hold lets an attempt have a process until free, unless the build takes no
// more.
func (o *own) hold() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	o.held++
	return true
}

func (o *own) add(p *process) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, p)
}

// free ends what hold began. p is nil when the process did not start.
func (o *own) free(p *process) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held--
	o.list = slices.DeleteFunc(o.list, func(other *process) bool { return other == p })
	if o.closed && o.held == 0 {
		close(o.idle)
	}
}

// retire lets no attempt have a process any more when none has one, and reports
// whether that is so.
func (o *own) retire() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.held > 0 {
		return false
	}
	if !o.closed {
		o.closed = true
		close(o.idle)
	}
	return true
}

// wait lets no attempt have a process any more and waits until none has one.
func (o *own) wait() {
	o.mu.Lock()
	if !o.closed {
		o.closed = true
		if o.held == 0 {
			close(o.idle)
		}
	}
	o.mu.Unlock()
	<-o.idle
}

// all returns the processes.
func (o *own) all() []*process {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.list)
}

// errRetired says that a build takes no more attempts.
var errRetired = errors.New("the build takes no more attempts")

// start starts a process for one attempt. It ends once the end of the attempt is
// durable, or when it is released.
func (s *supervisor) start(ctx context.Context, request *Request) (*process, error) {
	if !s.own.hold() {
		return nil, errRetired
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.host.running, cancel)()
	request.Limits = request.Limits.over(s.host.config.Policies[s.build.name].Limits)
	p, err := s.launchOwn(ctx, request)
	if err != nil {
		s.own.free(nil)
		return nil, err
	}
	s.adopt(p)
	return p, nil
}

// launchOwn tries for as long as an attempt waits for its plugin: the build works,
// so what keeps one process of it from starting is mostly over soon.
func (s *supervisor) launchOwn(ctx context.Context, request *Request) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, s.host.times.await)
	defer cancel()
	for failures := 0; ; failures++ {
		p, err := s.host.launch(ctx, s.build, request.AttemptID, request.Limits)
		_, hopeless := errors.AsType[permanent](err)
		_, tooMuch := errors.AsType[*overLimit](err)
		switch {
		case err == nil, hopeless, tooMuch, ctx.Err() != nil:
			return p, err
		case s.draining.Load():
			return nil, errRetired // its successor may have the attempt
		}
		s.host.log.Warn("the plugin process of a job does not start", "plugin", s.build.name, "attempt_id", request.AttemptID, "error", err)
		if !s.pause(ctx, failures) {
			return nil, err
		}
	}
}

// adopt looks after the process of one attempt, which is held already.
func (s *supervisor) adopt(p *process) {
	p.supervisor = s
	s.own.add(p)
	s.host.wait.Go(func() {
		p.keep(s.host.running)
		s.own.free(p)
		s.host.look()
	})
}

// keep looks after the process of one attempt until it has ended, or is left to
// a later life of the host. What ends it is the end of its attempt, or of ctx.
func (p *process) keep(ctx context.Context) {
	select {
	case <-p.child.exited:
	case <-p.released:
		p.stop("its job has ended", 0)
	case <-ctx.Done():
		if p.outlives() {
			p.disconnect()
			return
		}
		p.stop(hostStops, p.times.drain)
	}
	if !p.stopping.Load() {
		text, _ := p.crash()
		p.log.Error("the plugin process of a job has gone", "attempt_id", p.child.record.Attempt, "pid", p.child.record.PID, "error", text)
	}
	p.finish()
}

// release says that the attempt of a process of its own needs it no more.
func (p *process) release() {
	if p.released != nil {
		p.releaseOnce.Do(func() { close(p.released) })
	}
}

// alone reports whether the process is that of one attempt.
func (p *process) alone() bool { return p.released != nil }
