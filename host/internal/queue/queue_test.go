package queue_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/queue"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// memory is a store of one host in memory.
type memory struct {
	mu       sync.Mutex
	waiting  []*job.Job
	leased   map[job.ID]*job.Job
	wishes   map[job.ID]string
	started  []job.ID
	ends     map[job.ID]job.Outcome
	adopted  []job.Claimed
	given    []job.ID
	away     error          // what every statement answers while the store is away
	lost     bool           // the answer to the next submit, claim or resume is
	numbers  map[job.ID]int // of the attempts that resume
	refused  error          // what the next end is answered
	slow     chan struct{}  // what a submit waits for, once it is recorded; nil: nothing
	fenced   bool
	state    store.HostState       // what the host last said
	skew     time.Duration         // of the store's clock
	lapsed   map[string][]*job.Job // what lost hosts have
	reaped   []time.Time
	retried  []job.ID
	leasedTo map[job.ID]string // other hosts
	again    map[job.ID]int    // the next attempt of a job that waits; missing: the first
}

// answer passes on an error of a write that was done, or loses the answer. The
// caller holds the lock.
func (m *memory) answer() error {
	if m.lost {
		m.lost = false
		return &errs.Error{Kind: errs.Unavailable, Message: "away", Err: store.ErrUnknown}
	}
	return m.away
}

func newMemory() *memory {
	return &memory{leased: map[job.ID]*job.Job{}, wishes: map[job.ID]string{}, ends: map[job.ID]job.Outcome{}, numbers: map[job.ID]int{}, again: map[job.ID]int{}}
}

func (m *memory) Submit(_ context.Context, s store.Submission) (*job.Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away != nil {
		return nil, m.away
	}
	if s.Claim && len(m.waiting) == 0 {
		m.leased[s.Job.ID] = s.Job
		m.wait()
		if err := m.answer(); err != nil {
			return nil, err
		}
		return &job.Lease{JobID: s.Job.ID, Attempt: 1, HostID: s.Host, Epoch: s.Epoch}, nil
	}
	m.waiting = append(m.waiting, s.Job)
	m.wait()
	return nil, m.answer()
}

// wait holds the answer to a submit back. The caller holds the lock.
func (m *memory) wait() {
	if slow := m.slow; slow != nil {
		m.mu.Unlock()
		<-slow
		m.mu.Lock()
	}
}

func (m *memory) SubmitKeyed(context.Context, store.Submission, store.Key) (job.ID, error) {
	return "", errors.ErrUnsupported
}

func (m *memory) MustUseLanes(context.Context, string) (bool, error)   { return false, nil }
func (m *memory) Due(context.Context) (int, error)                     { return 0, nil }
func (m *memory) NextDue(context.Context) (time.Duration, bool, error) { return 0, false, nil }
func (m *memory) Expire(context.Context) ([]job.ID, error)             { return nil, nil }
func (m *memory) Retry(_ context.Context, e job.End, _ time.Time) (by string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.leased[e.JobID]
	switch {
	case m.away != nil:
		return "", m.away
	case j == nil || m.again[e.JobID] > e.Attempt:
		return "", store.ErrLeaseLost
	}
	m.retried = append(m.retried, e.JobID)
	m.take(e.JobID)
	return "", nil
}

// take makes a leased job wait for another attempt. The caller holds the lock.
func (m *memory) take(id job.ID) {
	m.waiting = append(m.waiting, m.leased[id])
	delete(m.leased, id)
	m.again[id] = max(m.again[id], 1) + 1
}

func (m *memory) Claim(_ context.Context, c store.Claim) (claimed []job.Claimed, err error) {
	host, epoch, n := c.Host, c.Epoch, c.Most
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.waiting) > 0 && len(claimed) < n && m.away == nil {
		j := m.waiting[0]
		m.waiting = m.waiting[1:]
		m.leased[j.ID] = j
		attempt := max(m.again[j.ID], 1)
		claimed = append(claimed, job.Claimed{Job: j, Lease: job.Lease{JobID: j.ID, Attempt: attempt, HostID: host, Epoch: epoch}, Retries: attempt - 1})
	}
	if err := m.answer(); err != nil {
		return nil, err
	}
	return claimed, nil
}

