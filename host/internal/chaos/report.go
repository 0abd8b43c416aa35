package main

import (
	"fmt"
	"io"
	"time"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// report is what came of a run.
type report struct {
	plan
	history    *history
	violations []violation
	disk       string // by what means it was filled
	took       time.Duration
	fell       []string // why hosts have ended by themselves
}

// shown is how many violations are told with all that is known of their jobs.
const shown = 5

// print writes the table, and what was violated.
func (rep *report) print(w io.Writer) {
	fmt.Fprintf(w, "seed %d: %d hosts on %s, a lease of %v, %v\n", rep.seed, rep.hosts, rep.store, rep.lease, rep.took.Round(time.Second))
	row := func(name string, n int) { fmt.Fprintf(w, "  %-36s %7d\n", name, n) }
	total := 0
	for _, k := range kinds {
		if !k.of(rep.store) {
			continue
		}
		name := string(k)
		if k == fillDisk {
			name += " (" + rep.disk + ")"
		}
		row(name, rep.counts[k])
		total += rep.counts[k]
	}
	row("faults", total)
	row("hosts that ended by themselves", len(rep.fell))
	s := rep.sum()
	row("jobs acknowledged", s.acked)
	row("  SUCCEEDED", s.ends[client.StatusSucceeded])
	row("  FAILED", s.ends[client.StatusFailed])
	row("    outcome unknown", s.unknown)
	row("  KILLED", s.ends[client.StatusKilled])
	row("  CANCELED", s.ends[client.StatusCanceled])
	row("cancels acknowledged", s.cancels)
	row("executions", s.executions)
	row("  not acknowledged before", s.unacked)
	count := map[string]int{}
	for _, v := range rep.violations {
		count[v.rule]++
	}
	for _, rule := range rules {
		row(rule, count[rule])
	}
	for _, why := range rep.fell {
		fmt.Fprintf(w, "  a host has ended by itself: %s\n", why)
	}
	for i, v := range rep.violations {
		if i == shown {
			fmt.Fprintf(w, "… and %d more\n", len(rep.violations)-shown)
			break
		}
		fmt.Fprintf(w, "\n%s: %s %s\n%s", v.rule, v.job, v.text, rep.storyOf(v))
	}
}

func (rep *report) storyOf(v violation) string {
	if v.job == "" {
		return ""
	}
	return rep.history.story(v.job)
}

// sums are the numbers of a run.
type sums struct {
	acked, unknown, cancels, executions, unacked int
	ends                                         map[client.Status]int
}

func (rep *report) sum() sums {
	s := sums{ends: map[client.Status]int{}}
	for _, j := range rep.history.jobs {
		executions := len(rep.history.executions(j))
		s.executions += executions
		if j.acked.IsZero() {
			s.unacked += executions
			continue
		}
		s.acked++
		for _, c := range j.cancels {
			if !c.status.Final() || c.status == client.StatusCanceled {
				s.cancels++
			}
		}
		if end, ended := j.final(); ended {
			s.ends[end.status]++
			if end.class == "lost" {
				s.unknown++
			}
		}
	}
	return s
}
