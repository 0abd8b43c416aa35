package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	if q.full.Load() {
		return store.Full
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
