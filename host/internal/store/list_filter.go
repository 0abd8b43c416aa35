package store

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// condition is what a filter asks of a job.
type condition struct {
	// holds returns the condition on the job of an id, with the joins that it
	// needs. It is written so that no index serves it: a database must not begin
	// with it, because the order of the list and how far to look hold for what it
	// begins with.
	holds func(s *query, id string, join func(table, on string)) string
	// rows lead to every job that fulfills it, in the order of ids; nil when no
	// index does, or when there are too many.
	rows rows
	// states: it is on the status.
	states bool
}

// rows are those of one or more tables that lead to jobs; to each job, two at most.
type rows []source

// source is a part of a table that leads to jobs.
type source struct {
	table  string                // with its alias
	inner  func(s *query) string // a query in place of a table; nil: none
	value  string                // a column that begins an index whose next is the id; "": the index of ids
	is     string                // what value has to be
	id     string                // the column of the job
	sorted string                // the column of the latest change, which an index begins with; "": none of it
	where  string                // which rows the index has; "": all
	keep   string                // a condition on what is looked at; "": none
}

// from returns the source as a query names it.
func (r source) from(s *query) string {
	if r.inner != nil {
		return r.inner(s)
	}
	return r.table
}

// way is a way through the list: some rows, and the conditions that are left to
// check.
type way struct {
	rows rows
	rest []condition
}

// everyJob are the rows that lead to all jobs.
func everyJob() rows { return rows{{table: "job j", id: "j.id"}} }

// ways returns the ways through a list in the order of ids.
func (l *lookup) ways() []way {
	var ways []way
	for i, c := range l.conditions {
		if c.rows != nil {
			ways = append(ways, way{c.rows, slices.Delete(slices.Clone(l.conditions), i, i+1)})
		}
	}
	if ways == nil || l.bounded() {
		ways = append(ways, way{everyJob(), l.conditions})
	}
	return ways
}

// check refuses a filter that makes no sense, but for its patterns.
func (l *lookup) check(f job.Filter) error {
	switch f.Order {
	case "", job.ByID, job.ByCreatedAt, job.ByUpdatedAt:
	default:
		return errs.Errorf(errs.Invalid, "a list cannot be ordered by %.40q", string(f.Order))
	}
	for _, s := range f.Statuses {
		if !slices.Contains(job.Statuses(), s) {
			return errs.Errorf(errs.Invalid, "%.40q is not a job status", string(s))
		}
	}
	if f.After != nil && checkID(f.After.ID) != nil {
		return errs.Errorf(errs.Invalid, "the cursor does not name a job")
	}
	for _, t := range f.Tags {
		if err := checkText(field{"tags", t}); err != nil {
			return err
		}
	}
	return nil
}

// require adds the conditions of a filter.
func (l *lookup) require(ctx context.Context, f job.Filter) error {
	if err := l.check(f); err != nil {
		return err
	}
	type wanted struct {
		pattern
		columns []indexed
	}
	var patterns []wanted
	for _, m := range []struct {
		name, text string
		columns    []indexed
	}{
		{"id", f.ID, nil},
		{"name", f.Name, []indexed{{name: "name"}}},
		{"version", f.Version, []indexed{{name: "version"}}},
		{"username", f.User, []indexed{{name: "username"}}},
		{"command", f.Command, []indexed{{name: "command_id"}, {"command_name", "j.command_name <> j.command_id"}}},
		{"cluster", f.Cluster, []indexed{{name: "cluster_id"}, {"cluster_name", "j.cluster_name <> j.cluster_id"}}},
	} {
		if m.text == "" {
			continue
		}
		p, err := readPattern(m.name, m.text)
		switch {
		case err != nil:
			return err
		case m.columns == nil:
			l.likeID(p)
		default:
			patterns = append(patterns, wanted{p, m.columns})
		}
	}
	l.carry(f.Tags)
	if len(f.Statuses) > 0 {
		l.conditions = append(l.conditions, inStates(f.Statuses))
	}
	for _, w := range patterns {
		if l.none {
			return nil
		}
		if err := l.like(ctx, w.pattern, w.columns); err != nil {
			return err
		}
	}
	return nil
}

func readPattern(name, text string) (pattern, error) {
	if err := checkText(field{name, text}); err != nil {
		return pattern{}, err
	}
	if len(text) > maxPattern {
		return pattern{}, errs.Errorf(errs.Invalid, "the pattern of %s is longer than %d bytes", name, maxPattern)
	}
	p, err := parsePattern(text)
	if err != nil {
		return pattern{}, errs.Errorf(errs.Invalid, "the pattern of %s %w", name, err)
	}
	return p, nil
}

// likeID asks for jobs with an id that is like a pattern: it bounds the list.
func (l *lookup) likeID(p pattern) {
	first, last, ok := idsFrom(p.start)
	if !ok || p.plain && len(p.start) < len(first) {
		l.none = true
		return
	}
	l.bound(first, last)
	if !p.plain && !p.open {
		l.conditions = append(l.conditions, condition{holds: func(s *query, id string, _ func(_, _ string)) string {
			return "CAST(" + id + " AS text) LIKE " + s.arg(p.text) + ` ESCAPE '\'`
		}})
	}
}

