package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// limits bound what one page may cost.
type limits struct {
	time      time.Duration // after which a page ends as it is, with a place to go on from
	slice     int           // rows that are looked at first; later slices are larger
	maxValues int           // values of a column that are told apart for a pattern
	maxRows   int           // values that a pattern may stand for when indexes are to lead to them
	maxSorted int           // jobs that are sorted when no index has the order
}

// usualLimits let a page take no more than two seconds: one slice, begun just
// before, takes a part of the last half second.
func usualLimits() limits {
	return limits{time: 1500 * time.Millisecond, slice: 512, maxValues: 64, maxRows: 16, maxSorted: 5000}
}

const (
	sliceTime = 150 * time.Millisecond // that a slice is to take
	lastSlice = 400 * time.Millisecond // that the last slice may take
	maxSlice  = 1 << 17                // rows
)

// lookup is one look for a page.
type lookup struct {
	read  reader
	fault func(error) error
	dialect
	limits
	order       job.Order
	descending  bool
	first, last job.ID // bounds of ids
	conditions  []condition
	none        bool // nothing can fulfill them
}

// Jobs returns a page of jobs, without the content of their results. A job that
// is added while somebody pages does not move the others; one that changes state
// moves in a list ordered by that time. When a filter is one that no index serves,
// the page ends after two seconds at most, with fewer jobs than there are or none,
// and the next goes on from there.
//
// The order by creation is that of ids, which begin with that time.
func (db *DB) Jobs(ctx context.Context, f job.Filter) (job.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return db.jobs(ctx, &lookup{read: db.lists, fault: db.fault, dialect: db.text, limits: usualLimits()}, f)
}

func (db *DB) jobs(ctx context.Context, l *lookup, f job.Filter) (job.Page, error) {
	l.order, l.descending = f.Order, !f.Ascending
	l.first, l.last = leastID, greatestID
	if err := l.require(ctx, f); err != nil || l.none {
		return job.Page{}, err
	}
	places, next, err := l.page(ctx, f)
	if err != nil {
		return job.Page{}, fmt.Errorf("list jobs: %w", err)
	}
	jobs, err := db.at(ctx, places, f.Statuses)
	if err != nil {
		return job.Page{}, fmt.Errorf("list jobs: %w", db.fault(err))
	}
	return job.Page{Jobs: jobs, Next: next}, nil
}

// at reads the jobs at some places of a list, without the content of their results.
// Those that are gone meanwhile, or have none of the statuses any more, are left
// out.
func (db *DB) at(ctx context.Context, places []job.Cursor, statuses []job.Status) ([]*job.Job, error) {
	if len(places) == 0 {
		return nil, nil
	}
	ids := make([]job.ID, len(places))
	for i, p := range places {
		ids[i] = p.ID
	}
	rows, err := db.read.QueryContext(ctx, "SELECT "+jobRequest+", "+jobState+`
		FROM job j`+jobTables+`
		WHERE j.id IN (`+db.text.idsOf+`)`, *toJSON(ids))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	found := make(map[job.ID]*job.Job, len(ids))
	for rows.Next() {
		var (
			j job.Job
			s state
		)
		if err := rows.Scan(append(requestFields(&j), s.fields()...)...); err != nil {
			return nil, err
		}
		if err := s.apply(&j); err != nil {
			return nil, err
		}
		if len(statuses) == 0 || slices.Contains(statuses, j.Status) {
			found[j.ID] = &j
		}
	}
	jobs := make([]*job.Job, 0, len(found))
	for _, id := range ids {
		if j := found[id]; j != nil {
			jobs = append(jobs, j)
		}
	}
	return jobs, rows.Err()
}

