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

// beats is how many heartbeats a lease lasts. The host gives its right up one beat
// before it ends: what another may run is to have stopped by then.
const beats = 5

// beat renews the host's right to run jobs until ctx is done. It returns an error
// when another life of this host has taken over.
func (q *Queue) beat(ctx context.Context) error {
	tick := time.NewTicker(q.Lease / beats)
	defer tick.Stop()
	for {
		err := q.pulse(ctx)
		switch {
		case errors.Is(err, store.ErrFenced):
			return fmt.Errorf("another process has started as this host (%s); two must not share one data folder: %w", q.Host, err)
		case ctx.Err() != nil:
			return nil
		case err != nil:
			q.Log.Warn("the leases of this host could not be renewed", "error", err)
		default:
			signal(q.seen)
			signal(q.asked)
		}
		select { // only the last one counts
		case <-q.told:
		default:
		}
		q.told <- err == nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-q.astir:
		}
	}
}

// pulse is one heartbeat.
func (q *Queue) pulse(ctx context.Context) error {
	asked, at := q.Clock(), time.Now()
	if q.left() <= 0 { // the machine, or this process, has slept
		q.lapse()
	}
	ctx, cancel := context.WithTimeout(ctx, q.Lease/2)
	defer cancel()
	clock, err := q.Store.Heartbeat(ctx, q.Host, q.Epoch, q.Lease, q.state())
	if err != nil {
		q.right.interrupted()
		return err
	}
	q.right.renew(asked, q.Lease)
	q.right.compare(clock, at, time.Now())
	return nil
}

func (q *Queue) state() store.HostState {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.draining {
		return store.Draining
	}
	return store.Live
}

// tell passes each heartbeat on to the plugins, also that the host lives while the
// store is away. It takes its time where one hangs, so heartbeats do not wait for it.
func (q *Queue) tell(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case renewed := <-q.told:
			left := time.Duration(0)
			if renewed {
				left = max(q.left(), 0)
			}
			q.Renew(q.Epoch, left)
		}
	}
}

// heed looks for wishes to cancel whenever there may be some.
func (q *Queue) heed(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.asked:
			q.heedWishes(ctx)
		}
	}
}

// CancelAsked is what another host says when somebody has asked there to cancel a
// job that this one has.
func (q *Queue) CancelAsked() { signal(q.asked) }

// leaveTime bounds the last word of a host.
const leaveTime = 2 * time.Second

// leave says that the host has ended in good order.
func (q *Queue) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	if err := q.Store.StopHost(ctx, q.Host, q.Epoch); err != nil {
		q.Log.Warn("the stop of this host could not be recorded; it counts as lost soon", "error", err)
	}
}

// signal wakes whoever waits at a channel, now or next.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// heedWishes stops the attempts whose cancel was asked for on another host, or
// just before they began here.
func (q *Queue) heedWishes(ctx context.Context) {
	wishes, err := q.Store.Canceling(ctx, q.Host, q.Epoch)
	if ctx.Err() != nil {
		return
	}
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