func (m *memory) Leases(_ context.Context, host string, epoch int64) (leases []job.Lease, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range m.leased {
		leases = append(leases, job.Lease{JobID: id, Attempt: 1, HostID: host, Epoch: epoch})
	}
	return leases, m.away
}

func (m *memory) GiveBack(_ context.Context, leases []job.Lease) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range leases {
		if m.numbers[l.JobID] > 0 {
			continue // a job that is resumed has started
		}
		j := m.leased[l.JobID]
		delete(m.leased, l.JobID)
		m.given = append(m.given, l.JobID)
		if by, wished := m.wishes[l.JobID]; wished {
			m.ends[l.JobID] = job.Outcome{Status: job.Canceled, Error: &job.Error{Message: "canceled by " + by}}
		} else if j != nil {
			m.waiting = append(m.waiting, j)
		}
	}
	return m.away
}

func (m *memory) Started(_ context.Context, leases []job.Lease, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away != nil {
		return m.away
	}
	for _, l := range leases {
		m.started = append(m.started, l.JobID)
	}
	return nil
}

func (m *memory) End(_ context.Context, end job.End) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away != nil {
		return m.away
	}
	if err := m.refused; err != nil {
		m.refused = nil
		return err
	}
	if m.leased[end.JobID] == nil || m.numbers[end.JobID] > end.Attempt || m.again[end.JobID] > end.Attempt {
		return store.ErrLeaseLost
	}
	delete(m.leased, end.JobID)
	m.ends[end.JobID] = end.Outcome
	return nil
}

func (m *memory) Resume(_ context.Context, end job.End) (job.Lease, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.away != nil:
		return job.Lease{}, "", m.away
	case m.leased[end.JobID] == nil:
		return job.Lease{}, "", store.ErrLeaseLost
	case m.numbers[end.JobID] == end.Attempt+1: // a repeat
	case m.wishes[end.JobID] != "":
		return end.Lease, m.wishes[end.JobID], nil
	}
	end.Lease.Attempt++
	m.numbers[end.JobID] = end.Lease.Attempt
	if err := m.answer(); err != nil {
		return job.Lease{}, "", err
	}
	return end.Lease, "", nil
}

func (m *memory) Cancel(_ context.Context, id job.ID, by string) (store.Cancellation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if other := m.leasedTo[id]; other != "" {
		return store.Cancellation{Status: job.Canceling, Host: other}, nil
	}
	if m.leased[id] != nil {
		m.wishes[id] = by
		return store.Cancellation{Status: job.Canceling, Host: host}, nil
	}
	for i, j := range m.waiting {
		if j.ID == id {
			m.waiting = slices.Delete(m.waiting, i, i+1)
			m.ends[id] = job.Outcome{Status: job.Canceled, Error: &job.Error{Message: "canceled by " + by}}
		}
	}
	return store.Cancellation{Status: job.Canceled}, nil
}

func (m *memory) Canceling(context.Context, string, int64) (wishes []store.CancelWish, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, by := range m.wishes {
		wishes = append(wishes, store.CancelWish{Lease: job.Lease{JobID: id}, By: by})
	}
	return wishes, nil
}

func (m *memory) Heartbeat(_ context.Context, _ string, _ int64, _ time.Duration, state store.HostState) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fenced {
		return time.Time{}, store.ErrFenced
	}
	m.state = state
	return time.Now().Add(m.skew), m.away
}

func (m *memory) StopHost(context.Context, string, int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = store.Stopped
	return nil
}

func (m *memory) Lapsed(context.Context, string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.lapsed)), m.away
}

