// Package queue decides when this host runs a job. It holds the host's slots
// and leases: a job that is claimed here runs here, and ends through its lease.
package queue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/spool"
)

// Times of the queue.
const (
	pollTime     = time.Second            // between looks for waiting jobs that nobody announced
	startedAfter = 200 * time.Millisecond // jobs that end sooner are never marked RUNNING
	markAgain    = time.Second            // after jobs could not be marked
	mostClaims   = 256                    // in one statement
)

// Queue runs jobs in the slots of this host.
type Queue struct {
	Config
	slots    *slots
	wake     chan struct{} // a waiting job may fit now
	due      chan struct{} // the time of a job has come
	nextDue  *time.Timer   // until that of the next one; of the claim loop
	more     atomic.Bool   // jobs may be waiting
	full     atomic.Bool   // nothing is begun here, for want of room
	lanes    atomic.Bool   // what waits is to be claimed by lanes
	late     chan struct{} // closed: ends that are spooled wait for the store no longer
	giveUp   chan struct{} // closed: no end waits for it
	starts   *marker
	doubts   doubts
	right    right
	told     chan bool     // plugins are to hear of the last heartbeat, and whether it succeeded
	asked    chan struct{} // somebody has asked to cancel jobs of this host
	seen     chan struct{} // a heartbeat succeeded
	astir    chan struct{} // what this host says of itself has changed
	limit    *limit
	attempts sync.WaitGroup // those that are held

	mu       sync.Mutex
	running  map[job.ID]*attempt
	draining bool
}

// New returns a queue. It runs nothing before Serve.
func New(c Config) *Queue {
	if c.Delayed == nil {
		c.Delayed = func(job.ID) {}
	}
	if c.Recorded == nil {
		c.Recorded = func(spool.Record) {}
	}
	if c.Word == nil {
		c.Word = nobody{}
	}
	if c.Clock == nil {
		begun := time.Now()
		c.Clock = func() time.Duration { return time.Since(begun) }
	}
	if c.Observer == nil {
		c.Observer = unobserved{}
	}
	if c.CanRun == nil {
		c.CanRun = func(*job.Job) bool { return true }
	}
	q := &Queue{
		Config:  c,
		slots:   newSlots(c.Slots),
		wake:    make(chan struct{}, 1),
		due:     make(chan struct{}, 1),
		late:    make(chan struct{}),
		told:    make(chan bool, 1),
		asked:   make(chan struct{}, 1),
		seen:    make(chan struct{}, 1),
		astir:   make(chan struct{}, 1),
		giveUp:  make(chan struct{}),
		starts:  newMarker(),
		limit:   newLimit(c.MaxWaiting, c.MaxWaitingPerUser),
		running: map[job.ID]*attempt{},
	}
	q.lanes.Store(true) // until it is known that there is no need
	q.right.renewed = make(chan struct{}, 1)
	if c.Registered == 0 {
		c.Registered = c.Clock()
	}
	q.right.until = c.Registered + c.Lease - c.Lease/beats
	return q
}

// Serve claims and runs jobs until ctx is done. Then it drains: it claims no
// more, waits for what runs, and after the drain time stops that as well. It
// returns when nothing runs any more, or with an error when the host has lost
// its right to run.
func (q *Queue) Serve(ctx context.Context) error {
	// Leases are renewed until the last attempt has ended.
	alive, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if left := q.left(); left > 0 {
		q.Renew(q.Epoch, left) // what is begun before the first heartbeat has its bounds, too
	}
	group, working := errgroup.WithContext(alive)
	group.Go(func() error {
		err := q.beat(working)
		if err != nil {
			q.Fenced()
		}
		return err
	})
	group.Go(func() error { return q.starts.serve(working, q.Store, q.Log) })
	for _, serve := range []func(context.Context){q.tell, q.guard, q.heed, q.reap, q.count} {
		group.Go(func() error {
			serve(working)
			return nil
		})
	}
	group.Go(func() error {
		defer stop()
		claiming, cancel := context.WithCancel(ctx)
		defer cancel()
		context.AfterFunc(working, cancel) // the host has lost its right to run
		err := q.resume(claiming)
		if err == nil {
			q.claim(claiming)
		}
		q.drain(working)
		return err
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	q.leave(context.WithoutCancel(ctx))
	return nil
}
