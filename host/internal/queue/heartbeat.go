package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// beat renews the host's leases until ctx is done, and tells the plugins each time
// that the host lives, also while the store is away. It returns an error when
// another life of this host has taken over.
func (q *Queue) beat(ctx context.Context) error {
	tick := time.NewTicker(heartbeatTime)
	defer tick.Stop()
	for {
		asked := time.Now()
		switch err := q.Store.Heartbeat(ctx, q.Host, q.Epoch, leaseTime); {
		case errors.Is(err, store.ErrFenced):
			return fmt.Errorf("another process has started as this host (%s); two must not share one data folder: %w", q.Host, err)
		case ctx.Err() != nil:
			return nil
		case err != nil:
			q.Log.Warn("the leases of this host could not be renewed", "error", err)
			q.Renew(q.Epoch, 0)
		default:
			q.Renew(q.Epoch, leaseTime-heartbeatTime-time.Since(asked))
			q.heedWishes(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// heedWishes stops the attempts whose cancel was asked for on another host, or
// just before they began here.
func (q *Queue) heedWishes(ctx context.Context) {
	wishes, err := q.Store.Canceling(ctx, q.Host, q.Epoch)
	if err != nil {
		q.Log.Warn("wishes to cancel could not be read", "error", err)
		return
	}
	for _, w := range wishes {
		q.stop(w.JobID, &pluginhost.Stop{Reason: pluginhost.StopUser, Message: canceledBy(w.By, pluginhost.StopUser), Grace: q.Grace})
	}
}

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
	select {
	case m.some <- struct{}{}:
	default:
	}
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
