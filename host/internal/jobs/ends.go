package jobs

import (
	"sync"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// ends tells watchers of jobs that these have ended.
type ends struct {
	mu    sync.Mutex
	byJob map[job.ID]*end
}

// end is the coming end of a job that somebody watches.
type end struct {
	done     chan struct{} // closed once the job has ended
	job      *job.Job      // set then
	watchers int
}

func newEnds() *ends { return &ends{byJob: map[job.ID]*end{}} }

// expect begins to watch for a watcher that is still to come, so that an end
// before its arrival is not missed.
func (e *ends) expect(id job.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.byJob[id] = &end{done: make(chan struct{})}
}

// forget takes an expectation back.
func (e *ends) forget(id job.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.byJob, id)
}

// watch returns the end of a job and whether nothing of it can have been missed.
// The end is to be released.
func (e *ends) watch(id job.ID) (watched *end, complete bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	watched, complete = e.byJob[id]
	if !complete {
		watched = &end{done: make(chan struct{})}
		e.byJob[id] = watched
	}
	watched.watchers++
	return watched, complete
}

func (e *ends) release(id job.ID, watched *end) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if watched.watchers--; watched.watchers == 0 && e.byJob[id] == watched {
		delete(e.byJob, id)
	}
}

// watched reports whether anybody wants to know of a job's end.
func (e *ends) watched(id job.ID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.byJob[id] != nil
}

// awaited returns the jobs that are watched and have not ended.
func (e *ends) awaited() []job.ID {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ids []job.ID
	for id, end := range e.byJob {
		if end.job == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

func (e *ends) publish(j *job.Job) {
	e.mu.Lock()
	defer e.mu.Unlock()
	watched := e.byJob[j.ID]
	if watched == nil || watched.job != nil {
		return
	}
	watched.job = j
	close(watched.done)
}
