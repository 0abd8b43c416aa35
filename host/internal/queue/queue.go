// Package queue decides when this host runs a job. It holds the host's slots
// and leases: a job that is claimed here runs here, and ends through its lease.
package queue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/spool"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Store keeps jobs and leases.
type Store interface {
	Submit(ctx context.Context, s store.Submission) (*job.Lease, error)
	Claim(ctx context.Context, c store.Claim) ([]job.Claimed, error)
	Started(ctx context.Context, leases []job.Lease, at time.Time) error
	End(ctx context.Context, end job.End) error
	Resume(ctx context.Context, end job.End) (l job.Lease, canceledBy string, err error)
	GiveBack(ctx context.Context, leases []job.Lease) error
	Cancel(ctx context.Context, id job.ID, by string) (store.Cancellation, error)
	Canceling(ctx context.Context, host string, epoch int64) ([]store.CancelWish, error)
	Heartbeat(ctx context.Context, host string, epoch int64, ttl time.Duration, state store.HostState) (clock time.Time, err error)
	StopHost(ctx context.Context, host string, epoch int64) error
	Lapsed(ctx context.Context, self string) ([]string, error)
	Reap(ctx context.Context, self, host string, after job.ID, lostAfter time.Duration) (store.Reaped, error)
	ForgetHosts(ctx context.Context) (int64, error)
	SubmitKeyed(ctx context.Context, s store.Submission, k store.Key) (job.ID, error)
	MustUseLanes(ctx context.Context, host string) (bool, error)
	Backlog(ctx context.Context) (map[string]int, error)
	Due(ctx context.Context) (int, error)
	NextDue(ctx context.Context) (time.Duration, bool, error)
	Expire(ctx context.Context) ([]job.ID, error)
	Retry(ctx context.Context, end job.End, due time.Time) (canceledBy string, err error)
	Adopt(ctx context.Context, host string, epoch int64) ([]job.Claimed, error)
	Leases(ctx context.Context, host string, epoch int64) ([]job.Lease, error)
}

// Runner performs attempts.
type Runner interface {
	// Run calls started before it returns, at most once, when the work begins. An
	// outcome without a status is none: the attempt, or the next one, goes on
	// without this host, or was not begun.
	Run(ctx context.Context, c job.Claimed, started func(time.Time)) (o job.Outcome, done func())
	// Resume goes on with the work of an attempt of another host, as Run does, where
	// this one can; else the outcome says that it is lost.
	Resume(ctx context.Context, c job.Claimed, started func(time.Time)) (o job.Outcome, done func())
	// Recall says what became of an attempt of an earlier life of this host.
	Recall(c job.Claimed) pluginhost.Fate
	// Follow goes on with an attempt that was recalled as known, as Run does.
	Follow(ctx context.Context, c job.Claimed, started func(time.Time)) (o job.Outcome, done func())
	// Lost returns the outcome of an attempt that no plugin knows any more.
	Lost(ctx context.Context, c job.Claimed) (o job.Outcome, done func())
	// Carry hands what an attempt has written to the one that resumes its work.
	Carry(c job.Claimed)
	// Detaches reports whether a job is to go on while the host restarts.
	Detaches(j *job.Job) bool
}

// Spool keeps on disk what the store cannot take now.
type Spool interface {
	Put(r spool.Record) (spool.Ticket, error)
	Done(t spool.Ticket)
	// Left returns what an earlier life of this host has put and not done with.
	Left() []spool.Entry
}

// Word tells other hosts what they would find out by themselves only later.
type Word interface {
	SayWorkWaits()                         // a job waits that a free host may claim
	SayCancelAsked(host string, id job.ID) // the host is to stop a job
	SayEnded(ids ...job.ID)                // jobs have ended
}

