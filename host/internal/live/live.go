// Package live knows what running attempts have said of themselves so far. What
// matters of it a plugin puts into a checkpoint, and the outputs are kept with the end.
package live

import (
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Reports are those of the attempts that run here. The zero value is ready.
type Reports struct {
	mu sync.Mutex
	of map[job.ID]*report
}

// report is what an attempt has said.
type report struct {
	job.Report
	lease  job.Lease
	since  time.Time // when it first said something
	shared bool      // others know it
}

// Progress notes how far an attempt is.
func (r *Reports) Progress(l job.Lease, at job.Progress) {
	r.note(l, func(of *report) { of.Progress = &at })
}

// Outputs notes all that an attempt shows. Nobody changes them any more.
func (r *Reports) Outputs(l job.Lease, all []job.Output) {
	r.note(l, func(of *report) { of.Outputs = all })
}

func (r *Reports) note(l job.Lease, change func(of *report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[job.ID]*report{}
	}
	if r.of[l.JobID] == nil {
		r.of[l.JobID] = &report{lease: l, since: time.Now()}
	}
	of := r.of[l.JobID]
	of.shared = false
	change(of)
}

// Forget drops what an attempt has said that has ended.
func (r *Reports) Forget(l job.Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.of, l.JobID)
}

// Of returns what the attempt of a job that runs here has said.
func (r *Reports) Of(id job.ID) job.Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	if of := r.of[id]; of != nil {
		return of.Report
	}
	return job.Report{}
}
