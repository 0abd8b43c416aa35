package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// history is all that was seen of a run from outside of the hosts: what they
// said, and what really happened.
type history struct {
	jobs   map[string]*record
	faults []event
	killed map[int][]death // processes of plugins that were killed, by number; a machine uses a number again
	alive  map[int][]span  // when processes of plugins were seen, likewise
	caps   map[string]int  // of commands: executions at once; those that are not there have none
}

// record is what was seen of one job.
type record struct {
	id       string
	command  string
	attempts int       // executions that its submitter allowed; 0 counts as 1
	acked    time.Time // when its submission was answered well; zero: never
	cancels  []answer  // to wishes to cancel it
	looks    []look    // in the order of the answers; what was seen twice in a row stands once
	ledger   []entry
}

// death is when a process of a plugin was killed.
type death struct {
	at    time.Time
	heard time.Time // since when its host could hear it: it was neither away nor frozen
}

// span is a time in which a process was seen again and again.
type span struct{ from, to time.Time }

// unseen is the longest time between two looks at one process: a number that is seen
// after more than that is another's.
const unseen = 5 * time.Second

// death returns when the process that had this number at a time was killed.
func (h *history) death(pid int, alive time.Time) (death, bool) {
	until := h.lastSeen(pid, alive).Add(unseen)
	for _, d := range h.killed[pid] {
		if !d.at.Before(alive) && d.at.Before(until) {
			return d, true
		}
	}
	return death{}, false
}

// lastSeen returns when the process that had this number at a time was seen last; that
// time when it never was.
func (h *history) lastSeen(pid int, alive time.Time) time.Time {
	for _, s := range h.alive[pid] {
		if s.to.After(alive) && s.from.Before(alive.Add(unseen)) {
			return s.to
		}
	}
	return alive
}

// answer is what a host said to a wish.
type answer struct {
	at     time.Time
	host   string
	status client.Status
}

// look is the state of a job as a host told it.
type look struct {
	asked, told time.Time
	host        string
	status      client.Status
	attempt     int
	class       string
	message     string
}

// same reports whether two looks saw the same.
func (l look) same(m look) bool {
	return l.status == m.status && l.attempt == m.attempt && l.class == m.class && l.message == m.message
}

// event is something that was done to the system.
type event struct {
	at   time.Time
	what string
}

// entry is a line of the ledger.
type entry struct {
	what    string // start, resume, busy or end
	job     string
	attempt int
	pid     int
	at      time.Time
	outcome string // of an end: ok, error or panic
}

// recorder gathers a history.
type recorder struct {
	mu sync.Mutex
	history
	ids []string // of the jobs that were acknowledged, in that order
}

func newRecorder() *recorder {
	return &recorder{history: history{
		jobs: map[string]*record{}, killed: map[int][]death{}, alive: map[int][]span{}, caps: map[string]int{},
	}}
}

// job returns the record of a job. The recorder is locked.
func (r *recorder) job(id string) *record {
	j := r.jobs[id]
	if j == nil {
		j = &record{id: id}
		r.jobs[id] = j
	}
	return j
}

// submitted notes that a submission was answered well.
func (r *recorder) submitted(id, command string, attempts int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	j := r.job(id)
	j.acked, j.command, j.attempts = time.Now(), command, attempts
	r.ids = append(r.ids, id)
}

// canceled notes the answer to a wish to cancel.
func (r *recorder) canceled(id, host string, status client.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	j := r.job(id)
	j.cancels = append(j.cancels, answer{time.Now(), host, status})
}

// saw notes the state of a job that a host told on being asked.
func (r *recorder) saw(asked time.Time, host string, j *client.Job) {
	l := look{
		asked: asked, told: time.Now(), host: host,
		status: j.Status, attempt: j.Attempt, class: j.ErrorClass, message: j.Error,
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	of := r.job(j.ID)
	if of.command == "" && j.CommandName != "" { // nobody has acknowledged it yet
		of.command, of.attempts = j.CommandName, attempts[j.CommandName]
	}
	if n := len(of.looks); n > 0 && of.looks[n-1].same(l) {
		return
	}
	of.looks = append(of.looks, l)
}

// missing notes that a host knew no job of an id.
func (r *recorder) missing(asked time.Time, host, id string) {
	r.saw(asked, host, &client.Job{ID: id, Status: unknown})
}

// unknown is the state of a job that a host does not know.
const unknown client.Status = "NOT FOUND"

// fault notes what was done to the system.
func (r *recorder) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, event{time.Now(), fmt.Sprintf(format, args...)})
}

// kill notes that a process of a plugin is killed now, whose host could hear it
// for a while.
func (r *recorder) kill(pid int, heard time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killed[pid] = append(r.killed[pid], death{at: time.Now(), heard: heard})
}

// living notes that processes of plugins are there.
func (r *recorder) living(at time.Time, pids []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, pid := range pids {
		spans := r.alive[pid]
		if n := len(spans); n > 0 && at.Sub(spans[n-1].to) < unseen {
			spans[n-1].to = at
			continue
		}
		r.alive[pid] = append(spans, span{at, at})
	}
}

// pending returns the acknowledged jobs that were not seen ended.
func (r *recorder) pending() (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.ids {
		if looks := r.jobs[id].looks; len(looks) == 0 || !looks[len(looks)-1].status.Final() {
			ids = append(ids, id)
		}
	}
	return ids
}

// some returns up to n acknowledged jobs: the newest, and others by a number
// that pick returns for a length.
func (r *recorder) some(n int, pick func(int) int) (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range min(n, len(r.ids)) {
		if i%2 == 0 {
			ids = append(ids, r.ids[len(r.ids)-1-i])
		} else {
			ids = append(ids, r.ids[pick(len(r.ids))])
		}
	}
	return ids
}

// story tells all that was seen of a job, in the order of time, and the faults
// meanwhile.
func (h *history) story(id string) string {
	j := h.jobs[id]
	if j == nil {
		return "nothing is known of it\n"
	}
	var events []event
	add := func(at time.Time, format string, args ...any) {
		events = append(events, event{at, fmt.Sprintf(format, args...)})
	}
	if !j.acked.IsZero() {
		add(j.acked, "its submission was acknowledged (command %s, executions allowed: %d)", j.command, max(j.attempts, 1))
	}
	for _, c := range j.cancels {
		add(c.at, "a wish to cancel it was answered with %s by %s", c.status, c.host)
	}
	for _, l := range j.looks {
		add(l.told, "%s said: %s, attempt %d, %s %q (asked at %s)", l.host, l.status, l.attempt, l.class, l.message, clock(l.asked))
	}
	for _, e := range j.ledger {
		add(e.at, "ledger: %s, attempt %d, process %d %s", e.what, e.attempt, e.pid, e.outcome)
		if death, killed := h.death(e.pid, e.at); killed && e.what != "end" {
			add(death.at, "process %d was killed", e.pid)
		}
	}
	byTime := func(a, b event) int { return a.at.Compare(b.at) }
	slices.SortStableFunc(events, byTime)
	if n := len(events); n > 0 {
		from, to := events[0].at.Add(-time.Second), events[n-1].at.Add(time.Second)
		for _, f := range h.faults {
			if f.at.After(from) && f.at.Before(to) {
				add(f.at, "    fault: %s", f.what)
			}
		}
	}
	slices.SortStableFunc(events, byTime)
	var text strings.Builder
	for _, e := range slices.Compact(events) {
		fmt.Fprintf(&text, "  %s %s\n", clock(e.at), e.what)
	}
	return text.String()
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000000") }
