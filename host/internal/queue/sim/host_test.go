package sim_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/queue"
	"github.com/heimdall-run/heimdall/host/internal/spool"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/store/memstore"
)

// life is one process of a host: a queue with its way to the store, and the runner
// that connects it to the plugins of its machine.
type life struct {
	*machine
	queue  *queue.Queue
	epoch  int64
	way    *memstore.Store
	faults *weather
	dead   chan struct{} // closed: the process was killed
	hurry  chan struct{}
	cancel context.CancelFunc
	served chan error
	off    atomic.Bool // it is cut off from the store

	mu   sync.Mutex
	thaw chan struct{} // nil: it is not frozen
}

// errDead is what a killed process would answer, if it could.
var errDead = errors.New("this host is dead")

// start begins a life of the host of a machine. A process that cannot begin ends, and
// is begun again.
func (w *world) start(m *machine) *life {
	for {
		if l := w.begin(m); l != nil {
			return l
		}
		time.Sleep(time.Second)
	}
}

// begin begins a life; nil when it ends before it has taken over what the one before
// has left.
func (w *world) begin(m *machine) *life {
	l := &life{
		machine: m, way: w.store.Link(), faults: w.weather,
		dead: make(chan struct{}), hurry: make(chan struct{}), served: make(chan error, 1),
	}
	l.way.Befall(l.befall)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	epoch, err := l.way.RegisterHost(ctx, store.Host{ID: m.name, Name: m.name, Slots: slots}, leaseTime)
	if err == nil {
		err = l.way.SetCommands(ctx, m.name, commands())
	}
	if err != nil {
		return nil
	}
	l.epoch = epoch
	m.renew(leaseTime * 4 / 5)
	m.mu.Lock()
	m.save = func(of job.Lease, c *job.Checkpoint) error { return l.way.Checkpoint(context.Background(), of, c) }
	m.mu.Unlock()
	resumed := make(chan struct{})
	l.queue = queue.New(queue.Config{
		Store: l.way, Runner: l, Spool: l.spooler(), Word: word{w}, Host: m.name, Epoch: l.epoch, Slots: slots,
		Lease: leaseTime, LostAfter: lostAfter,
		Drain: 30 * time.Second, Grace: 10 * time.Second, Hurry: l.hurry, Log: hclog.NewNullLogger(),
		Renew:    func(_ int64, validFor time.Duration) { l.renew(validFor) },
		Ended:    func(*job.Job) {},
		Delayed:  func(job.ID) {},
		Recorded: func(spool.Record) {},
		Remains:  func() {},
		Resumed:  func() { close(resumed) },
		Fenced:   func() {},
	})
	go func() { l.served <- l.queue.Serve(ctx) }()
	select {
	case <-resumed:
		return l
	case <-l.served:
		cancel()
		return nil
	}
}

// stop ends the host in good order.
func (l *life) stop() error {
	l.cancel()
	return <-l.served
}

// kill ends the process at once. What is left of its goroutines reaches nothing.
func (l *life) kill() {
	close(l.dead)
	l.hostDies()
	l.cancel()
	close(l.hurry)
	<-l.served
}

// freeze stops the process until the returned function is called. Its plugins go on.
func (l *life) freeze() (thaw func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := make(chan struct{})
	l.thaw = c
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.thaw = nil
		close(c)
	}
}

// awake returns once the process is not frozen; an error when it is dead.
func (l *life) awake() error {
	l.mu.Lock()
	thaw := l.thaw
	l.mu.Unlock()
	if thaw != nil {
		select {
		case <-thaw:
		case <-l.dead:
		}
	}
	select {
	case <-l.dead:
		return errDead
	default:
		return nil
	}
}

// befall is what happens to calls of the store.
func (l *life) befall(call string) memstore.Fault {
	fault := l.faults.on(call)
	before, after := fault.Before, fault.After
	fault.Before = func(ctx context.Context) error {
		if err := l.awake(); err != nil {
			return err
		}
		if l.off.Load() {
			return memstore.Away(ctx)
		}
		if before != nil {
			return before(ctx)
		}
		return nil
	}
	fault.After = func(ctx context.Context) error {
		if err := l.awake(); err != nil {
			return err
		}
		if after != nil {
			return after(ctx)
		}
		return nil
	}
	return fault
}

// nothing is what becomes of an attempt that goes on without this life.
func nothing() (job.Outcome, func()) { return job.Outcome{}, func() {} }

// Resume goes on with the work of an attempt of another host.
func (l *life) Resume(ctx context.Context, c job.Claimed, started func(time.Time)) (job.Outcome, func()) {
	return l.Run(ctx, c, started)
}

// Run begins an attempt in a plugin and waits for its end.
func (l *life) Run(ctx context.Context, c job.Claimed, started func(time.Time)) (job.Outcome, func()) {
	if l.awake() != nil {
		return nothing()
	}
	if ctx.Err() != nil {
		o, detach := stopped(ctx)
		if detach {
			return nothing()
		}
		return o, func() {}
	}
	if !l.mayBegin() {
		return job.Outcome{Unstarted: true}, func() {}
	}
	return l.follow(ctx, l.begin(c), started)
}

func (l *life) follow(ctx context.Context, e *execution, started func(time.Time)) (job.Outcome, func()) {
	started(time.Now())
	select {
	case <-e.over:
	case <-l.dead:
		return nothing()
	case <-ctx.Done():
		if l.awake() != nil {
			return nothing()
		}
		o, detach := stopped(ctx)
		if detach {
			return nothing()
		}
		e.kill(o)
		<-e.over
	}
	if l.awake() != nil {
		return nothing()
	}
	return e.outcome, func() {
		if l.awake() == nil {
			l.forget(e.name)
		}
	}
}

// Follow waits for the end of an attempt that was begun in an earlier life.
func (l *life) Follow(ctx context.Context, c job.Claimed, started func(time.Time)) (job.Outcome, func()) {
	e, _ := l.find(c)
	if e == nil || l.awake() != nil {
		return nothing()
	}
	l.machine.mu.Lock()
	e.lease = c.Lease
	l.machine.mu.Unlock()
	return l.follow(ctx, e, started)
}

// Recall says what the plugins know.
func (l *life) Recall(c job.Claimed) pluginhost.Fate {
	switch e, begun := l.find(c); {
	case e != nil:
		return pluginhost.Known
	case !begun:
		return pluginhost.Unbegun
	}
	return pluginhost.Unknown
}

// Lost is the outcome of an attempt that is gone.
func (l *life) Lost(_ context.Context, c job.Claimed) (job.Outcome, func()) {
	o := failed(job.Lost, "the plugin is gone")
	o.Checkpoint, o.Resumable = c.Checkpoint, c.Checkpoint != nil
	return o, func() {}
}

// Carry has nothing to hand on.
func (l *life) Carry(job.Claimed) {}

// Detaches is true of jobs that may not be started again.
func (l *life) Detaches(j *job.Job) bool { return j.Retry == nil }

// submit hands a job to the queue, as a caller of this host does. What a dead host
// says nobody hears.
func (l *life) submit(j *job.Job, k store.Key) error {
	var err error
	if k.Text != "" || j.UniqueKey != "" {
		_, err = l.queue.SubmitKeyed(context.Background(), j, k)
	} else {
		err = l.queue.Submit(context.Background(), j)
	}
	if dead := l.awake(); dead != nil {
		return errs.Errorf(errs.Unavailable, "%w", dead)
	}
	return err
}