// Reap lets all jobs of a host wait.
func (m *memory) Reap(_ context.Context, _, host string, _ job.ID, _ time.Duration) (store.Reaped, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := store.Reaped{Host: host, Again: len(m.lapsed[host])}
	m.waiting = append(m.waiting, m.lapsed[host]...)
	delete(m.lapsed, host)
	m.reaped = append(m.reaped, time.Now())
	return r, m.away
}

func (m *memory) ForgetHosts(context.Context) (int64, error) { return 0, nil }

func (m *memory) Adopt(context.Context, string, int64) ([]job.Claimed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.adopted {
		m.leased[c.Job.ID] = c.Job
	}
	return m.adopted, nil
}

// set changes the store while it is in use.
func (m *memory) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func (m *memory) end(id job.ID) job.Outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ends[id]
}

// timed runs each job for the time that its description says.
type timed struct {
	mu      sync.Mutex
	running int
	most    int
	order   []job.ID
	acked   int
	begins  time.Duration  // after the start of each attempt
	crashes map[job.ID]int // attempts of a job that are lost after its time, with a checkpoint
	claims  []job.Claimed  // all that ran
	carried []int          // attempts
	fates   map[job.ID]pluginhost.Fate
	stops   []pluginhost.StopReason
	slow    time.Duration // that an attempt takes to stop whose lease is lost
}

func (r *timed) Run(ctx context.Context, c job.Claimed, started func(time.Time)) (job.Outcome, func()) {
	r.mu.Lock()
	r.running++
	r.most = max(r.most, r.running)
	r.order = append(r.order, c.Job.ID)
	r.claims = append(r.claims, c)
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.running--
		r.mu.Unlock()
	}()
	time.Sleep(r.begins)
	started(time.Now())
	length, err := time.ParseDuration(c.Job.Description)
	if err != nil {
		panic(err)
	}
	outcome := job.Outcome{Status: job.Succeeded}
	select {
	case <-time.After(length):
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.crashes[c.Job.ID] > 0 {
			r.crashes[c.Job.ID]--
			if c.Checkpoint == nil {
				c.Checkpoint = &job.Checkpoint{Attempt: c.Lease.Attempt}
			}
			outcome = lostOutcome(c)
		}
	case <-ctx.Done():
		stop, _ := errors.AsType[*pluginhost.Stop](context.Cause(ctx))
		if stop.Reason == pluginhost.StopDetach {
			return job.Outcome{}, func() {}
		}
		r.mu.Lock()
		r.stops = append(r.stops, stop.Reason)
		r.mu.Unlock()
		outcome = job.Outcome{Status: job.Canceled, Error: &job.Error{Message: stop.Message}}
		switch stop.Reason {
		case pluginhost.StopShutdown:
			outcome.Status = job.Killed
		case pluginhost.StopLeaseLost:
			outcome.Status, outcome.Error.Class = job.Failed, job.Lost
			time.Sleep(r.slow)
		}
	}
	return outcome, func() { r.mu.Lock(); r.acked++; r.mu.Unlock() }
}

func (r *timed) Resume(ctx context.Context, c job.Claimed, started func(time.Time)) (job.Outcome, func()) {
	return r.Run(ctx, c, started)
}

func (r *timed) Recall(c job.Claimed) pluginhost.Fate { return r.fates[c.Job.ID] }

func (r *timed) Follow(ctx context.Context, c job.Claimed, started func(time.Time)) (job.Outcome, func()) {
	return r.Run(ctx, c, started)
}

// Detaches holds for jobs of that name.
func (r *timed) Detaches(j *job.Job) bool { return j.Name == "detach" }

func (r *timed) Lost(_ context.Context, c job.Claimed) (job.Outcome, func()) {
	return lostOutcome(c), func() {}
}

// Carry notes which attempts were handed something.
func (r *timed) Carry(c job.Claimed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.carried = append(r.carried, c.Lease.Attempt)
}

