package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// reader reads from a database.
type reader interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// query is the text of a statement with the arguments that it refers to.
type query struct{ args []any }

// arg adds an argument and returns how the text refers to it.
func (s *query) arg(v any) string {
	s.args = append(s.args, v)
	return "$" + strconv.Itoa(len(s.args))
}

// stretch is a part of an ordered list: from behind a place up to another, or to
// the end.
type stretch struct {
	after *job.Cursor // nil: from the beginning
	until *job.Cursor // itself in the stretch; nil: to the end
}

// sorts reports whether the list is not in the order of ids.
func (l *lookup) sorts() bool { return l.order == job.ByUpdatedAt }

// in returns the conditions that hold a row in a stretch. The last parameters are
// the columns of its id and of what the list is sorted by; the latter is not read
// when that is the id.
func (l *lookup) in(s *query, at stretch, id, sorted string) []string {
	back, on := ">", "<=" // behind a place; up to a place
	if l.descending {
		back, on = "<", ">="
	}
	var where []string
	place := func(operator string, c *job.Cursor) {
		switch {
		case c == nil:
		case l.sorts():
			where = append(where, "("+sorted+", "+id+") "+operator+" ("+s.arg(stamp(c.Time))+", "+s.arg(string(c.ID))+")")
		default:
			where = append(where, id+" "+operator+" "+s.arg(string(c.ID)))
		}
	}
	place(back, at.after)
	place(on, at.until)
	if l.first != "" {
		where = append(where, id+" >= "+s.arg(string(l.first)), id+" <= "+s.arg(string(l.last)))
	}
	return where
}

// ordered returns the clause for the order of the list, by columns of a query.
func (l *lookup) ordered(id, sorted string) string {
	direction := ""
	if l.descending {
		direction = " DESC"
	}
	if l.sorts() {
		return " ORDER BY " + sorted + direction + ", " + id + direction
	}
	return " ORDER BY " + id + direction
}

// matching returns a query for the jobs in a stretch that some rows lead to and
// that fulfill the conditions. Every table but that of the rows is joined so that a
// database cannot begin with it.
func (l *lookup) matching(s *query, from rows, rest []condition, at stretch) string {
	selected := make([]string, len(from))
	for i, r := range from {
		table, where := r.text(s)
		joined, joins := map[string]bool{table: true}, ""
		join := func(table, on string) {
			if !joined[table] {
				joined[table] = true
				joins += " LEFT JOIN " + table + " ON " + on
			}
		}
		sorted := r.sorted
		if l.sorts() && sorted == "" {
			sorted = changed(r.id, join)
		}
		where = append(where, l.in(s, at, r.id, sorted)...)
		for _, c := range rest {
			where = append(where, c.holds(s, r.id, join))
		}
		columns := r.id + " AS id"
		if l.sorts() {
			columns += ", " + sorted + " AS sorted"
		}
		selected[i] = "SELECT " + columns + " FROM " + table + joins + all(where)
	}
	return strings.Join(selected, " UNION ALL ")
}