// Config is what a queue needs.
type Config struct {
	Store  Store
	Runner Runner
	Spool  Spool         // nil: ends wait in memory only
	Word   Word          // nil: there are no others
	Host   string        // id of this host
	Epoch  int64         // of this life of the host
	Lease  time.Duration // how long the host may run jobs after each heartbeat
	// LostAfter is how long jobs that may not run elsewhere wait for a lost host.
	LostAfter time.Duration
	// Alone says that no other host can have the store, so that nobody takes jobs away.
	Alone bool
	// Clock goes on while the machine sleeps; nil: one that does not. Registered is
	// what it said before the host was registered, for one lease time; 0: just now.
	Clock      func() time.Duration
	Registered time.Duration
	// CanRun reports whether this host can run a job; nil: any.
	CanRun func(j *job.Job) bool
	Slots  int             // attempts that run at once
	Drain  time.Duration   // that running attempts are given when the queue stops
	Hurry  <-chan struct{} // closed: they are given no more
	Grace  time.Duration   // for an orderly stop of one attempt
	// MaxWaiting is how many jobs may wait, of all users together, and
	// MaxWaitingPerUser how many of each; more are refused. 0: any number.
	MaxWaiting        int
	MaxWaitingPerUser int
	Room              func() error                              // is an error while no more jobs may begin here; nil: there always is
	Renew             func(epoch int64, validFor time.Duration) // tells the plugins that the host may go on
	Ended             func(j *job.Job)                          // is called once the end of a job is recorded
	// Delayed is called when a job has ended here, and the store does not take that
	// now, and once more each time that is tried in vain. Ended may follow.
	Delayed func(id job.ID)
	// Recorded is called once an end is recorded that an earlier life has left.
	Recorded func(e job.End)
	// Remains is called once it is recorded that an attempt may have left something
	// outside.
	Remains func()
	// Resumed is called once all attempts of an earlier life were recalled.
	Resumed func()
	// Fenced is called as soon as it is known that the host has lost its right to run.
	Fenced func()
	Log    hclog.Logger
}

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
		c.Recorded = func(job.End) {}
	}
	if c.Word == nil {
		c.Word = nobody{}
	}
	if c.Clock == nil {
		begun := time.Now()
		c.Clock = func() time.Duration { return time.Since(begun) }
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

// nobody is the word of a host without others.
type nobody struct{}

func (nobody) SayWorkWaits()                 {}
func (nobody) SayCancelAsked(string, job.ID) {}
func (nobody) SayEnded(...job.ID)            {}

// Submit records a job. It runs at once when a slot is free and nothing older
// waits; else it waits. When Submit returns without an error, the job is
// durable. It is errs.Limited when too many wait.
func (q *Queue) Submit(ctx context.Context, j *job.Job) error {
	if err := q.limit.check(j.User); err != nil {
		return err
	}
	a := q.hold(j.ID)
	if a == nil {
		return stopping()
	}
	can := q.CanRun(j)
	taken := can && j.StartAfter.IsZero() && !q.full.Load() && q.slots.take(1) == 1
	// The caller may leave, but a record that was begun is seen through, so that
	// a lease which came of it is never without its runner.
	lease, err := q.Store.Submit(context.WithoutCancel(ctx), store.Submission{
		Job: j, Host: q.Host, Epoch: q.Epoch, Claim: taken, Lanes: q.lanes.Load(),
	})
	if lease != nil {
		q.begin(a, job.Claimed{Job: j, Lease: *lease}, q.start)
		return nil
	}
	if taken {
		q.slots.give(1)
	}
	if errors.Is(err, store.ErrUnknown) {
		q.doubts.add(j.ID)
	}
	q.release(j.ID, a)
	if err != nil {
		return err
	}
	q.limit.add(j.User, 1)
	if !j.StartAfter.IsZero() {
		q.later()
		return nil
	}
	q.waits(can)
	return nil
}

// stopping is the answer to a submission once the queue drains.
func stopping() error {
	return &errs.Error{Kind: errs.Unavailable, Message: "this host is stopping and takes no jobs", Retry: 5 * time.Second}
}

// waits makes somebody look for a job that waits now, which this host can run, or
// cannot.
func (q *Queue) waits(can bool) {
	if !can || !q.slots.some() {
		q.Word.SayWorkWaits()
	}
	if can {
		q.more.Store(true)
		q.look()
	}
}

// WorkWaits is what another host says when a job waits that this one may have.
func (q *Queue) WorkWaits() {
	q.more.Store(true)
	if q.slots.some() {
		q.look()
	}
}

// SubmitKeyed records a job whose submission has an idempotency key, or which has a
// unique key, and returns its id, or that of the job for which the key stands
// already. The job waits. It is errs.Limited when too many do.
func (q *Queue) SubmitKeyed(ctx context.Context, j *job.Job, k store.Key) (job.ID, error) {
	if err := q.limit.check(j.User); err != nil {
		return "", err
	}
	a := q.hold(j.ID) // the host does not stop before the answer is known
	if a == nil {
		return "", stopping()
	}
	defer q.release(j.ID, a)
	id, err := q.Store.SubmitKeyed(context.WithoutCancel(ctx), store.Submission{Job: j, Host: q.Host, Epoch: q.Epoch}, k)
	if errors.Is(err, store.ErrUnknown) && k.Text == "" {
		q.doubts.add(j.ID) // with a key, the caller can ask again for the same job
	}
	if err != nil {
		return "", err
	}
	if id == j.ID {
		q.limit.add(j.User, 1)
	}
	if !j.StartAfter.IsZero() {
		q.later()
		return id, nil
	}
	q.waits(q.CanRun(j))
	return id, nil
}

// Cancel asks for the end of a job and returns its status after that: CANCELING
// while it runs, else a final one.
func (q *Queue) Cancel(ctx context.Context, id job.ID, by string, reason pluginhost.StopReason) (job.Status, error) {
	c, err := q.Store.Cancel(ctx, id, by)
	if err != nil {
		return "", err
	}
	switch {
	case c.Status != job.Canceling:
		q.Word.SayEnded(id) // it may be by this
	case c.Host == q.Host:
		q.stop(id, &pluginhost.Stop{Reason: reason, Message: canceledBy(by, reason), Grace: q.Grace})
	default:
		q.Word.SayCancelAsked(c.Host, id)
	}
	return c.Status, nil
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

// claim takes waiting jobs whenever slots are free, until ctx is done.
func (q *Queue) claim(ctx context.Context) {
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	compare := time.NewTicker(q.Lease / beats)
	defer compare.Stop()
	q.measure()
	q.look()
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.wake:
		case <-q.due:
			q.turnOver(ctx)
		case <-poll.C:
			q.measure()
			q.turnOver(ctx)
		case <-compare.C:
			q.settle(ctx)
		}
		for q.claimSome(ctx) {
		}
	}
}

