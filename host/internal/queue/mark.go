package queue

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// marker gathers attempts that have been running for a while and marks them
// RUNNING in the store, many at once.
type marker struct {
	some chan struct{}

	mu     sync.Mutex
	leases []job.Lease
}

func newMarker() *marker { return &marker{some: make(chan struct{}, 1)} }

func (m *marker) add(leases ...job.Lease) {
	m.mu.Lock()
	m.leases = append(m.leases, leases...)
	m.mu.Unlock()
	signal(m.some)
}

func (m *marker) serve(ctx context.Context, s Store, log hclog.Logger) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.some:
		}
		m.mu.Lock()
		leases := m.leases
		m.leases = nil
		m.mu.Unlock()
		if err := s.Started(ctx, leases, time.Now()); err != nil && ctx.Err() == nil {
			log.Warn("jobs could not be marked as running yet", "jobs", len(leases), "error", err)
			m.add(leases...)
			select {
			case <-time.After(markAgain):
			case <-ctx.Done():
			}
		}
	}
}
