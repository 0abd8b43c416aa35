package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// addLedger puts the lines of a ledger to the jobs that they are about.
func (h *history) addLedger(text string) error {
	for line := range strings.Lines(text) {
		e, err := parseEntry(line)
		if err != nil {
			return err
		}
		j := h.jobs[e.job]
		if j == nil {
			j = &record{id: e.job} // was never acknowledged
			h.jobs[e.job] = j
		}
		j.ledger = append(j.ledger, e)
	}
	return nil
}

// parseEntry reads a line of the ledger that the plugin faulty writes.
func parseEntry(line string) (entry, error) {
	bad := fmt.Errorf("the ledger has a line that makes no sense: %q", line)
	fields := strings.Fields(line)
	if !strings.HasSuffix(line, "\n") || len(fields) < 5 {
		return entry{}, bad
	}
	attempt, err := strconv.Atoi(fields[2])
	if err != nil {
		return entry{}, bad
	}
	pid, err := strconv.Atoi(fields[3])
	if err != nil {
		return entry{}, bad
	}
	micro, err := strconv.ParseInt(fields[4], 10, 64)
	if err != nil {
		return entry{}, bad
	}
	e := entry{what: fields[0], job: fields[1], attempt: attempt, pid: pid, at: time.UnixMicro(micro)}
	if len(fields) > 5 {
		e.outcome = fields[5]
	}
	return e, nil
}

// execution is one run of a job in a plugin.
type execution struct {
	entry             // its start
	last    time.Time // when it was surely still alive
	ended   bool      // there is a line of its end
	outcome string    // that this line tells
}

// executions pairs the starts of a job with their ends. One without an end lived
// at least until its process was killed or last seen.
func (h *history) executions(j *record) (all []execution) {
	for _, e := range j.ledger {
		switch e.what {
		case "start", "resume":
			all = append(all, execution{entry: e, last: e.at})
		case "end":
			for i := len(all) - 1; i >= 0; i-- {
				if x := &all[i]; !x.ended && x.pid == e.pid && x.attempt == e.attempt {
					x.ended, x.last, x.outcome = true, e.at, e.outcome
					break
				}
			}
		}
	}
	for i := range all {
		x := &all[i]
		if x.ended {
			continue
		}
		if death, killed := h.death(x.pid, x.at); killed {
			x.last = death.at
			continue
		}
		x.last = h.lastSeen(x.pid, x.at)
	}
	return all
}
