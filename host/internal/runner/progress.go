package runner

import (
	"sync"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// progress is how far the attempts are that run here. It is shown, and kept
// nowhere: what matters of it a plugin puts into a checkpoint.
type progress struct {
	mu sync.Mutex
	of map[job.ID]job.Progress
}

func (p *progress) set(id job.ID, at job.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[job.ID]job.Progress{}
	}
	p.of[id] = at
}

func (p *progress) forget(id job.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.of, id)
}

// Progress returns what the attempt of a job that runs here has said last of how
// far it is; nil: nothing.
func (r *Runner) Progress(id job.ID) *job.Progress {
	r.progress.mu.Lock()
	defer r.progress.mu.Unlock()
	at, ok := r.progress.of[id]
	if !ok {
		return nil
	}
	return &at
}
