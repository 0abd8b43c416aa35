package queue_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/queue"
	"github.com/heimdall-run/heimdall/host/internal/spool"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/store/memstore"
)

const (
	host  = "this-host"
	epoch = 3 // of the life that is tested
)

// fixture is a queue that is being served inside a synctest bubble.
type fixture struct {
	*queue.Queue
	t       *testing.T
	store   *memstore.Store // another way than that of the queue: no faults befall it
	way     *memstore.Store // that of the queue
	runner  *timed
	earlier int64 // the epoch of the life before
	ended   map[job.ID]*job.Job
	renews  int // that extend the right
	heard   int // others, which say that the host lives
	resumed int
	fenced  int
	remains int
	delayed []job.ID
	left    []job.ID     // of an earlier life, that were recorded
	asleep  atomic.Int64 // that the machine was, nanoseconds
	calls   int          // that work waits
	cancels []job.ID     // that another host was told of
	told    []job.ID     // ends that others were told of
	fates   []string     // of attempts, as the observer hears of them
	mu      sync.Mutex
	hurry   chan struct{}
	cancel  func()       // begins to stop
	stop    func() error // and waits for the end
}

func serve(t *testing.T, slots int) *fixture {
	f := fixtureOf(t, slots)
	f.serve()
	return f
}

// fixtureOf returns a queue that is not served yet, of a host whose earlier life has
// just ended.
func fixtureOf(t *testing.T, slots int) *fixture {
	f := newFixture(t, slots, memstore.New(), epoch)
	for f.earlier < epoch-1 {
		f.earlier = f.register()
	}
	return f
}

// next returns the queue of the next life of the host, with the same faults.
func (f *fixture) next() *fixture {
	return newFixture(f.t, f.Slots, f.way, f.Epoch+1)
}

func newFixture(t *testing.T, slots int, way *memstore.Store, epoch int64) *fixture {
	begun := time.Now()
	f := &fixture{
		t: t, store: way.Link(), way: way, runner: &timed{fates: map[job.ID]pluginhost.Fate{}},
		ended: map[job.ID]*job.Job{}, hurry: make(chan struct{}),
	}
	f.Queue = queue.New(queue.Config{
		Store: way, Runner: f.runner, Word: f, Host: host, Epoch: epoch, Slots: slots,
		Lease: 10 * time.Second, LostAfter: 15 * time.Minute,
		Clock: func() time.Duration { return time.Since(begun) + time.Duration(f.asleep.Load()) },
		Drain: 30 * time.Second, Grace: 10 * time.Second, Hurry: f.hurry, Log: hclog.NewNullLogger(),
		Observer: listener{f},
		Renew: func(of int64, validFor time.Duration) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if validFor == 0 {
				f.heard++
				return
			}
			f.renews++
			if of != epoch || validFor > 8*time.Second || validFor < 0 {
				t.Errorf("Renew(%d, %v), want epoch %d and at most 8s", of, validFor, epoch)
			}
		},
		Fenced:  func() { f.mu.Lock(); defer f.mu.Unlock(); f.fenced++ },
		Resumed: func() { f.mu.Lock(); defer f.mu.Unlock(); f.resumed++ },
		Ended:   func(j *job.Job) { f.mu.Lock(); defer f.mu.Unlock(); f.ended[j.ID] = j },
		Remains: func() { f.mu.Lock(); defer f.mu.Unlock(); f.remains++ },
		Delayed: func(id job.ID) { f.mu.Lock(); defer f.mu.Unlock(); f.delayed = append(f.delayed, id) },
		Recorded: func(r spool.Record) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.left = append(f.left, r.End.JobID)
		},
	})
	return f
}

// listener notes what becomes of attempts.
type listener struct{ f *fixture }

func (l listener) note(c job.Claimed, fate string) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	l.f.fates = append(l.f.fates, fmt.Sprintf("%d %s", c.Lease.Attempt, fate))
}

func (l listener) Ended(c job.Claimed, o job.Outcome, again bool) {
	fate := string(o.Status)
	if again {
		fate += ", again"
	}
	l.note(c, fate)
}

func (l listener) Resumed(c job.Claimed, _ job.Outcome) { l.note(c, "resumed") }
func (listener) Submitted(*job.Job)                     {}
func (listener) Waited(*job.Job, time.Duration)         {}
func (listener) Passed(job.Status, int)                 {}
func (listener) Taken(int, int)                         {}