// all returns the clause that asks for all of the conditions.
func all(conditions []string) string {
	if len(conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(conditions, " AND ")
}

// find returns the first n jobs in a stretch that some rows lead to and that
// fulfill the conditions.
func (l *lookup) find(ctx context.Context, from rows, rest []condition, at stretch, n int) ([]*job.Job, error) {
	var s query
	columns := "id"
	if l.sorts() {
		columns = "id, sorted"
	}
	found := l.matching(&s, from, rest, at) + l.ordered("id", "sorted")
	if len(from) > 1 { // two rows may lead to one job, not more
		found = "SELECT DISTINCT " + columns + " FROM (" + found + " LIMIT " + s.arg(2*n) + ") AS twice" + l.ordered("id", "sorted")
	}
	text := "SELECT " + jobRequest + ", " + jobState + " FROM (" + found + " LIMIT " + s.arg(n) + `) AS page
		JOIN job j ON j.id = page.id` + jobTables + l.ordered("page.id", "page.sorted")
	var jobs []*job.Job
	err := l.each(ctx, text, s.args, func(scan func(...any) error) error {
		var (
			j job.Job
			t state
		)
		if err := scan(append(requestFields(&j), t.fields()...)...); err != nil {
			return err
		}
		jobs = append(jobs, &j)
		return t.apply(&j)
	})
	return jobs, err
}

// ahead returns for each of several ways through the list where its n-th row from
// a place on is; nil when there are fewer.
func (l *lookup) ahead(ctx context.Context, ways []way, after *job.Cursor, n int) ([]*job.Cursor, error) {
	var (
		s       query
		columns []string
	)
	skip := ""
	for _, w := range ways {
		found := l.matching(&s, w.rows, nil, stretch{after: after})
		if skip == "" {
			skip = " LIMIT 1 OFFSET " + s.arg(n-1)
		}
		columns = append(columns, "("+found+l.ordered("id", "sorted")+skip+")")
	}
	places := make([]*job.Cursor, len(ways))
	if l.sorts() { // one way, and a place is of two columns
		found := strings.TrimSuffix(strings.TrimPrefix(columns[0], "("), ")")
		err := l.each(ctx, found, s.args, func(scan func(...any) error) error {
			places[0] = &job.Cursor{}
			return scan((*string)(&places[0].ID), fromTime(&places[0].Time))
		})
		return places, err
	}
	err := l.each(ctx, "SELECT "+strings.Join(columns, ", "), s.args, func(scan func(...any) error) error {
		ids := make([]sql.NullString, len(ways))
		fields := make([]any, len(ways))
		for i := range ids {
			fields[i] = &ids[i]
		}
		if err := scan(fields...); err != nil {
			return err
		}
		for i, id := range ids {
			if id.Valid {
				places[i] = &job.Cursor{ID: job.ID(id.String)}
			}
		}
		return nil
	})
	return places, err
}

// count returns how many rows each of several ways has, n at most.
func (l *lookup) count(ctx context.Context, ways []way, n int) ([]int, error) {
	var (
		s       query
		columns []string
	)
	most := s.arg(n)
	for _, w := range ways {
		selected := make([]string, len(w.rows))
		for i, r := range w.rows {
			table, where := r.text(&s)
			where = append(where, l.in(&s, stretch{}, r.id, "")...)
			selected[i] = "SELECT " + r.id + " AS id FROM " + table + all(where)
		}
		columns = append(columns, "(SELECT count(*) FROM ("+strings.Join(selected, " UNION ALL ")+" LIMIT "+most+") AS few)")
	}
	counts := make([]int, len(ways))
	err := l.each(ctx, "SELECT "+strings.Join(columns, ", "), s.args, func(scan func(...any) error) error {
		fields := make([]any, len(ways))
		for i := range counts {
			fields[i] = &counts[i]
		}
		return scan(fields...)
	})
	return counts, err
}

// values returns the values that a column has from a text on, in their order, and
// which of them match a pattern. It skips from one to the next, so it is fast when
// there are few, and stops behind n.
func (l *lookup) values(ctx context.Context, column indexed, p pattern, n int) (matching []string, all bool, err error) {
	var s query
	within := column.where
	if end, ok := behind(p.start); ok {
		within += " AND j." + column.name + " < " + s.arg(end)
	}
	text := `WITH RECURSIVE v (value) AS (
			SELECT (SELECT min(j.` + column.name + `) FROM job j WHERE j.` + column.name + ` >= ` + s.arg(p.start) + within + `)
			UNION ALL
			SELECT (SELECT min(j.` + column.name + `) FROM job j WHERE j.` + column.name + ` > v.value` + within + `)
			FROM v
			WHERE v.value IS NOT NULL
		)
		SELECT value, value LIKE ` + s.arg(p.text) + ` ESCAPE '\'
		FROM v
		WHERE value IS NOT NULL
		LIMIT ` + s.arg(n+1)
	seen := 0
	err = l.each(ctx, text, s.args, func(scan func(...any) error) error {
		var (
			value string
			like  bool
		)
		seen++
		if err := scan(&value, &like); err != nil {
			return err
		}
		if like {
			matching = append(matching, value)
		}
		return nil
	})
	return matching, seen <= n, err
}

// each runs a query and calls row for each of its rows.
func (l *lookup) each(ctx context.Context, query string, args []any, row func(scan func(...any) error) error) error {
	found, err := l.read.QueryContext(ctx, query, args...)
	if err != nil {
		return l.fault(err)
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		if err := row(found.Scan); err != nil {
			return fmt.Errorf("read a row: %w", l.fault(err))
		}
	}
	return l.fault(found.Err())
}
