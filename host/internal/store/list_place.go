package store

import (
	"slices"
	"strings"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// place is a table that jobs can be in.
type place struct {
	table, alias string
	changed      string                // the column of the latest change
	states       map[job.Status]string // conditions on a row; final: the status is a column
	final        bool
}

func places() []place {
	return []place{
		{table: "job_end", alias: "e", changed: "ended_at", final: true, states: map[job.Status]string{
			job.Succeeded: "", job.Failed: "", job.Killed: "", job.Canceled: "",
		}},
		{table: "job_lease", alias: "l", changed: "updated_at", states: map[job.Status]string{
			job.Accepted:  "l.cancel_at IS NULL AND l.started_at IS NULL",
			job.Running:   "l.cancel_at IS NULL AND l.started_at IS NOT NULL",
			job.Canceling: "l.cancel_at IS NOT NULL",
		}},
		{table: "job_ready", alias: "r", changed: "updated_at", states: map[job.Status]string{job.New: "TRUE"}},
		{table: "job_later", alias: "d", changed: "updated_at", states: map[job.Status]string{job.New: "TRUE"}},
	}
}

// within returns those of the statuses that a job in a place can have.
func (p place) within(statuses []job.Status) []job.Status {
	var here []job.Status
	for _, s := range slices.Compact(slices.Sorted(slices.Values(statuses))) {
		if _, ok := p.states[s]; ok {
			here = append(here, s)
		}
	}
	return here
}

// has returns the condition that a job in a place has one of the statuses, served
// by no index.
func (p place) has(statuses []job.Status) string {
	var any []string
	for _, s := range statuses {
		if p.final {
			any = append(any, "'"+string(s)+"'")
		} else {
			any = append(any, p.states[s])
		}
	}
	if p.final {
		return "COALESCE(e.status, '') IN (" + strings.Join(any, ", ") + ")"
	}
	return "(" + strings.Join(any, " OR ") + ")"
}

// inStates asks for jobs with one of the statuses.
func inStates(statuses []job.Status) condition {
	c := condition{states: true, holds: func(_ *query, id string, join func(table, on string)) string {
		var any []string
		for _, p := range places() {
			here := p.within(statuses)
			if here == nil {
				continue
			}
			join(p.table+" "+p.alias, p.alias+".job_id = "+id)
			is := p.has(here)
			if !p.final {
				is = "COALESCE(" + p.alias + ".attempt, 0) > 0 AND " + is
			}
			any = append(any, is)
		}
		return "(" + strings.Join(any, " OR ") + ")"
	}}
	for _, p := range places() {
		r := source{table: p.table + " " + p.alias, id: p.alias + ".job_id"}
		switch here := p.within(statuses); {
		case here == nil:
		case p.final:
			for _, s := range here {
				r.value, r.is = "e.status", string(s)
				c.rows = append(c.rows, r)
			}
		default:
			r.keep = p.has(here)
			c.rows = append(c.rows, r)
		}
	}
	return c
}

// byChange returns the way through a list in the order of the latest changes:
// through every place that jobs with the statuses can be in.
func (l *lookup) byChange(statuses []job.Status) way {
	w := way{rest: slices.DeleteFunc(slices.Clone(l.conditions), func(c condition) bool { return c.states })}
	for _, p := range places() {
		r := source{table: p.table + " " + p.alias, id: p.alias + ".job_id", sorted: p.alias + "." + p.changed}
		if len(statuses) > 0 {
			here := p.within(statuses)
			if here == nil {
				continue
			}
			r.keep = p.has(here)
		}
		w.rows = append(w.rows, r)
	}
	return w
}

// changed returns when a job changed last, wherever it is, with the joins that this
// needs.
func changed(id string, join func(table, on string)) string {
	var columns []string
	for _, p := range places() {
		join(p.table+" "+p.alias, p.alias+".job_id = "+id)
		columns = append(columns, p.alias+"."+p.changed)
	}
	return "COALESCE(" + strings.Join(columns, ", ") + ")"
}
