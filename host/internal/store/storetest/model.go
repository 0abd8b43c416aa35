package storetest

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// model is what the store should hold: each job with its state and lease.
type model struct {
	t      *testing.T
	db     Store
	host   string
	epoch  int64
	lanes  bool // claims go by lanes
	minute int
	jobs   map[job.ID]*modelJob
	queue  []job.ID     // of those that wait, oldest first
	stale  []job.Lease  // leases that are over
	ends   []job.End    // ends that were recorded
	kinds  []job.Status // final states to draw from
}

type modelJob struct {
	status     job.Status
	created    int
	lease      job.Lease
	by         string
	checkpoint *job.Checkpoint
}

// testModel makes random histories and compares the store with the model after
// each step.
func testModel(t *testing.T, db Store) {
	rounds := 0
	rapid.Check(t, func(rt *rapid.T) {
		rounds++
		if rounds > 12 { // a history is dozens of commits
			return
		}
		h := register(t, db, "host-"+string(job.NewID()))
		m := &model{
			t: t, db: db, host: h.id, epoch: h.epoch, lanes: rounds%2 == 0, minute: rounds * 1000, jobs: map[job.ID]*modelJob{},
			kinds: []job.Status{job.Succeeded, job.Failed, job.Killed, job.Canceled},
		}
		rt.Repeat(map[string]func(*rapid.T){
			"":            m.check,
			"submit":      m.submit,
			"claim":       m.claim,
			"start":       m.start,
			"end":         m.end,
			"end stale":   m.endStale,
			"end again":   m.endAgain,
			"give back":   m.giveBack,
			"save":        m.save,
			"save stale":  m.saveStale,
			"resume":      m.resume,
			"cancel":      m.cancel,
			"start again": m.restart,
		})
		m.drain(rt)
	})
}

// in draws a job in one of the states; "" when there is none.
func (m *model) in(rt *rapid.T, states ...job.Status) job.ID {
	var found []job.ID
	for id, j := range m.jobs {
		if slices.Contains(states, j.status) {
			found = append(found, id)
		}
	}
	if len(found) == 0 {
		return ""
	}
	slices.SortFunc(found, func(a, b job.ID) int { return m.jobs[a].created - m.jobs[b].created })
	return rapid.SampledFrom(found).Draw(rt, "job")
}

func (m *model) submit(rt *rapid.T) {
	free := rapid.Bool().Draw(rt, "free")
	m.minute++
	j := newJob(m.minute)
	j.User = m.host
	l, err := m.db.Submit(m.t.Context(), store.Submission{Job: j, Host: m.host, Epoch: m.epoch, Claim: free, Lanes: m.lanes})
	if err != nil {
		rt.Fatalf("submit: %v", err)
	}
	if got, want := l != nil, free && len(m.queue) == 0; got != want {
		rt.Fatalf("submit with %d waiting, free %t: got lease %v", len(m.queue), free, l)
	}
	m.jobs[j.ID] = &modelJob{status: job.New, created: m.minute}
	if l == nil {
		m.queue = append(m.queue, j.ID)
		return
	}
	m.jobs[j.ID].status, m.jobs[j.ID].lease = job.Accepted, *l
}

func (m *model) claim(rt *rapid.T) {
	n := rapid.IntRange(1, 4).Draw(rt, "n")
	claimed, err := m.db.Claim(m.t.Context(), store.Claim{Host: m.host, Epoch: m.epoch, Most: n, Lanes: m.lanes})
	if err != nil {
		rt.Fatalf("claim: %v", err)
	}
	want := m.queue[:min(n, len(m.queue))]
	if got := claimedIDs(claimed); !slices.Equal(got, want) {
		rt.Fatalf("claim of %d: got %v, want %v", n, got, want)
	}
	for _, c := range claimed {
		m.jobs[c.Job.ID].status, m.jobs[c.Job.ID].lease = job.Accepted, c.Lease
	}
	m.queue = slices.Clone(m.queue[len(want):])
}

func (m *model) start(rt *rapid.T) {
	id := m.in(rt, job.Accepted)
	if id == "" {
		return
	}
	if err := m.db.Started(m.t.Context(), []job.Lease{m.jobs[id].lease}, time.Now()); err != nil {
		rt.Fatalf("started: %v", err)
	}
	m.jobs[id].status = job.Running
}

func (m *model) end(rt *rapid.T) {
	id := m.in(rt, job.Accepted, job.Running, job.Canceling)
	if id == "" {
		return
	}
	e := ended(m.jobs[id].lease, rapid.SampledFrom(m.kinds).Draw(rt, "status"))
	e.Checkpoint = m.jobs[id].checkpoint
	if err := m.db.End(m.t.Context(), e); err != nil {
		rt.Fatalf("end: %v", err)
	}
	m.jobs[id].status = e.Status
	m.ends = append(m.ends, e)
}

func (m *model) endStale(rt *rapid.T) {
	if len(m.stale) == 0 {
		return
	}
	err := m.db.End(m.t.Context(), ended(rapid.SampledFrom(m.stale).Draw(rt, "lease"), job.Succeeded))
	if !errors.Is(err, store.ErrLeaseLost) {
		rt.Fatalf("end of a lease that is over: got %v, want %v", err, store.ErrLeaseLost)
	}
}

