package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
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

// edges returns the ids that bound a stretch, when the list is in their order: the
// first and the last, and whether the one where it begins belongs to it.
func (l *lookup) edges(at stretch) (first, last job.ID, inside bool) {
	first, last, inside = l.first, l.last, true
	begin, end := &first, &last
	if l.descending {
		begin, end = &last, &first
	}
	if at.after != nil && at.after.ID >= first && at.after.ID <= last {
		*begin, inside = at.after.ID, false
	} else if at.after != nil && (at.after.ID > last) != l.descending { // behind all of them
		return last, first, false
	}
	if at.until != nil {
		*end = at.until.ID
	}
	return first, last, inside
}

// in returns the conditions that hold the rows of a source in a stretch.
func (l *lookup) in(s *query, r source, at stretch) []string {
	back, on := ">", "<=" // behind a place; up to a place
	if l.descending {
		back, on = "<", ">="
	}
	if r.sorted != "" {
		var where []string
		place := func(operator string, c *job.Cursor) {
			if c != nil {
				where = append(where, "("+r.sorted+", "+r.id+") "+operator+" ("+s.arg(stamp(c.Time))+", "+s.arg(string(c.ID))+")")
			}
		}
		place(back, at.after)
		place(on, at.until)
		if l.bounded() { // as text, which no index serves
			id := "CAST(" + r.id + " AS text)"
			where = append(where, id+" >= "+s.arg(string(l.first)), id+" <= "+s.arg(string(l.last)))
		}
		return where
	}
	first, last, inside := l.edges(at)
	from, to := ">= ", "<= "
	switch {
	case !inside && l.descending:
		to = "< "
	case !inside:
		from = "> "
	}
	where := []string{r.id + " " + from + s.arg(string(first)), r.id + " " + to + s.arg(string(last))}
	if r.value != "" {
		where = append(where, r.value+fmt.Sprintf(l.oneOf, s.arg(r.is)))
	}
	return where
}

// ordered returns the clause that orders by columns in the direction of the list.
func (l *lookup) ordered(columns ...string) string {
	direction := ""
	if l.descending {
		direction = " DESC"
	}
	clause := " ORDER BY "
	for i, c := range columns {
		if i > 0 {
			clause += ", "
		}
		clause += c + direction
	}
	return clause
}

// columns returns the columns of what is found that have the order of the list.
func (l *lookup) columns() []string {
	if l.sorts() {
		return []string{"sorted", "id"}
	}
	return []string{"id"}
}

// matching returns a query for the first n jobs in a stretch that some rows lead
// to and that fulfill the conditions, without those before the nth. Every table
// but that of the rows is joined so that a database cannot begin with it, and the
// order is that of one index.
func (l *lookup) matching(s *query, from rows, rest []condition, at stretch, n, nth int) string {
	window := " LIMIT " + strconv.Itoa(n-nth) + " OFFSET " + strconv.Itoa(nth)
	if len(from) == 1 {
		return l.part(s, from[0], rest, at) + window
	}
	parts := make([]string, len(from))
	for i, r := range from {
		parts[i] = "SELECT * FROM (" + l.part(s, r, rest, at) + " LIMIT " + strconv.Itoa(n) + ") AS part" + strconv.Itoa(i)
	}
	return strings.Join(parts, " UNION ALL ") + l.ordered(l.columns()...) + window
}

func (l *lookup) part(s *query, r source, rest []condition, at stretch) string {
	if l.sorts() && r.sorted == "" { // few: all of them are sorted
		all := "(" + l.ids(s, r, 2*l.maxSorted) + ") AS k"
		r = source{table: all, id: "k.id"}
	}
	table := r.from(s)
	joined, joins := map[string]bool{table: true}, ""
	join := func(table, on string) {
		if !joined[table] {
			joined[table] = true
			joins += " LEFT JOIN " + table + " ON " + on
		}
	}
	columns, order := r.id+" AS id", []string{r.id}
	if l.sorts() {
		if r.sorted == "" {
			r.sorted = changed(r.id, join)
		}
		columns, order = r.sorted+" AS sorted, "+columns, []string{r.sorted, r.id}
	} else if r.value != "" {
		order = []string{r.value, r.id}
	}
	where := l.in(s, r, at)
	if r.where != "" {
		where = append(where, r.where)
	}
	if r.keep != "" {
		where = append(where, r.keep)
	}
	for _, c := range rest {
		where = append(where, c.holds(s, r.id, join))
	}
	return "SELECT " + columns + " FROM " + table + joins + " WHERE " + strings.Join(append(where, "TRUE"), " AND ") + l.ordered(order...)
}