// lostOutcome is that of a lost attempt, which can be resumed when there is a
// checkpoint.
func lostOutcome(c job.Claimed) job.Outcome {
	return job.Outcome{
		Status: job.Failed, Error: &job.Error{Class: job.Lost, Message: "lost"},
		Checkpoint: c.Checkpoint, Resumable: c.Checkpoint != nil, Remains: "lost",
	}
}

const host = "this-host"

// fixture is a queue that is being served inside a synctest bubble.
type fixture struct {
	*queue.Queue
	store   *memory
	runner  *timed
	ended   map[job.ID]*job.Job
	renews  int // that extend the right
	heard   int // others, which say that the host lives
	resumed int
	fenced  int
	remains int
	asleep  atomic.Int64 // that the machine was, nanoseconds
	calls   int          // that work waits
	cancels []job.ID     // that another host was told of
	told    []job.ID     // ends that others were told of
	mu      sync.Mutex
	hurry   chan struct{}
	cancel  func()       // begins to stop
	stop    func() error // and waits for the end
}

func (f *fixture) WorkWaits() { f.mu.Lock(); defer f.mu.Unlock(); f.calls++ }
func (f *fixture) CancelAsked(_ string, id job.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancels = append(f.cancels, id)
}
func (f *fixture) Ended(ids ...job.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, ids...)
}

func serve(t *testing.T, slots int, m *memory) *fixture {
	f := fixtureOf(t, slots, m)
	f.serve()
	return f
}

func fixtureOf(t *testing.T, slots int, m *memory) *fixture {
	begun := time.Now()
	f := &fixture{store: m, runner: &timed{}, ended: map[job.ID]*job.Job{}, hurry: make(chan struct{})}
	f.Queue = queue.New(queue.Config{
		Store: m, Runner: f.runner, Host: host, Epoch: 3, Slots: slots, Lease: 10 * time.Second, LostAfter: 15 * time.Minute, Word: f,
		Clock: func() time.Duration { return time.Since(begun) + time.Duration(f.asleep.Load()) },
		Drain: 30 * time.Second, Grace: 10 * time.Second, Hurry: f.hurry, Log: hclog.NewNullLogger(),
		Renew: func(epoch int64, validFor time.Duration) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if validFor == 0 {
				f.heard++
				return
			}
			f.renews++
			if epoch != 3 || validFor > 8*time.Second || validFor < 0 {
				t.Errorf("Renew(%d, %v), want epoch 3 and at most 8s", epoch, validFor)
			}
		},
		Fenced:  func() { f.mu.Lock(); defer f.mu.Unlock(); f.fenced++ },
		Resumed: func() { f.mu.Lock(); defer f.mu.Unlock(); f.resumed++ },
		Ended:   func(j *job.Job) { f.mu.Lock(); defer f.mu.Unlock(); f.ended[j.ID] = j },
		Remains: func() { f.mu.Lock(); defer f.mu.Unlock(); f.remains++ },
	})
	return f
}

func (f *fixture) serve() {
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx) }()
	f.cancel = cancel
	f.stop = func() error { cancel(); return <-served }
}

func submit(t *testing.T, f *fixture, length string) job.ID {
	t.Helper()
	j := &job.Job{ID: job.NewID(), Request: job.Request{Description: length}}
	if err := f.Submit(t.Context(), j); err != nil {
		t.Fatalf("Submit: %v", err)
	}
	return j.ID
}

func TestSlotsBoundWhatRunsAndOrderIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 3, newMemory())
		var ids []job.ID
		for range 20 {
			ids = append(ids, submit(t, f, "1s"))
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if f.runner.most != 3 {
			t.Errorf("%d attempts ran at once, want 3", f.runner.most)
		}
		if len(f.store.ends) != 20 || len(f.ended) != 20 || f.runner.acked != 20 {
			t.Errorf("ends recorded, told, acknowledged = %d, %d, %d, want 20 each", len(f.store.ends), len(f.ended), f.runner.acked)
		}
		for i := range ids { // three start at the same moment, in any order
			if got := slices.Index(f.runner.order, ids[i]); got/3 != i/3 && i >= 3 && abs(got-i) > 2 {
				t.Errorf("job %d ran as number %d", i, got)
			}
		}
	})
}