// Ids that bound all others.
const (
	leastID    job.ID = "00000000-0000-0000-0000-000000000000"
	greatestID job.ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
)

// bound holds the list to ids from first to last.
func (l *lookup) bound(first, last job.ID) {
	l.first, l.last = max(l.first, first), min(l.last, last)
	l.none = l.none || l.first > l.last
}

// bounded reports whether the list is held to some ids.
func (l *lookup) bounded() bool { return l.first != leastID || l.last != greatestID }

// indexed is a column of job that begins an index whose next is the id.
type indexed struct {
	name  string
	where string // which rows the index has, as more of a condition
}

// is leads to the jobs that have a value.
func (l *lookup) is(c indexed, value string) source {
	return source{table: "job j", value: l.bytes(c), is: value, id: "j.id", where: c.where}
}

// bytes returns a column of job j as its index has it, in the order of bytes.
func (l *lookup) bytes(c indexed) string { return "j." + c.name + l.byBytes }

// like asks for jobs of which one of the columns is like a pattern. When that
// leaves few values, or few jobs, an index leads to them.
func (l *lookup) like(ctx context.Context, p pattern, columns []indexed) error {
	if p.open && p.start == "" {
		return nil // whatever it is
	}
	c := condition{holds: func(s *query, id string, join func(table, on string)) string {
		join("job j", "j.id = "+id)
		operator := " LIKE " + s.arg(p.text) + ` ESCAPE '\'`
		var either []string
		for _, column := range columns {
			either = append(either, "COALESCE(j."+column.name+", '')"+operator)
		}
		return "(" + strings.Join(either, " OR ") + ")"
	}}
	few := true
	for _, column := range columns {
		matching := []string{p.start}
		if !p.plain {
			var err error
			if matching, few, err = l.values(ctx, column, p, l.maxValues); err != nil {
				return err
			}
		}
		for _, value := range matching {
			c.rows = append(c.rows, l.is(column, value))
		}
		if few = few && len(c.rows) <= l.maxRows; !few {
			break
		}
	}
	switch {
	case few && len(c.rows) == 0:
		l.none = true
	case !few && len(columns) == 1 && p.start != "":
		within := rows{l.from(columns[0], p)}
		counts, err := l.count(ctx, []way{{rows: within}}, l.maxSorted)
		if err != nil {
			return err
		}
		if c.rows = nil; counts[0] <= l.maxSorted {
			c.rows = within
		}
	case !few:
		c.rows = nil
	}
	l.conditions = append(l.conditions, c)
	return nil
}

// from leads to the jobs with a column like a pattern, by the part of its index
// that has the start of the pattern. The LIMIT keeps a database from another way.
func (l *lookup) from(c indexed, p pattern) source {
	return source{id: "k.id", inner: func(s *query) string {
		within := l.bytes(c) + " >= " + s.arg(p.start)
		if end, ok := behind(p.start); ok {
			within += " AND " + l.bytes(c) + " < " + s.arg(end)
		}
		if !p.open {
			within += " AND j." + c.name + " LIKE " + s.arg(p.text) + ` ESCAPE '\'`
		}
		return "(SELECT j.id FROM job j WHERE " + within + " LIMIT " + strconv.Itoa(2*l.maxSorted) + ") AS k"
	}}
}

// carry asks for jobs with all of the tags. The system tags of a job are its
// fields.
func (l *lookup) carry(tags tag.Set) {
	for i, t := range tags {
		name, value, _ := strings.Cut(t, ":")
		switch name {
		case "_id":
			if checkID(job.ID(value)) != nil {
				l.none = true
				return
			}
			l.bound(job.ID(value), job.ID(value))
		case "_name", "_version":
			column := indexed{name: strings.TrimPrefix(name, "_")}
			l.conditions = append(l.conditions, condition{
				rows: rows{l.is(column, value)},
				holds: func(s *query, id string, join func(table, on string)) string {
					join("job j", "j.id = "+id)
					return "COALESCE(j." + column.name + ", '') = " + s.arg(value)
				},
			})
		default:
			alias := "t" + strconv.Itoa(i)
			l.conditions = append(l.conditions, condition{
				rows: rows{{table: "job_tag " + alias, value: alias + ".tag", is: t, id: alias + ".job_id"}},
				holds: func(s *query, id string, join func(table, on string)) string {
					join("job_tag "+alias, alias+".tag = "+s.arg(t)+" AND "+alias+".job_id = "+id)
					return "COALESCE(" + alias + ".tag, '') <> ''"
				},
			})
		}
	}
}

// ownTags returns the tags of a job that are not fields of it.
func ownTags(j *job.Job) tag.Set {
	return slices.DeleteFunc(slices.Clone(j.Tags), func(t string) bool {
		name, _, has := strings.Cut(t, ":")
		return has && (name == "_id" || name == "_name" || name == "_version")
	})
}