func (m *model) save(rt *rapid.T) {
	id := m.in(rt, job.Accepted, job.Running, job.Canceling)
	if id == "" {
		return
	}
	j := m.jobs[id]
	c := &job.Checkpoint{Attempt: j.lease.Attempt, Format: 1, Data: rapid.SliceOfN(rapid.Byte(), 1, 8).Draw(rt, "data")}
	if err := m.db.Checkpoint(m.t.Context(), j.lease, c); err != nil {
		rt.Fatalf("checkpoint: %v", err)
	}
	j.checkpoint = c
}

func (m *model) saveStale(rt *rapid.T) {
	if len(m.stale) == 0 {
		return
	}
	err := m.db.Checkpoint(m.t.Context(), rapid.SampledFrom(m.stale).Draw(rt, "lease"), &job.Checkpoint{})
	if !errors.Is(err, store.ErrLeaseLost) {
		rt.Fatalf("checkpoint of a lease that is over: got %v, want %v", err, store.ErrLeaseLost)
	}
}

func (m *model) resume(rt *rapid.T) {
	id := m.in(rt, job.Accepted, job.Running, job.Canceling)
	if id == "" {
		return
	}
	j := m.jobs[id]
	lease, by, err := m.db.Resume(m.t.Context(), ended(j.lease, job.Failed))
	if err != nil || by != j.by {
		rt.Fatalf("resume: got %q and error %v, want %q", by, err, j.by)
	}
	if by != "" {
		return
	}
	m.stale = append(m.stale, j.lease)
	j.status = job.Running
	j.lease.Attempt++
	if lease != j.lease {
		rt.Fatalf("resume: got lease %+v, want %+v", lease, j.lease)
	}
}

func (m *model) endAgain(rt *rapid.T) {
	if len(m.ends) == 0 {
		return
	}
	if err := m.db.End(m.t.Context(), rapid.SampledFrom(m.ends).Draw(rt, "end")); err != nil {
		rt.Fatalf("repeated end: %v", err)
	}
}

func (m *model) giveBack(rt *rapid.T) {
	id := m.in(rt, job.Accepted, job.Running)
	if id == "" {
		return
	}
	j := m.jobs[id]
	if err := m.db.GiveBack(m.t.Context(), []job.Lease{j.lease}); err != nil {
		rt.Fatalf("give back: %v", err)
	}
	if j.status == job.Accepted {
		j.status = job.New
		m.queue = append(m.queue, id)
		slices.SortFunc(m.queue, func(a, b job.ID) int { return m.jobs[a].created - m.jobs[b].created })
	}
}

func (m *model) cancel(rt *rapid.T) {
	id := m.in(rt, job.Statuses()...)
	if id == "" {
		return
	}
	j := m.jobs[id]
	by := rapid.SampledFrom([]string{"ann", "bob"}).Draw(rt, "by")
	c, err := m.db.Cancel(m.t.Context(), id, by)
	if err != nil {
		rt.Fatalf("cancel: %v", err)
	}
	switch {
	case j.status == job.New:
		j.status, j.by = job.Canceled, by
		m.queue = slices.DeleteFunc(m.queue, func(q job.ID) bool { return q == id })
	case !j.status.Final() && j.status != job.Canceling:
		j.status, j.by = job.Canceling, by
	}
	if c.Status != j.status {
		rt.Fatalf("cancel: got %s, want %s", c.Status, j.status)
	}
}

// restart starts the host again: it adopts its leases.
func (m *model) restart(rt *rapid.T) {
	epoch, err := m.db.RegisterHost(m.t.Context(), store.Host{ID: m.host, Name: m.host}, time.Hour)
	if err != nil {
		rt.Fatalf("register: %v", err)
	}
	adopted, err := m.db.Adopt(m.t.Context(), m.host, epoch)
	if err != nil {
		rt.Fatalf("adopt: %v", err)
	}
	m.epoch = epoch
	var want []job.ID
	for id, j := range m.jobs {
		if j.status == job.Accepted || j.status == job.Running || j.status == job.Canceling {
			want = append(want, id)
			m.stale = append(m.stale, j.lease)
			j.lease.Epoch = epoch
		}
	}
	slices.SortFunc(want, func(a, b job.ID) int { return m.jobs[a].created - m.jobs[b].created })
	if got := claimedIDs(adopted); !slices.Equal(got, want) {
		rt.Fatalf("adopt: got %v, want %v", got, want)
	}
	for _, c := range adopted {
		if want := m.jobs[c.Job.ID].checkpoint; !reflect.DeepEqual(c.Checkpoint, want) {
			rt.Fatalf("adopt: got checkpoint %+v, want %+v", c.Checkpoint, want)
		}
	}
}

// check compares every job of the model with the list.
func (m *model) check(rt *rapid.T) {
	page, err := m.db.Jobs(m.t.Context(), job.Filter{User: m.host, Limit: 1000, Order: job.ByCreatedAt})
	if err != nil {
		rt.Fatalf("list: %v", err)
	}
	got, want := map[job.ID]string{}, map[job.ID]string{}
	for _, j := range page.Jobs {
		got[j.ID] = string(j.Status) + " " + j.CanceledBy
	}
	for id, j := range m.jobs {
		want[id] = string(j.status) + " "
		if j.status == job.Canceling || j.status == job.Canceled {
			want[id] += j.by
		}
	}
	if !maps.Equal(got, want) {
		rt.Fatalf("jobs: got %v, want %v", got, want)
	}
}

// drain cancels what waits, so that the next history begins with an empty queue.
func (m *model) drain(rt *rapid.T) {
	for _, id := range m.queue {
		if _, err := m.db.Cancel(m.t.Context(), id, "drain"); err != nil {
			rt.Fatalf("drain: %v", err)
		}
	}
}
