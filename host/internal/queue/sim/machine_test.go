package sim_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// machine plays the plugins of one host: what runs there outlives the host's
// process, but for what may run elsewhere.
type machine struct {
	name   string
	ledger *ledger
	disk   *disk

	mu    sync.Mutex
	all   map[name]*execution
	begun map[name]bool
	until time.Time                                  // when the right of the host to run ends, as the plugins know
	save  func(l job.Lease, c *job.Checkpoint) error // of the life that is up
}

// name is that of an attempt.
type name struct {
	id      job.ID
	attempt int
}

func newMachine(called string, l *ledger) *machine {
	return &machine{name: called, ledger: l, disk: newDisk(), all: map[name]*execution{}, begun: map[name]bool{}}
}

// execution is an attempt in a plugin.
type execution struct {
	name
	elsewhere bool             // another host may run the job when this one may not
	stop      chan job.Outcome // what it is to end with
	over      chan struct{}    // closed once outcome is there
	outcome   job.Outcome

	// Those below are guarded by the lock of the machine.
	lease job.Lease
	saved *job.Checkpoint
}

// work is what a job asks its plugin for, in its description.
type work struct {
	length time.Duration
	fails  job.Class // "": it succeeds
	saves  bool      // a checkpoint, half way
}

func (w work) String() string { return fmt.Sprintf("%s %q %t", w.length, w.fails, w.saves) }

func workOf(j *job.Job) (w work) {
	var length string
	_, err := fmt.Sscanf(j.Description, "%s %q %t", &length, &w.fails, &w.saves)
	if err == nil {
		w.length, err = time.ParseDuration(length)
	}
	if err != nil {
		panic(err)
	}
	return w
}

// begin begins an attempt. What its host hears of it is up to that.
func (m *machine) begin(c job.Claimed) *execution {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := &execution{
		name:      name{c.Job.ID, c.Lease.Attempt},
		elsewhere: c.Job.Retry.RunsElsewhere(c.Retries),
		stop:      make(chan job.Outcome, 1),
		over:      make(chan struct{}),
		lease:     c.Lease,
		saved:     c.Checkpoint,
	}
	m.all[e.name], m.begun[e.name] = e, true
	m.ledger.begin(e.id, e.attempt, m.name, c.Resume)
	w := workOf(c.Job)
	if c.Resume || w.saves {
		w.length /= 2 // the other half is done, or comes behind the checkpoint
	}
	// What goes on when the right of its host is over must not be resumed elsewhere
	// meanwhile, so it saves nothing.
	w.saves = w.saves && !c.Resume && e.elsewhere
	go m.run(e, w)
	return e
}

func (m *machine) run(e *execution, w work) {
	outcome, byItself := e.wait(time.After(w.length))
	if byItself && w.saves {
		outcome, byItself = e.wait(m.checkpoint(e))
	}
	if byItself && w.saves {
		outcome, byItself = e.wait(time.After(w.length))
	}
	if byItself {
		outcome = job.Outcome{Status: job.Succeeded}
		if w.fails != "" {
			outcome = failed(w.fails, "the work has failed")
		}
	}
	m.mu.Lock()
	outcome.Checkpoint = e.saved
	outcome.Resumable = outcome.Resumable && e.saved != nil
	m.mu.Unlock()
	how := string(outcome.Status)
	if outcome.Error != nil {
		how += ", " + outcome.Error.Message
	}
	m.ledger.end(e.id, e.attempt, how, byItself)
	e.outcome = outcome
	e.outcome.EndedAt = time.Now()
	close(e.over)
}

// wait waits for its own work, unless it is to stop.
func (e *execution) wait(own <-chan time.Time) (with job.Outcome, byItself bool) {
	select {
	case <-own:
		return with, true
	case with = <-e.stop:
		return with, false
	}
}

// checkpoint has the host save how far an execution is, and says when that is done.
// Where it fails the work goes on all the same.
func (m *machine) checkpoint(e *execution) <-chan time.Time {
	m.mu.Lock()
	save, lease := m.save, e.lease
	m.mu.Unlock()
	done := make(chan time.Time, 1)
	go func() {
		c := &job.Checkpoint{Attempt: e.attempt, Format: 1}
		if save(lease, c) == nil {
			m.mu.Lock()
			e.saved = c
			m.mu.Unlock()
		}
		done <- time.Now()
	}()
	return done
}

func failed(class job.Class, message string) job.Outcome {
	return job.Outcome{Status: job.Failed, Error: &job.Error{Class: class, Message: message}}
}

// kill ends an execution from outside, unless it is at its end already.
func (e *execution) kill(with job.Outcome) {
	select {
	case e.stop <- with:
	default:
	}
}

// hostDies ends what may run elsewhere: a plugin sees that its host is gone.
func (m *machine) hostDies() {
	for _, e := range m.live() {
		if e.elsewhere {
			e.kill(failed(job.Lost, "its host is gone"))
			m.forget(e.name)
		}
	}
}

// crash ends some plugin process with all that runs in it.
func (m *machine) crash(share func() bool) {
	for _, e := range m.live() {
		if share() {
			o := failed(job.Lost, "its plugin crashed")
			o.Resumable = true
			e.kill(o)
		}
	}
}

func (m *machine) live() (live []*execution) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.all {
		select {
		case <-e.over:
		default:
			live = append(live, e)
		}
	}
	return live
}

// renew says how long the host may run jobs.
func (m *machine) renew(validFor time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if validFor > 0 {
		m.until = time.Now().Add(validFor)
	}
}

// watch ends what may run elsewhere once the right to run is over, until ctx is
// done.
func (m *machine) watch(ctx context.Context) {
	for {
		m.mu.Lock()
		left := time.Until(m.until)
		m.mu.Unlock()
		if left <= 0 {
			for _, e := range m.live() {
				if e.elsewhere {
					e.kill(failed(job.Lost, "the host may not run it any more"))
				}
			}
			left = time.Second
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(left):
		}
	}
}

// find returns an execution, and whether it ever began here.
func (m *machine) find(c job.Claimed) (e *execution, begun bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := name{c.Job.ID, c.Lease.Attempt}
	return m.all[n], m.begun[n]
}

func (m *machine) forget(n name) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, n)
}

// mayBegin reports whether the right of the host is not over.
func (m *machine) mayBegin() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Before(m.until)
}

// stopped is the outcome of an execution that was asked to stop.
func stopped(ctx context.Context) (o job.Outcome, detach bool) {
	stop, _ := errors.AsType[*pluginhost.Stop](context.Cause(ctx))
	if stop == nil {
		return failed(job.Internal, fmt.Sprint("stopped without a reason: ", context.Cause(ctx))), false
	}
	switch stop.Reason {
	case pluginhost.StopDetach:
		return job.Outcome{}, true
	case pluginhost.StopUser, pluginhost.StopClientGone:
		return job.Outcome{Status: job.Canceled, Error: &job.Error{Class: job.WasCanceled, Message: stop.Message}}, false
	case pluginhost.StopShutdown:
		return job.Outcome{Status: job.Killed, Error: &job.Error{Class: job.Shutdown, Message: stop.Message}}, false
	}
	return failed(job.Lost, stop.Message), false
}
