package sim_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/store/memstore"
)

const (
	leaseTime = 10 * time.Second
	lostAfter = 15 * time.Minute
	slots     = 8
	lookTime  = time.Hour // between looks at all jobs
)

// commands are what every host can run; the first has a cap.
func commands() []string { return []string{"capped", "free", "other"} }

// mostCapped is that cap: it binds now and then.
func mostCapped(hosts int) int { return 1 + 5*hosts/2 }

// world is some hosts on one store, their callers, and what goes wrong.
type world struct {
	t       *testing.T
	rand    *rand.Rand // of the driver; callers have their own
	store   *memstore.Store
	ledger  *ledger
	weather *weather
	hours   float64
	lasted  time.Duration
	calls   sync.WaitGroup // of callers

	mu       sync.Mutex
	machines []*machine
	lives    map[*machine]*life // those that are up
	busy     map[*machine]bool  // a fault has this host
	repairs  sync.WaitGroup     // faults that are to pass
}

func newWorld(t *testing.T, seed uint64, hosts int, hours float64) *world {
	all := memstore.New()
	ended := func(id job.ID) bool {
		j, err := all.Job(context.Background(), id)
		return err == nil && j.Status.Final()
	}
	w := &world{
		t: t, rand: rand.New(rand.NewPCG(seed, 1)), store: all, ledger: newLedger(ended), hours: hours,
		weather: &weather{rand: rand.New(rand.NewPCG(seed, 2))}, lives: map[*machine]*life{}, busy: map[*machine]bool{},
	}
	w.ledger.caps["capped"] = mostCapped(hosts)
	if err := w.store.SetCaps(t.Context(), store.Caps{Commands: w.ledger.caps}); err != nil {
		t.Fatal(err)
	}
	for i := range hosts {
		m := newMachine(fmt.Sprintf("host-%02d", i), w.ledger)
		w.machines = append(w.machines, m)
		w.lives[m] = w.start(m)
	}
	return w
}

// up returns a host that is up, by chance; nil when there is none. Callers that ask
// one which is frozen wait.
func (w *world) up(r *rand.Rand) *life {
	w.mu.Lock()
	defer w.mu.Unlock()
	var up []*life
	for _, m := range w.machines {
		if l := w.lives[m]; l != nil {
			up = append(up, l)
		}
	}
	if len(up) == 0 {
		return nil
	}
	return up[r.IntN(len(up))]
}

// draw makes a job. Its length is between a millisecond and half an hour, as many
// of each order of magnitude.
func draw(r *rand.Rand) *job.Job {
	length := time.Duration(float64(time.Millisecond) * math.Exp(r.Float64()*math.Log(float64(30*time.Minute/time.Millisecond))))
	j := &job.Job{
		ID:   job.NewID(),
		User: fmt.Sprintf("user-%d", r.IntN(5)),
		Pair: job.Pair{CommandID: commands()[r.IntN(3)], ClusterID: "cluster"},
	}
	asked := work{length: length}
	switch r.IntN(10) {
	case 0:
		asked.fails = job.Transient
	case 1:
		asked.fails = job.WorkFailed
	}
	if r.IntN(2) == 0 {
		j.Retry = &job.Retry{Attempts: 10, Backoff: time.Second, On: []job.Class{job.Transient, job.Lost}}
		asked.saves = r.IntN(2) == 0
	}
	if r.IntN(5) == 0 {
		j.Priority = r.IntN(21) - 10
	}
	if r.IntN(10) == 0 {
		j.StartAfter = time.Now().Add(time.Duration(r.Int64N(int64(20 * time.Minute))))
	}
	if r.IntN(20) == 0 {
		j.Deadline = time.Now().Add(30*time.Minute + time.Duration(r.Int64N(int64(20*time.Minute))))
	}
	j.Description = asked.String()
	return j
}

