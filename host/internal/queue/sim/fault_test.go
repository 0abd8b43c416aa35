package sim_test

import (
	"math/rand/v2"
	"time"
)

// fault is something that goes wrong with one host, or with the store. It passes
// after a while.
type fault struct {
	name string
	do   func(w *world, m *machine, long time.Duration, r *rand.Rand)
}

func faults() []fault {
	return []fault{
		{"host killed", kill},
		{"host killed", kill},
		{"host frozen", freeze},
		{"host frozen", freeze},
		{"host restarted", restart},
		{"host cut off", cut},
		{"host gone for long", gone},
		{"plugins crashed", crash},
		{"store away", away},
		{"answers lost", lose},
		{"store slow", slow},
	}
}

// harm makes things go wrong for so long, one about every so often, and returns when
// all has passed.
func (w *world) harm(every, long time.Duration) {
	for end := time.Now().Add(long); time.Now().Before(end); {
		time.Sleep(time.Duration(w.rand.ExpFloat64() * float64(every)))
		f := faults()[w.rand.IntN(len(faults()))]
		m := w.machines[w.rand.IntN(len(w.machines))]
		passes := w.long()
		r := rand.New(rand.NewPCG(w.rand.Uint64(), 4))
		if !w.seize(m) {
			continue
		}
		w.ledger.fault(f.name)
		w.repairs.Go(func() {
			defer w.release(m)
			f.do(w, m, passes, r)
		})
	}
	w.repairs.Wait()
}

// long draws how long a fault lasts: seconds to minutes, around the time of a lease.
func (w *world) long() time.Duration {
	most := []time.Duration{2 * time.Second, leaseTime, 2 * leaseTime, time.Minute, 5 * time.Minute}
	return time.Duration(w.rand.Int64N(int64(most[w.rand.IntN(len(most))])))
}

// seize takes a host for a fault, unless another one has it.
func (w *world) seize(m *machine) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy[m] {
		return false
	}
	w.busy[m] = true
	return true
}

func (w *world) release(m *machine) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy[m] = false
}

// life returns the life of a host, set puts another in its place.
func (w *world) life(m *machine) *life {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lives[m]
}

func (w *world) set(m *machine, l *life) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lives[m] = l
}

// kill is kill -9 of a host, which starts again after a while.
func kill(w *world, m *machine, long time.Duration, _ *rand.Rand) {
	l := w.life(m)
	w.set(m, nil)
	l.kill()
	time.Sleep(long)
	w.set(m, w.start(m))
}

// freeze is SIGSTOP of a host, and SIGCONT after a while.
func freeze(w *world, m *machine, long time.Duration, _ *rand.Rand) {
	thaw := w.life(m).freeze()
	time.Sleep(long)
	thaw()
}

// restart ends a host in good order and starts it again.
func restart(w *world, m *machine, long time.Duration, _ *rand.Rand) {
	l := w.life(m)
	w.set(m, nil)
	if err := l.stop(); err != nil {
		w.t.Errorf("%s was stopped: %v", m.name, err)
	}
	time.Sleep(long)
	w.set(m, w.start(m))
}

// crash ends about half of what runs in the plugins of a host.
func crash(_ *world, m *machine, _ time.Duration, r *rand.Rand) {
	m.crash(func() bool { return r.IntN(2) == 0 })
}

// cut cuts one host off from the store. It may be gone for as long as others wait for
// it, and longer.
func cut(w *world, m *machine, long time.Duration, r *rand.Rand) {
	if r.IntN(4) == 0 {
		long += lostAfter
	}
	l := w.life(m)
	l.off.Store(true)
	time.Sleep(long)
	l.off.Store(false)
}

// gone kills a host, which starts again when others wait for it no longer.
func gone(w *world, m *machine, long time.Duration, r *rand.Rand) {
	kill(w, m, long+lostAfter, r)
}

// away cuts all hosts off from the store.
func away(w *world, _ *machine, long time.Duration, _ *rand.Rand) {
	w.weather.set(func() { w.weather.away = true })
	time.Sleep(long)
	w.weather.set(func() { w.weather.away = false })
}

// lose loses some answers of the store, slow lets some take long.
func lose(w *world, _ *machine, long time.Duration, _ *rand.Rand) {
	w.weather.set(func() { w.weather.lose = 0.2 })
	time.Sleep(long)
	w.weather.set(func() { w.weather.lose = 0 })
}

func slow(w *world, _ *machine, long time.Duration, _ *rand.Rand) {
	w.weather.set(func() { w.weather.slow = 0.3 })
	time.Sleep(long)
	w.weather.set(func() { w.weather.slow = 0 })
}