func abs(n int) int { return max(n, -n) }

func TestOnlyLongJobsAreMarkedRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 2, newMemory())
		submit(t, f, "100ms")
		long := submit(t, f, "300ms")
		time.Sleep(time.Second)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(f.store.started, []job.ID{long}) {
			t.Errorf("marked as running = %v, want only %v", f.store.started, long)
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1, newMemory())
		running := submit(t, f, "1h")
		synctest.Wait()
		if status, err := f.Cancel(t.Context(), running, "alice", pluginhost.StopUser); err != nil || status != job.Canceling {
			t.Fatalf("Cancel = %v, %v, want CANCELING", status, err)
		}
		synctest.Wait()
		if got := f.store.end(running); got.Status != job.Canceled || got.Error.Message != "canceled by alice" {
			t.Errorf("end = %+v, want canceled by alice", got)
		}
		// A wish that reaches the store without passing this queue is heeded by
		// the next heartbeat.
		other := submit(t, f, "1h")
		synctest.Wait()
		if _, err := f.store.Cancel(t.Context(), other, "bob"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if got := f.store.end(other); got.Status != job.Canceled || got.Error.Message != "canceled by bob" {
			t.Errorf("end = %+v, want canceled by bob", got)
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDrain(t *testing.T) {
	tests := map[string]struct {
		length string
		hurry  bool
		want   job.Status
		within time.Duration
	}{
		"a job that ends in time goes on": {"20s", false, job.Succeeded, 20 * time.Second},
		"a longer one is killed":          {"1h", false, job.Killed, 30 * time.Second},
		"at once, when it must be":        {"1h", true, job.Killed, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := serve(t, 1, newMemory())
				running, waiting := submit(t, f, tt.length), submit(t, f, "1s")
				synctest.Wait()
				if tt.hurry {
					close(f.hurry)
				}
				begun := time.Now()
				if err := f.stop(); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun); took != tt.within {
					t.Errorf("stopping took %v, want %v", took, tt.within)
				}
				if got := f.store.end(running).Status; got != tt.want {
					t.Errorf("status = %s, want %s", got, tt.want)
				}
				if got := f.store.end(waiting).Status; got != "" {
					t.Errorf("the waiting job is %s, want it to wait on", got)
				}
				err := f.Submit(t.Context(), &job.Job{ID: job.NewID()})
				if !errs.Is(err, errs.Unavailable) {
					t.Errorf("Submit after the end = %v, want unavailable", err)
				}
			})
		})
	}
}

func TestEndIsRecordedOnceTheStoreIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1, newMemory())
		id := submit(t, f, "1s")
		synctest.Wait()
		f.store.mu.Lock()
		f.store.away = errs.Errorf(errs.Unavailable, "away")
		f.store.mu.Unlock()
		time.Sleep(time.Minute)
		if err := f.Submit(t.Context(), &job.Job{ID: job.NewID()}); !errs.Is(err, errs.Unavailable) {
			t.Errorf("Submit = %v, want unavailable", err)
		}
		if len(f.ended) != 0 {
			t.Error("an end was told that is not recorded")
		}
		f.store.mu.Lock()
		f.store.away = nil
		f.store.mu.Unlock()
		time.Sleep(10 * time.Second)
		if got := f.store.end(id).Status; got != job.Succeeded {
			t.Errorf("status = %q, want SUCCEEDED", got)
		}
		next := submit(t, f, "1s") // the slots of failed submissions are free again
		time.Sleep(2 * time.Second)
		if got := f.store.end(next).Status; got != job.Succeeded {
			t.Errorf("status of the next = %q, want SUCCEEDED", got)
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// A host that another life of it has taken over from stops, and leaves alone what
// its jobs do outside: that is the other's now.
func TestFencedHostStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 1, newMemory())
		submit(t, f, "1h")
		synctest.Wait()
		f.store.mu.Lock()
		f.store.fenced = true
		f.store.mu.Unlock()
		time.Sleep(3 * time.Second)
		if err := f.stop(); !errors.Is(err, store.ErrFenced) {
			t.Errorf("Serve = %v, want fenced", err)
		}
		if !slices.Equal(f.runner.stops, []pluginhost.StopReason{pluginhost.StopLeaseLost}) || f.fenced != 1 {
			t.Errorf("stopped for %q, told %d times that it is fenced; want once that the lease is lost", f.runner.stops, f.fenced)
		}
	})
}