// claimSome claims as many jobs as there are free slots and reports whether more
// may be waiting that fit.
func (q *Queue) claimSome(ctx context.Context) bool {
	if q.full.Load() {
		return false
	}
	n := q.slots.take(mostClaims)
	if n == 0 || ctx.Err() != nil || q.left() <= 0 || !q.withdraw(ctx) {
		q.slots.give(n)
		return false
	}
	q.more.Store(false) // a submission from here on sets it again
	claimed, err := q.Store.Claim(context.WithoutCancel(ctx), store.Claim{Host: q.Host, Epoch: q.Epoch, Most: n, Lanes: q.lanes.Load()})
	if err != nil {
		q.Log.Warn("waiting jobs could not be claimed", "error", err)
	}
	q.slots.give(n - len(claimed))
	q.limit.claimed(claimed)
	for _, c := range claimed {
		run := q.start
		if c.Resume {
			run = q.takeOver
		}
		q.begin(q.hold(c.Job.ID), c, run) // the queue drains only after the last claim
	}
	full := len(claimed) == n || q.lanes.Load() && len(claimed) > 0
	if full {
		q.more.Store(true)
	}
	return full
}

// measure looks whether there is room for more jobs.
func (q *Queue) measure() {
	if q.Room == nil {
		return
	}
	err := q.Room()
	if full := err != nil; q.full.Swap(full) == full {
		return
	}
	if err != nil {
		q.Log.Error("no more jobs are begun here until there is room; those that run go on", "error", err)
		return
	}
	q.Log.Info("there is room again, and jobs are begun")
	q.more.Store(true)
}

// look makes the claim loop look for waiting jobs.
func (q *Queue) look() { signal(q.wake) }

func canceledBy(by string, reason pluginhost.StopReason) string {
	if reason == pluginhost.StopClientGone {
		return "canceled because the caller that waited for it has gone"
	}
	return "canceled by " + by
}
