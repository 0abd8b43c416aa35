package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// violation is a promise that was not kept.
type violation struct {
	rule string // one of rules
	job  string // "" when it is about no single one
	text string
}

// rules are the promises, in the order of the table.
var rules = []string{lost, double, overlap, cancelLost, changed, forgotten, contradicted, gaveUp, wentOn, overCap, crashed}

const (
	lost         = "lost"            // acknowledged and never ended
	double       = "double"          // started more often than its submitter allowed
	overlap      = "two at once"     // two live executions of one job
	cancelLost   = "cancel lost"     // an acknowledged cancel had no effect
	changed      = "end changed"     // a final state did not stay
	forgotten    = "end forgotten"   // an execution that was over is said to be lost
	contradicted = "end contradicts" // the final state is not what happened
	gaveUp       = "not retried"     // an attempt failed and was not retried as it should
	wentOn       = "went on"         // an execution lived on behind the final state
	overCap      = "over cap"        // more executions at once than the command allows
	crashed      = "host crashed"    // a host ended by a panic or the like
)

// wellBefore is how long before the death of its plugin an execution must have
// ended, with a host to hear of it, for its end to be no casualty: however busy the
// machine is.
const wellBefore = 2 * time.Second

// check holds a history against the promises of the hosts.
func check(h *history) (found []violation) {
	for _, id := range slices.Sorted(maps.Keys(h.jobs)) {
		j := h.jobs[id]
		all := h.executions(j)
		add := func(rule, format string, args ...any) {
			found = append(found, violation{rule, id, fmt.Sprintf(format, args...)})
		}
		checkEnd(j, add)
		checkStarts(j, all, add)
		checkCancels(j, all, add)
		checkOutcome(h, j, all, add)
	}
	return append(found, checkCaps(h)...)
}

// adder notes a violation by the job that is looked at.
type adder func(rule, format string, args ...any)

// final returns the first final state that was seen.
func (j *record) final() (look, bool) {
	for _, l := range j.looks {
		if l.status.Final() {
			return l, true
		}
	}
	return look{}, false
}

func checkEnd(j *record, add adder) {
	for _, l := range j.looks {
		if l.status == unknown && !j.acked.IsZero() && l.asked.After(j.acked) {
			add(lost, "it was acknowledged, and host %s does not know it", l.host)
			return
		}
	}
	end, ended := j.final()
	if !ended {
		if !j.acked.IsZero() {
			add(lost, "it was acknowledged and has not ended")
		}
		return
	}
	for _, l := range j.looks {
		if l.asked.After(end.told) && !l.same(end) {
			add(changed, "it was %s (attempt %d, %s), and %s (attempt %d, %s) later", end.status, end.attempt, end.class, l.status, l.attempt, l.class)
			return
		}
	}
}

func checkStarts(j *record, all []execution, add adder) {
	begun := map[int]int{}
	starts := 0
	for _, x := range all {
		begun[x.attempt]++
		if x.what == "start" {
			starts++
		}
	}
	if allowed := max(j.attempts, 1); starts > allowed {
		add(double, "it was started %d times, and %d was allowed", starts, allowed)
	}
	for _, attempt := range slices.Sorted(maps.Keys(begun)) {
		if begun[attempt] > 1 {
			add(double, "its attempt %d was started %d times", attempt, begun[attempt])
		}
	}
	for _, e := range j.ledger {
		if e.what == "busy" {
			add(overlap, "attempt %d began in process %d while another execution lived", e.attempt, e.pid)
		}
	}
	for i := 1; i < len(all); i++ {
		if before := all[i-1]; all[i].at.Before(before.last) {
			add(overlap, "attempt %d began %v before attempt %d was over", all[i].attempt, before.last.Sub(all[i].at), before.attempt)
		}
	}
}

func checkCancels(j *record, all []execution, add adder) {
	end, ended := j.final()
	if !ended || end.status == client.StatusCanceled {
		return
	}
	for _, c := range j.cancels {
		if c.status.Final() && c.status != end.status {
			add(changed, "the answer to a cancel was %s, and it ended %s", c.status, end.status)
			return
		}
		if c.status.Final() {
			continue
		}
		// It ended by itself first, or says why it ended otherwise; that its time was
		// over is no reason.
		byItself := slices.ContainsFunc(all, func(x execution) bool { return x.ended && x.attempt == end.attempt && x.outcome == "ok" })
		if end.status == client.StatusSucceeded && !byItself || end.status != client.StatusSucceeded && (end.message == "" || end.class == "timeout") {
			add(cancelLost, "a cancel was answered with %s, and it ended %s without a word why", c.status, end.status)
			return
		}
	}
}

// checkOutcome holds the final state against what the executions did.
func checkOutcome(h *history, j *record, all []execution, add adder) {
	end, ended := j.final()
	if !ended {
		return
	}
	var last *execution // of the attempt that the final state is about
	for i := range all {
		if all[i].attempt == end.attempt {
			last = &all[i]
		}
	}
	over := last != nil && last.ended
	switch {
	case end.status == client.StatusSucceeded && (!over || last.outcome != "ok"):
		add(contradicted, "it is SUCCEEDED, and no execution of attempt %d ended well", end.attempt)
	case end.status == client.StatusFailed && end.class == "lost" && over:
		death, killed := h.death(last.pid, last.entry.at)
		if !killed || death.at.Sub(last.last) > wellBefore && death.at.Sub(death.heard) > wellBefore {
			add(forgotten, "it is lost, but its execution ended (%s) at %s, well before its plugin", last.outcome, clock(last.last))
		}
	case end.status == client.StatusFailed && end.class != "lost" && over && last.outcome == "ok":
		add(contradicted, "it is FAILED (%s: %s), and its execution ended well", end.class, end.message)
	}
	if left := j.attempts - end.attempt; left > 0 && end.status == client.StatusFailed && len(j.cancels) == 0 {
		add(gaveUp, "it is FAILED (%s) after %d attempts of %d", end.class, end.attempt, j.attempts)
	}
	for _, x := range all {
		switch {
		case x.attempt > end.attempt:
			add(wentOn, "attempt %d began, and it ended with attempt %d", x.attempt, end.attempt)
		case x.at.After(end.told):
			add(wentOn, "attempt %d began at %s, after it was seen %s", x.attempt, clock(x.at), end.status)
		case x.ended && x.last.After(end.told) && end.class != "lost":
			add(wentOn, "attempt %d ended at %s, after it was seen %s", x.attempt, clock(x.last), end.status)
		}
	}
}

// checkCaps counts the executions of each command that were alive at once.
func checkCaps(h *history) (found []violation) {
	type edge struct {
		at   time.Time
		more int
	}
	edges := map[string][]edge{}
	for _, j := range h.jobs {
		if h.caps[j.command] == 0 {
			continue
		}
		for _, x := range h.executions(j) {
			edges[j.command] = append(edges[j.command], edge{x.at, 1}, edge{x.last, -1})
		}
	}
	for _, command := range slices.Sorted(maps.Keys(edges)) {
		of := edges[command]
		slices.SortFunc(of, func(a, b edge) int { return cmp.Or(a.at.Compare(b.at), a.more-b.more) })
		alive, most := 0, edge{}
		for _, e := range of {
			if alive += e.more; alive > most.more {
				most = edge{e.at, alive}
			}
		}
		if limit := h.caps[command]; most.more > limit {
			found = append(found, violation{overCap, "", fmt.Sprintf("%d executions of command %s were alive at %s, and %d are allowed", most.more, command, clock(most.at), limit)})
		}
	}
	return found
}