// ids returns a query for n ids that a source leads to, whatever the order of the
// list is.
func (l *lookup) ids(s *query, r source, n int) string {
	byID := *l
	byID.order = job.ByID
	r.sorted = ""
	return byID.part(s, r, nil, stretch{}) + " LIMIT " + strconv.Itoa(n)
}

// find returns where the first n jobs are in a stretch that some rows lead to and
// that fulfill the conditions. Numbers of rows are written into the text, here and
// below: a database plans for few rows otherwise than for many.
func (l *lookup) find(ctx context.Context, w way, at stretch, n int) ([]job.Cursor, error) {
	var (
		s     query
		found []job.Cursor
	)
	rows := n
	if len(w.rows) > 1 { // two may lead to one job, not more
		rows = 2 * n
	}
	err := l.each(ctx, l.matching(&s, w.rows, w.rest, at, rows, 0), s.args, func(scan func(...any) error) error {
		var c job.Cursor
		if err := scan(l.fields(&c)...); err != nil {
			return err
		}
		if last := len(found) - 1; last < 0 || found[last] != c {
			found = append(found, c)
		}
		return nil
	})
	return found[:min(n, len(found))], err
}

// fields returns where to scan the columns of what is found to.
func (l *lookup) fields(c *job.Cursor) []any {
	if l.sorts() {
		return []any{fromTime(&c.Time), (*string)(&c.ID)}
	}
	return []any{(*string)(&c.ID)}
}

// ahead returns for each of several ways through the list where its n-th row from
// a place on is; nil when there are fewer.
func (l *lookup) ahead(ctx context.Context, ways []way, after *job.Cursor, n int) ([]*job.Cursor, error) {
	var (
		s       query
		columns []string
	)
	for _, w := range ways {
		w.rows = slices.Clone(w.rows)
		for i := range w.rows {
			w.rows[i].keep = "" // whatever is looked at counts
		}
		columns = append(columns, l.matching(&s, w.rows, nil, stretch{after: after}, n, n-1))
	}
	places := make([]*job.Cursor, len(ways))
	if l.sorts() { // one way, and a place is of two columns
		err := l.each(ctx, columns[0], s.args, func(scan func(...any) error) error {
			places[0] = &job.Cursor{}
			return scan(l.fields(places[0])...)
		})
		return places, err
	}
	err := l.each(ctx, "SELECT ("+strings.Join(columns, "), (")+")", s.args, func(scan func(...any) error) error {
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

// count returns how many rows each of several ways has; some number above n when
// there are more than that.
func (l *lookup) count(ctx context.Context, ways []way, n int) ([]int, error) {
	var (
		s       query
		columns []string
	)
	for _, w := range ways {
		parts := make([]string, len(w.rows))
		for i, r := range w.rows {
			parts[i] = "SELECT * FROM (" + l.ids(&s, r, n+1) + ") AS part" + strconv.Itoa(i)
		}
		columns = append(columns, "(SELECT count(*) FROM ("+strings.Join(parts, " UNION ALL ")+") AS few)")
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
	name, within := l.bytes(column), ""
	if column.where != "" {
		within = " AND " + column.where
	}
	if end, ok := behind(p.start); ok {
		within += " AND " + name + " < " + s.arg(end)
	}
	text := `WITH RECURSIVE v (value) AS (
			SELECT (SELECT min(` + name + `) FROM job j WHERE ` + name + ` >= ` + s.arg(p.start) + within + `)
			UNION ALL
			SELECT (SELECT min(` + name + `) FROM job j WHERE ` + name + ` > v.value` + within + `)
			FROM v
			WHERE v.value IS NOT NULL
		)
		SELECT value, value LIKE ` + s.arg(p.text) + ` ESCAPE '\'
		FROM v
		WHERE value IS NOT NULL
		LIMIT ` + strconv.Itoa(n+1)
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
