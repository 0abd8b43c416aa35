package sim_test

import (
	"fmt"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// ledger is the evidence: what really ran, what callers were told, and what is
// wrong with it. It knows nothing of the store.
type ledger struct {
	mu     sync.Mutex
	jobs   map[job.ID]*entry
	live   map[string]int // executions of each command
	caps   map[string]int // of each command
	faults map[string]int // by kind
	wrong  []string
	ended  func(id job.ID) bool // asks the store
}

type entry struct {
	retryable bool
	command   string
	acked     bool
	recorded  bool      // the store has it
	canceled  time.Time // when a caller was told so
	starts    int
	live      int
	finished  bool // an execution came to its end by itself
	final     *job.Job
	history   []string
}

func newLedger(ended func(id job.ID) bool) *ledger {
	return &ledger{ended: ended, jobs: map[job.ID]*entry{}, live: map[string]int{}, caps: map[string]int{}, faults: map[string]int{}}
}

// note writes down what happened to a job. The caller holds the lock.
func (e *entry) note(format string, args ...any) {
	e.history = append(e.history, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// violate writes down what must not be.
func (l *ledger) violate(id job.ID, format string, args ...any) {
	what := fmt.Sprintf("job %s: %s", id, fmt.Sprintf(format, args...))
	if e := l.jobs[id]; e != nil {
		for _, line := range e.history {
			what += "\n    " + line
		}
	}
	l.wrong = append(l.wrong, what)
}

// asks is called before a job is submitted, told when that was answered.
func (l *ledger) asks(j *job.Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs[j.ID] = &entry{retryable: j.Retry.RunsElsewhere(0), command: j.Pair.CommandID}
}

func (l *ledger) told(id job.ID, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.jobs[id]
	e.acked = err == nil
	e.note("submitted: %v", err)
}

// toldCancel is called when a cancel was answered.
func (l *ledger) toldCancel(id job.ID, status job.Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.jobs[id]
	e.note("cancel was answered with %s", status)
	if !status.Final() || status == job.Canceled {
		e.canceled = time.Now()
	}
}

// begin is called when an execution begins.
func (l *ledger) begin(id job.ID, attempt int, where string, resumes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.jobs[id]
	e.note("attempt %d begins at %s, resuming: %t", attempt, where, resumes)
	if !resumes {
		e.starts++
	}
	e.live++
	l.live[e.command]++
	if e.live > 1 {
		l.violate(id, "%d executions are live at once", e.live)
	}
	if !e.retryable && e.starts > 1 {
		l.violate(id, "it may not be retried and was started %d times", e.starts)
	}
	if e.final != nil {
		l.violate(id, "it was started after its end, %s", e.final.Status)
	}
	if most := l.caps[e.command]; most > 0 && l.live[e.command] > most {
		l.count(id, most)
	}
}

// count looks at what runs of the command of a job. What the store has given up as
// lost may go on where nobody sees it; no cap counts that.
func (l *ledger) count(id job.ID, most int) {
	n := 0
	for other, e := range l.jobs {
		if e.command == l.jobs[id].command && e.live > 0 && !l.ended(other) {
			n++
		}
	}
	if n > most {
		l.violate(id, "%d of %s run at once, want at most %d", n, l.jobs[id].command, most)
	}
}

// end is called when an execution ends, by itself or not.
func (l *ledger) end(id job.ID, attempt int, how string, byItself bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.jobs[id]
	e.note("attempt %d ends: %s", attempt, how)
	e.live--
	l.live[e.command]--
	e.finished = e.finished || byItself
}

// read is called with what the store has of jobs: a final state never changes.
func (l *ledger) read(jobs []*job.Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, j := range jobs {
		e := l.jobs[j.ID]
		e.recorded = true
		switch {
		case e.final == nil && j.Status.Final():
			e.final = j
			e.note("is %s in attempt %d: %v", j.Status, j.Attempt, j.Error)
		case e.final != nil && (j.Status != e.final.Status || !j.EndedAt.Equal(e.final.EndedAt) || j.Attempt != e.final.Attempt):
			l.violate(j.ID, "it was %s and is %s", e.final.Status, j.Status)
		}
	}
}

// unended returns how many jobs that were acknowledged, or are recorded all the same,
// have not ended.
func (l *ledger) unended() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.jobs {
		if (e.acked || e.recorded) && e.final == nil {
			n++
		}
	}
	return n
}

// settle looks at the whole once everything has come to rest.
func (l *ledger) settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, e := range l.jobs {
		switch {
		case e.acked && e.final == nil:
			l.violate(id, "it was acknowledged and has not ended")
		case e.live != 0:
			l.violate(id, "%d executions are live at the end", e.live)
		case e.final == nil:
		case !e.canceled.IsZero() && e.final.Status != job.Canceled && !e.finished:
			l.violate(id, "it was canceled, nothing of it came to its end, and it is %s", e.final.Status)
		case e.final.Status == job.Succeeded && !e.finished:
			l.violate(id, "it is %s and nothing of it came to its end", e.final.Status)
		}
	}
}

func (l *ledger) fault(kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults[kind]++
}
