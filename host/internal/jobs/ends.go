package jobs

import (
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// ends tells watchers of jobs that these have ended.
type ends struct {
	mu    sync.Mutex
	byJob map[job.ID]*end
}

// end is the coming end of a job that somebody watches.
type end struct {
	done     chan struct{} // closed once the job has ended, or that cannot be known
	job      *job.Job      // set then
	err      error         // or this
	until    time.Time     // it is waited for; zero: for ever
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
		if end.job == nil && end.err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

func (e *ends) publish(j *job.Job) { e.settle(j.ID, j, nil) }

// fail tells watchers that the end of a job is not going to be known soon.
func (e *ends) fail(id job.ID, err error) { e.settle(id, nil, err) }

// delay has those who watch a job wait until a time, unless they do already.
func (e *ends) delay(id job.ID, until time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if end := e.byJob[id]; end != nil && end.until.IsZero() {
		end.until = until
	}
}

// overdue returns the jobs that are watched and were to end before now.
func (e *ends) overdue(now time.Time) (ids []job.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, end := range e.byJob {
		if !end.until.IsZero() && end.until.Before(now) {
			ids = append(ids, id)
		}
	}
	return ids
}

func (e *ends) settle(id job.ID, j *job.Job, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	watched := e.byJob[id]
	if watched == nil || watched.job != nil || watched.err != nil {
		return
	}
	watched.job, watched.err = j, err
	close(watched.done)
	if err != nil {
		delete(e.byJob, id) // who comes later waits again
	}
}