// What an earlier life ran goes on where a plugin knows it, beyond the slots if
// it must be; waits again where it never began; and is lost otherwise.
func TestWhatAnEarlierLifeRan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		f := fixtureOf(t, 1, m)
		f.runner.fates = map[job.ID]pluginhost.Fate{}
		adopt := func(status job.Status, fate pluginhost.Fate) job.ID {
			j := &job.Job{ID: job.NewID(), Status: status, CanceledBy: "alice", Request: job.Request{Description: "5s"}}
			m.adopted = append(m.adopted, job.Claimed{Job: j, Lease: job.Lease{JobID: j.ID}})
			f.runner.fates[j.ID] = fate
			return j.ID
		}
		lost, canceled := adopt(job.Running, pluginhost.Unknown), adopt(job.Canceling, pluginhost.Unknown)
		unbegun := adopt(job.Accepted, pluginhost.Unbegun)
		known := []job.ID{adopt(job.Running, pluginhost.Known), adopt(job.Accepted, pluginhost.Known)}
		f.serve()
		time.Sleep(time.Second)
		synctest.Wait()
		if got := m.end(lost); got.Status != job.Failed || got.Error.Class != job.Lost {
			t.Errorf("end = %+v, want failed as lost", got)
		}
		if got := m.end(canceled); got.Status != job.Canceled {
			t.Errorf("end = %+v, want canceled", got)
		}
		f.runner.mu.Lock()
		most := f.runner.most
		f.runner.mu.Unlock()
		if most != 2 || f.resumed != 1 {
			t.Errorf("%d attempts run, resumed %d times, want the two that are known, and once", most, f.resumed)
		}
		time.Sleep(20 * time.Second) // the one that waits again has its slot after those
		for _, id := range append(known, unbegun) {
			if got := m.end(id).Status; got != job.Succeeded {
				t.Errorf("status = %q, want SUCCEEDED", got)
			}
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if len(f.runner.order) != 3 {
			t.Errorf("%d attempts ran, want each once", len(f.runner.order))
		}
	})
}

// A job that goes on while the host restarts is left at once and has no end.
func TestDetach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 2, newMemory())
		long := &job.Job{ID: job.NewID(), Request: job.Request{Name: "detach", Description: "1h"}}
		if err := f.Submit(t.Context(), long); err != nil {
			t.Fatal(err)
		}
		short := submit(t, f, "3s")
		synctest.Wait()
		begun := time.Now()
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("stopping took %v, want as long as the other job", took)
		}
		if got := f.store.end(long.ID).Status; got != "" || f.store.leased[long.ID] == nil {
			t.Errorf("the job that goes on is %q, want its lease to stay", got)
		}
		if got := f.store.end(short).Status; got != job.Succeeded {
			t.Errorf("the other job is %q, want SUCCEEDED", got)
		}
	})
}

// Many submitters beside few slots: every job ends once.
func TestManySubmitters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 7, newMemory())
		var all sync.WaitGroup
		for i := range 500 {
			all.Go(func() { submit(t, f, fmt.Sprint(i%13, "ms")) })
		}
		all.Wait()
		time.Sleep(time.Minute)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if len(f.store.ends) != 500 || f.runner.most > 7 {
			t.Errorf("%d jobs ended with %d at once, want 500 with at most 7", len(f.store.ends), f.runner.most)
		}
	})
}