// page returns where the jobs of a page are, and where the next page begins.
func (l *lookup) page(ctx context.Context, f job.Filter) ([]job.Cursor, *job.Cursor, error) {
	limit := max(1, f.Limit)
	ways := l.ways()
	whole := len(ways) == 1 && len(ways[0].rest) == 0
	var (
		seen  []job.Cursor
		after = f.After
	)
	if l.sorts() {
		byID := ways
		ways = []way{l.byChange(f.Statuses)}
		if whole = len(l.conditions) == 0; !whole {
			found, end, err := l.look(ctx, ways, f.After, 4*l.slice, limit+1)
			if err != nil || len(found) > limit || end == nil {
				places, next := upTo(limit, found)
				return places, next, err
			}
			few, ok, err := l.sortable(ctx, byID)
			if err != nil {
				return nil, nil, err
			}
			if ok {
				ways, whole = []way{few}, true
			}
			seen, after = found, end
		}
	}
	if !whole {
		return l.walk(ctx, ways, seen, after, limit)
	}
	found, err := l.find(ctx, ways[0], stretch{after: f.After}, limit+1)
	places, next := upTo(limit, found)
	return places, next, err
}

// upTo returns the places of a page, and where the next begins: nil when there is
// none.
func upTo(limit int, found []job.Cursor) ([]job.Cursor, *job.Cursor) {
	if len(found) <= limit {
		return found, nil
	}
	return found[:limit], &found[limit-1]
}

// sortable returns a way that leads to so few jobs that they can be sorted, if
// there is one.
func (l *lookup) sortable(ctx context.Context, ways []way) (way, bool, error) {
	if len(ways) == 1 && len(ways[0].rest) == len(l.conditions) && !l.bounded() { // it leads to every job

		return way{}, false, nil
	}
	counts, err := l.count(ctx, ways, l.maxSorted)
	if err != nil {
		return way{}, false, err
	}
	best := slices.Index(counts, slices.Min(counts))
	if counts[best] > l.maxSorted {
		return way{}, false, nil
	}
	return ways[best], true, nil
}

// walk goes on through the list, from a place behind what was found, in slices until
// the page is full or the time is over. Each slice takes the way on which a number of rows leads farthest: there,
// the fewest rows have to be looked at.
func (l *lookup) walk(ctx context.Context, ways []way, found []job.Cursor, after *job.Cursor, limit int) ([]job.Cursor, *job.Cursor, error) {
	begun := time.Now()
	for n, first := l.slice, true; ; first = false {
		start := time.Now()
		slice, cancel := ctx, context.CancelFunc(func() {})
		if !first {
			slice, cancel = context.WithDeadline(ctx, begun.Add(l.time+lastSlice))
		}
		more, end, err := l.look(slice, ways, after, n, limit+1)
		over := slice.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err != nil && over: // what was found before is a page
			return found, after, nil
		case err != nil:
			return nil, nil, err
		}
		found = append(found, more...)
		if len(found) > limit || end == nil {
			places, next := upTo(limit, found)
			return places, next, nil
		}
		after = end
		if time.Since(begun) >= l.time {
			return found, after, nil
		}
		n = next(n, time.Since(start))
	}
}

// next returns how many rows to look at after n of them took some time: as many,
// or four times more or less.
func next(n int, took time.Duration) int {
	switch {
	case took > 2*sliceTime:
		return max(n/4, 1)
	case took < sliceTime/4 && n < maxSlice:
		return 4 * n
	}
	return n
}

// look looks at the next slice of a list, and returns where in it jobs are and its
// end; nil when that is the end of the list.
func (l *lookup) look(ctx context.Context, ways []way, after *job.Cursor, n, limit int) ([]job.Cursor, *job.Cursor, error) {
	ends, err := l.ahead(ctx, ways, after, n)
	if err != nil {
		return nil, nil, err
	}
	farthest := 0
	for i, end := range ends {
		if best := ends[farthest]; best != nil && (end == nil || l.compare(end, best) > 0) {
			farthest = i
		}
	}
	found, err := l.find(ctx, ways[farthest], stretch{after: after, until: ends[farthest]}, limit)
	return found, ends[farthest], err
}

// compare is negative when a place in the list is before another.
func (l *lookup) compare(a, b *job.Cursor) int {
	if l.descending {
		a, b = b, a
	}
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
}
