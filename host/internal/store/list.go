package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// maxPattern is the length of the longest pattern, bytes.
const maxPattern = 1000

// Jobs returns a page of jobs, without the content of their results. A job that
// is added while somebody pages does not move the others; one that changes state
// moves in a list ordered by that time.
func (db *DB) Jobs(ctx context.Context, f job.Filter) (job.Page, error) {
	limit := max(1, f.Limit)
	l, err := db.newList(f)
	if err != nil || l.none {
		return job.Page{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := db.read.QueryContext(ctx, l.query(limit+1), l.args...)
	if err != nil {
		return job.Page{}, fmt.Errorf("list jobs: %w", db.fault(err))
	}
	defer func() { _ = rows.Close() }()
	var page job.Page
	for rows.Next() {
		var (
			j job.Job
			s state
		)
		if err := rows.Scan(append(requestFields(&j), s.fields()...)...); err != nil {
			return job.Page{}, fmt.Errorf("list jobs: %w", db.fault(err))
		}
		if err := s.apply(&j); err != nil {
			return job.Page{}, fmt.Errorf("list jobs: %w", err)
		}
		page.Jobs = append(page.Jobs, &j)
	}
	if err := rows.Err(); err != nil {
		return job.Page{}, fmt.Errorf("list jobs: %w", db.fault(err))
	}
	if len(page.Jobs) > limit {
		page.Jobs = page.Jobs[:limit]
		page.Next = cursor(f.Order, page.Jobs[limit-1])
	}
	return page, nil
}

func cursor(order job.Order, last *job.Job) *job.Cursor {
	switch order {
	case job.ByCreatedAt:
		return &job.Cursor{ID: last.ID, Time: last.CreatedAt}
	case job.ByUpdatedAt:
		return &job.Cursor{ID: last.ID, Time: last.UpdatedAt}
	}
	return &job.Cursor{ID: last.ID}
}

// jobList builds the query of a list. Jobs are looked for in each place that the
// wanted states can be in, each in the order of the list and no more than the
// page needs, so that an index serves the order and nothing is sorted but what
// lives.
type jobList struct {
	order     job.Order
	direction string // ASC or DESC
	beyond    string // the operator of the cursor
	after     *job.Cursor
	statuses  []job.Status
	where     []string
	args      []any
	none      bool // nothing can match
}

func (db *DB) newList(f job.Filter) (*jobList, error) {
	l := &jobList{order: f.Order, direction: "DESC", beyond: "<", after: f.After, statuses: f.Statuses}
	if f.Ascending {
		l.direction, l.beyond = "ASC", ">"
	}
	switch f.Order {
	case "", job.ByID, job.ByCreatedAt, job.ByUpdatedAt:
	default:
		return nil, errs.Errorf(errs.Invalid, "a list cannot be ordered by %.40q", string(f.Order))
	}
	for _, s := range f.Statuses {
		if !slices.Contains(job.Statuses(), s) {
			return nil, errs.Errorf(errs.Invalid, "%.40q is not a job status", string(s))
		}
	}
	if f.After != nil && checkID(f.After.ID) != nil {
		return nil, errs.Errorf(errs.Invalid, "the cursor does not name a job")
	}
	for _, p := range []struct {
		name, pattern string
		columns       []string
	}{
		{"id", f.ID, []string{"j.id"}},
		{"name", f.Name, []string{"j.name"}},
		{"version", f.Version, []string{"j.version"}},
		{"username", f.User, []string{"j.username"}},
		{"command", f.Command, []string{"j.command_id", "j.command_name"}},
		{"cluster", f.Cluster, []string{"j.cluster_id", "j.cluster_name"}},
	} {
		if err := l.match(p.name, p.pattern, p.columns); err != nil {
			return nil, err
		}
	}
	return l, l.carry(f.Tags, db.text.hasTags)
}

// arg adds an argument and returns its place.
func (l *jobList) arg(v any) string {
	l.args = append(l.args, v)
	return "$" + strconv.Itoa(len(l.args))
}

// match asks for rows of which one column is like the pattern.
func (l *jobList) match(name, pattern string, columns []string) error {
	if pattern == "" {
		return nil
	}
	if err := checkText(field{name, pattern}); err != nil {
		return err
	}
	if len(pattern) > maxPattern {
		return errs.Errorf(errs.Invalid, "the pattern of %s is longer than %d bytes", name, maxPattern)
	}
	text, plain, err := literal(pattern)
	if err != nil {
		return errs.Errorf(errs.Invalid, "the pattern of %s %w", name, err)
	}
	if plain && name == "id" && checkID(job.ID(text)) != nil {
		l.none = true
		return nil
	}
	var either []string
	for _, c := range columns {
		switch {
		case plain:
			either = append(either, c+" = "+l.arg(text))
		case c == "j.id":
			either = append(either, "CAST(j.id AS text) LIKE "+l.arg(pattern)+` ESCAPE '\'`)
		default:
			either = append(either, c+" LIKE "+l.arg(pattern)+` ESCAPE '\'`)
		}
	}
	l.where = append(l.where, "("+strings.Join(either, " OR ")+")")
	return nil
}

// literal returns the only text that a pattern without wildcards matches.
func literal(pattern string) (text string, plain bool, err error) {
	var b strings.Builder
	plain = true
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '%', '_':
			plain = false
		case '\\':
			if i++; i == len(pattern) {
				return "", false, fmt.Errorf(`ends in a lone \: write \\ for the character itself`)
			}
			b.WriteByte(pattern[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), plain, nil
}

// carry asks for jobs with all of the tags. The system tags of a job are its
// fields.
func (l *jobList) carry(tags tag.Set, has string) error {
	var own tag.Set
	for _, t := range tags {
		if err := checkText(field{"tags", t}); err != nil {
			return err
		}
		switch name, value, _ := strings.Cut(t, ":"); name {
		case "_id":
			if checkID(job.ID(value)) != nil {
				l.none = true
				return nil
			}
			l.where = append(l.where, "j.id = "+l.arg(value))
		case "_name":
			l.where = append(l.where, "j.name = "+l.arg(value))
		case "_version":
			l.where = append(l.where, "j.version = "+l.arg(value))
		default:
			own = append(own, t)
		}
	}
	if len(own) > 0 {
		l.where = append(l.where, fmt.Sprintf(has, l.arg(*toJSON(own))))
	}
	return nil
}

// place is a table that jobs can be in.
type place struct {
	table, changed string // changed: the column of the latest change
	states         map[job.Status]string
}

func places() []place {
	return []place{
		{"job_ready", "updated_at", map[job.Status]string{job.New: "TRUE"}},
		{"job_lease", "updated_at", map[job.Status]string{
			job.Accepted:  "s.cancel_at IS NULL AND s.started_at IS NULL",
			job.Running:   "s.cancel_at IS NULL AND s.started_at IS NOT NULL",
			job.Canceling: "s.cancel_at IS NOT NULL",
		}},
		{"job_end", "ended_at", map[job.Status]string{
			job.Succeeded: "s.status = 'SUCCEEDED'",
			job.Failed:    "s.status = 'FAILED'",
			job.Killed:    "s.status = 'KILLED'",
			job.Canceled:  "s.status = 'CANCELED'",
		}},
	}
}

// query returns the statement for n jobs.
func (l *jobList) query(n int) string {
	var found []string
	limit := l.arg(n)
	for _, p := range places() {
		if q := l.in(p, limit); q != "" {
			found = append(found, "SELECT id, sorted FROM ("+q+") AS "+p.table)
		}
	}
	order := "sorted " + l.direction + ", id " + l.direction
	return "SELECT " + jobRequest + ", " + jobState + `
		FROM (
			SELECT id, sorted
			FROM (` + strings.Join(found, " UNION ALL ") + `) AS places
			ORDER BY ` + order + `
			LIMIT ` + limit + `
		) AS page
		JOIN job j ON j.id = page.id` + jobTables + `
		ORDER BY page.sorted ` + l.direction + ", page.id " + l.direction
}

// in returns the part of the query for one place; "" when no wanted state is
// there.
func (l *jobList) in(p place, limit string) string {
	where := slices.Clone(l.where)
	if len(l.statuses) > 0 {
		var any []string
		for _, s := range slices.Compact(slices.Sorted(slices.Values(l.statuses))) {
			if condition, here := p.states[s]; here {
				any = append(any, condition)
			}
		}
		if len(any) == 0 {
			return ""
		}
		if len(any) < len(p.states) {
			where = append(where, "("+strings.Join(any, " OR ")+")")
		}
	}
	// Few jobs do not succeed, and they have an index of their own.
	rare := len(l.statuses) > 0 && !slices.Contains(l.statuses, job.Succeeded)
	if rare && p.table == "job_end" {
		where = append(where, "s.status <> 'SUCCEEDED'")
	}

	// What lives comes first, with the columns of the order in its own table; of
	// the ended, the table whose index has the order does. CROSS JOIN is how
	// SQLite is told so.
	tables, id, time := p.table+" s CROSS JOIN job j", "s.job_id", ""
	if p.table == "job_end" && l.order != job.ByUpdatedAt && !rare {
		tables, id = "job j CROSS JOIN job_end s", "j.id"
	}
	switch {
	case l.order == job.ByUpdatedAt:
		time = "s." + p.changed
	case l.order == job.ByCreatedAt && p.table == "job_end":
		time, id = "j.created_at", "j.id"
	case l.order == job.ByCreatedAt:
		time = "s.created_at"
	}
	if l.after != nil && time == "" {
		where = append(where, id+" "+l.beyond+" "+l.arg(string(l.after.ID)))
	} else if l.after != nil {
		where = append(where, "("+time+", "+id+") "+l.beyond+" ("+l.arg(stamp(l.after.Time))+", "+l.arg(string(l.after.ID))+")")
	}
	sorted, order := "NULL", id+" "+l.direction
	if time != "" {
		sorted, order = time, time+" "+l.direction+", "+order
	}
	return "SELECT " + id + " AS id, " + sorted + " AS sorted FROM " + tables +
		" WHERE " + strings.Join(append([]string{"j.id = s.job_id"}, where...), " AND ") +
		" ORDER BY " + order + " LIMIT " + limit
}