// callers submit jobs for so long, each canceled by chance.
func (w *world) callers(seed uint64, every, long time.Duration) {
	r := rand.New(rand.NewPCG(seed, 3))
	for end := time.Now().Add(long); time.Now().Before(end); {
		time.Sleep(time.Duration(r.ExpFloat64() * float64(every)))
		j, by := draw(r), w.up(r)
		if by == nil {
			continue
		}
		cancel := time.Duration(-1)
		if r.IntN(6) == 0 {
			cancel = time.Duration(r.Int64N(int64(10 * time.Minute)))
		}
		key := store.Key{}
		if r.IntN(5) == 0 {
			key = store.Key{Text: string(j.ID), Digest: []byte{1}}
		}
		other := rand.New(rand.NewPCG(seed, r.Uint64()))
		w.calls.Go(func() { w.call(other, by, j, key, cancel) })
	}
}

// call submits a job, and cancels it after a while when that is not negative.
func (w *world) call(r *rand.Rand, by *life, j *job.Job, k store.Key, cancel time.Duration) {
	w.ledger.asks(j)
	err := by.submit(j, k)
	w.ledger.told(j.ID, err)
	if err != nil || cancel < 0 {
		return
	}
	time.Sleep(cancel)
	l := w.up(r)
	if l == nil {
		return
	}
	status, err := l.queue.Cancel(context.Background(), j.ID, "caller", pluginhost.StopUser)
	if err == nil && l.awake() == nil {
		w.ledger.toldCancel(j.ID, status)
	}
}

// burst has more jobs than slots come at once while answers are lost. No host starts
// again behind it and finds what it has forgotten.
func (w *world) burst() {
	w.weather.set(func() { w.weather.lose = 0.3 })
	for i := range 4 * slots * len(w.machines) {
		j := draw(w.rand)
		j.Description = work{length: time.Duration(1+i%10) * time.Second}.String()
		other := rand.New(rand.NewPCG(w.rand.Uint64(), 5))
		w.calls.Go(func() { w.call(other, w.up(other), j, store.Key{}, -1) })
	}
	time.Sleep(2 * time.Minute)
	w.weather.set(func() { w.weather.lose = 0 })
	w.calls.Wait()
}

// look reads all jobs.
func (w *world) look() {
	page, err := w.store.Jobs(context.Background(), job.Filter{Limit: math.MaxInt})
	if err != nil {
		w.t.Errorf("look: %v", err)
	}
	w.ledger.read(page.Jobs)
}

// rest waits until all jobs that are recorded have ended, acknowledged or not: as long
// as some end, and for the time that ten attempts of one may take.
func (w *world) rest() {
	left, changed := -1, time.Now()
	for left != 0 && time.Since(changed) < 6*time.Hour {
		time.Sleep(10 * time.Minute)
		w.look()
		if n := w.ledger.unended(); n != left {
			left, changed = n, time.Now()
		}
	}
}

// fill has every slot of every host run a job at the same time.
func (w *world) fill() {
	if err := w.store.SetCaps(context.Background(), store.Caps{}); err != nil {
		w.t.Error(err)
	}
	time.Sleep(5 * time.Second)
	begun := time.Now()
	for _, m := range w.machines {
		for range slots {
			j := &job.Job{ID: job.NewID(), User: "filler", Request: job.Request{Description: work{length: time.Minute}.String()}, Pair: job.Pair{CommandID: "free"}}
			w.ledger.asks(j)
			err := w.lives[m].submit(j, store.Key{})
			w.ledger.told(j.ID, err)
			if err != nil {
				w.t.Errorf("a job at the end was refused: %v", err)
			}
		}
	}
	for end := begun.Add(71 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Second) {
		if w.look(); w.ledger.unended() == 0 {
			return
		}
	}
	w.t.Errorf("%d of %d jobs of a minute have not ended after 70 s: some slots are not usable any more", w.ledger.unended(), slots*len(w.machines))
}