// SayWorkWaits counts.
func (f *fixture) SayWorkWaits() { f.mu.Lock(); defer f.mu.Unlock(); f.calls++ }

// SayCancelAsked notes which job is to stop elsewhere.
func (f *fixture) SayCancelAsked(_ string, id job.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancels = append(f.cancels, id)
}

// SayEnded notes which jobs have ended.
func (f *fixture) SayEnded(ids ...job.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, ids...)
}

// register starts the host once more, as far as the store knows.
func (f *fixture) register() int64 {
	f.t.Helper()
	epoch, err := f.store.RegisterHost(f.t.Context(), store.Host{ID: host}, 10*time.Second)
	if err == nil {
		err = f.store.SetCommands(f.t.Context(), host, []string{"command"})
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return epoch
}

func (f *fixture) serve() {
	f.register()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx) }()
	f.cancel = cancel
	f.stop = func() error { cancel(); return <-served }
	synctest.Wait() // it has adopted what was left
}

// away lets the store be away, or be back.
func (f *fixture) away(away bool) {
	f.way.Befall(func(string) (fault memstore.Fault) {
		if away {
			fault.Before = memstore.Away
		}
		return fault
	})
}

// lose loses the answer to the next of these calls.
func (f *fixture) lose(calls ...string) {
	var once sync.Once
	f.way.Befall(func(call string) (fault memstore.Fault) {
		if slices.Contains(calls, call) {
			once.Do(func() { fault.After = memstore.Lost })
		}
		return fault
	})
}

// hold holds back the answers to one kind of call until the returned function is called.
func (f *fixture) hold(name string) (release func()) {
	held := make(chan struct{})
	f.way.Befall(func(call string) (fault memstore.Fault) {
		if call == name {
			fault.After = memstore.Until(held)
		}
		return fault
	})
	return func() { close(held) }
}

// newJob returns a job that runs for so long.
func newJob(length string) *job.Job {
	return &job.Job{ID: job.NewID(), Request: job.Request{Description: length}, Pair: job.Pair{CommandID: "command"}}
}

func submit(t *testing.T, f *fixture, length string) job.ID {
	t.Helper()
	j := newJob(length)
	if err := f.Submit(t.Context(), j); err != nil {
		t.Fatalf("Submit: %v", err)
	}
	return j.ID
}

// job returns what the store has of a job.
func (f *fixture) job(id job.ID) *job.Job {
	f.t.Helper()
	j, err := f.store.Job(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	return j
}

// succeeded returns how many jobs have.
func (f *fixture) succeeded() int {
	f.t.Helper()
	page, err := f.store.Jobs(f.t.Context(), job.Filter{Statuses: []job.Status{job.Succeeded}, Limit: 10000})
	if err != nil {
		f.t.Fatal(err)
	}
	return len(page.Jobs)
}

// left is a job that the earlier life of the host has left behind.
type left struct {
	status  job.Status
	attempt int // beyond the first: it goes on from a checkpoint
	saved   bool
	fate    pluginhost.Fate
}

// leave has the earlier life leave a job behind.
func (f *fixture) leave(l left) job.ID {
	f.t.Helper()
	j := newJob("5s")
	lease, err := f.store.Submit(f.t.Context(), store.Submission{Job: j, Host: host, Epoch: f.earlier, Claim: true})
	if err != nil || lease == nil {
		f.t.Fatalf("the earlier life got lease %v and error %v", lease, err)
	}
	check := func(err error) {
		if err != nil {
			f.t.Fatal(err)
		}
	}
	if l.saved {
		check(f.store.Checkpoint(f.t.Context(), *lease, &job.Checkpoint{}))
	}
	for lease.Attempt < l.attempt {
		next, _, err := f.store.Resume(f.t.Context(), job.End{Lease: *lease, Outcome: job.Outcome{Status: job.Failed}})
		check(err)
		lease = &next
	}
	if l.status != job.Accepted {
		check(f.store.Started(f.t.Context(), []job.Lease{*lease}, time.Now()))
	}
	if l.status == job.Canceling {
		_, err := f.store.Cancel(f.t.Context(), j.ID, "alice")
		check(err)
	}
	f.runner.fates[j.ID] = l.fate
	return j.ID
}
