package sim_test

import "github.com/heimdall-run/heimdall/host/internal/job"

// word carries what hosts tell each other to those that are up.
type word struct{ world *world }

func (w word) each(tell func(*life)) {
	w.world.mu.Lock()
	defer w.world.mu.Unlock()
	for _, l := range w.world.lives {
		if l != nil {
			tell(l)
		}
	}
}

// SayWorkWaits tells all.
func (w word) SayWorkWaits() { w.each(func(l *life) { l.queue.WorkWaits() }) }

// SayCancelAsked tells the host that has the job.
func (w word) SayCancelAsked(host string, _ job.ID) {
	w.each(func(l *life) {
		if l.name == host {
			l.queue.CancelAsked()
		}
	})
}

// SayEnded tells nobody: callers look for themselves.
func (w word) SayEnded(...job.ID) {}
