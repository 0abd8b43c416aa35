package sdk

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// maxForgotten bounds the ids of acknowledged attempts that are remembered, so
// that a late repeat of a start begins nothing.
const maxForgotten = 8192

// maxEarly bounds the cancels that are remembered for attempts not known yet.
const maxEarly = 1024

// Server is a plugin without the process around it. Serve makes one; tests and
// tools may register one on a gRPC server of their own.
type Server struct {
	description *pluginpb.DescribeResponse
	perform     func(*attempt, any) error
	configure   func([]byte, []*pluginpb.Secret) error
	instances   instances
	log         slog.Handler
	options     []grpc.ServerOption // that the author asked for
	folder      string              // of the socket; "": nobody has said
	idleExit    time.Duration

	mu        sync.Mutex
	attempts  map[string]*attempt
	order     []string            // of attempts, by their start; may name forgotten ones
	forgotten map[string]struct{} // ids of acknowledged attempts
	ring      []string            // the same, oldest at oldest
	oldest    int
	early     map[string]*pluginpb.CancelRequest
	running   int
	draining  bool
	changed   chan struct{} // closed at the next change of running; nil: nobody waits

	forgetful atomic.Bool // the host has said that it keeps no checkpoints
	idleSaves sync.Once   // warns of checkpoints that nobody reads

	configMu   sync.Mutex
	generation int64

	lease lease
}

// Register adds the plugin's services to a gRPC server.
func (s *Server) Register(registrar grpc.ServiceRegistrar) {
	pluginpb.RegisterPluginServiceServer(registrar, &pluginService{Server: s})
	pluginpb.RegisterCommandServiceServer(registrar, &commandService{Server: s})
}

// Shutdown refuses new attempts, stops those that run, waits until all have
// ended or ctx is done, and closes the plugin. Attempts that have not ended when
// ctx is done are killed.
func (s *Server) Shutdown(ctx context.Context, grace time.Duration) {
	s.drain()
	reason := stopError(pluginpb.CancelReason_CANCEL_REASON_SHUTDOWN, "")
	for _, a := range s.list() {
		a.stop(pluginpb.CancelMode_CANCEL_MODE_GRACEFUL, grace, reason)
	}

	if s.waitIdle(ctx) != nil {
		for _, a := range s.list() {
			a.stop(pluginpb.CancelMode_CANCEL_MODE_FORCED, 0, reason)
		}
	}
	s.instances.close()
}

// begin returns the attempt of a request, which it starts unless it is known.
func (s *Server) begin(request *pluginpb.StartRequest) (a *attempt, refused error) {
	id := request.GetAttemptId()
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.attempts[id]; a != nil {
		return a, nil
	}
	if err := s.refuse(id); err != nil {
		return nil, err
	}

	a = newAttempt(s, request)
	s.attempts[id] = a
	s.order = append(s.order, id)
	s.running++
	if cancel := s.early[id]; cancel != nil {
		delete(s.early, id)
		a.obey(cancel)
	}
	go a.run()
	return a, nil
}

// cancel stops an attempt and reports whether it still ran. A cancel may overtake
// the start that it belongs to, because calls are not ordered; it holds then too.
func (s *Server) cancel(request *pluginpb.CancelRequest) bool {
	id := request.GetAttemptId()
	s.mu.Lock()
	a := s.attempts[id]
	_, past := s.forgotten[id]
	if a == nil && !past {
		if len(s.early) >= maxEarly {
			clear(s.early)
		}
		s.early[id] = request
	}
	s.mu.Unlock()

	return a != nil && a.obey(request)
}

// free gives the place of an attempt to another one.
func (s *Server) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
}

// tell tells those who wait for the end of attempts that one has ended.
func (s *Server) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notify()
}

func (s *Server) get(id string) *attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempts[id]
}

// list returns the known attempts in the order of their start.
func (s *Server) list() []*attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*attempt, 0, len(s.attempts))
	for _, id := range s.order {
		if a := s.attempts[id]; a != nil {
			out = append(out, a)
		}
	}
	return out
}

// forget drops an attempt whose end is acknowledged.
func (s *Server) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attempts[id] == nil {
		return
	}
	delete(s.attempts, id)
	if len(s.order) > 2*len(s.attempts)+64 {
		s.order = slices.DeleteFunc(s.order, func(id string) bool { return s.attempts[id] == nil })
	}

	s.forgotten[id] = struct{}{}
	if len(s.ring) < maxForgotten {
		s.ring = append(s.ring, id)
		return
	}
	delete(s.forgotten, s.ring[s.oldest])
	s.ring[s.oldest] = id
	s.oldest = (s.oldest + 1) % maxForgotten
}

func (s *Server) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
}

// active returns the ids of the attempts that run, sorted, and what tells of a
// change.
func (s *Server) active() (ids []string, changed <-chan struct{}) {
	s.mu.Lock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	changed = s.changed
	s.mu.Unlock()

	for _, a := range s.list() {
		if ended, _ := a.log.state(); !ended {
			ids = append(ids, a.id)
		}
	}
	slices.SortFunc(ids, cmp.Compare)
	return ids, changed
}

func (s *Server) waitIdle(ctx context.Context) error {
	for {
		ids, changed := s.active()
		if len(ids) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *Server) notify() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}
