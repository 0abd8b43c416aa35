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
	read    reader
	fault   func(error) error
	byBytes string // has text compared by its bytes
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
	return db.jobs(ctx, &lookup{read: db.lists, fault: db.fault, byBytes: db.text.byBytes, limits: usualLimits()}, f)
}

func (db *DB) jobs(ctx context.Context, l *lookup, f job.Filter) (job.Page, error) {
	l.order, l.descending = f.Order, !f.Ascending
	l.first, l.last = leastID, greatestID
	if err := l.require(ctx, f); err != nil || l.none {
		return job.Page{}, err
	}
	page, err := l.page(ctx, f)
	if err != nil {
		return job.Page{}, fmt.Errorf("list jobs: %w", err)
	}
	return page, nil
}

func (l *lookup) page(ctx context.Context, f job.Filter) (job.Page, error) {
	limit := max(1, f.Limit)
	ways := l.ways()
	if l.sorts() {
		if w, ok, err := l.sortable(ctx, ways); err != nil {
			return job.Page{}, err
		} else if ok {
			jobs, err := l.find(ctx, w.rows, w.rest, stretch{after: f.After}, limit+1)
			return l.upTo(limit, jobs), err
		}
		conditions := l.conditions
		if len(f.Statuses) > 0 { // that is in the way
			conditions = slices.DeleteFunc(slices.Clone(conditions), func(c condition) bool { return c.states })
		}
		ways = []way{byChange(f.Statuses, conditions)}
	}
	if len(ways) == 1 && len(ways[0].rest) == 0 && !(l.sorts() && len(f.Statuses) > 0) {
		jobs, err := l.find(ctx, ways[0].rows, nil, stretch{after: f.After}, limit+1)
		return l.upTo(limit, jobs), err
	}
	return l.walk(ctx, ways, f.After, limit)
}

// upTo makes a page of the first jobs of a list.
func (l *lookup) upTo(limit int, jobs []*job.Job) job.Page {
	page := job.Page{Jobs: jobs}
	if len(jobs) > limit {
		page.Jobs = jobs[:limit]
		page.Next = l.cursor(jobs[limit-1])
	}
	return page
}

func (l *lookup) cursor(last *job.Job) *job.Cursor {
	if l.sorts() {
		return &job.Cursor{ID: last.ID, Time: last.UpdatedAt}
	}
	return &job.Cursor{ID: last.ID}
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

// walk goes through the list in slices until the page is full or the time is
// over. Each slice takes the way on which a number of rows leads farthest: there,
// the fewest rows have to be looked at.
func (l *lookup) walk(ctx context.Context, ways []way, after *job.Cursor, limit int) (job.Page, error) {
	var jobs []*job.Job
	begun := time.Now()
	for n, first := l.slice, true; ; first = false {
		start := time.Now()
		slice, cancel := ctx, context.CancelFunc(func() {})
		if !first {
			slice, cancel = context.WithDeadline(ctx, begun.Add(l.time+lastSlice))
		}
		found, end, err := l.look(slice, ways, after, n, limit+1)
		over := slice.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err != nil && over: // what was found before is a page
			return job.Page{Jobs: jobs, Next: after}, nil
		case err != nil:
			return job.Page{}, err
		}
		if jobs = append(jobs, found...); len(jobs) > limit || end == nil {
			return l.upTo(limit, jobs), nil
		}
		after = end
		if time.Since(begun) >= l.time {
			return job.Page{Jobs: jobs, Next: after}, nil
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

// look looks at the next slice of a list, and returns the jobs in it and its end;
// nil when that is the end of the list.
func (l *lookup) look(ctx context.Context, ways []way, after *job.Cursor, n, limit int) ([]*job.Job, *job.Cursor, error) {
	ends, err := l.ahead(ctx, ways, after, n)
	if err != nil {
		return nil, nil, err
	}
	farthest := 0
	for i, end := range ends {
		if best := ends[farthest]; best != nil && (end == nil || l.behind(end, best)) {
			farthest = i
		}
	}
	jobs, err := l.find(ctx, ways[farthest].rows, ways[farthest].rest, stretch{after: after, until: ends[farthest]}, limit)
	return jobs, ends[farthest], err
}

// behind reports whether a place in the list is behind another.
func (l *lookup) behind(a, b *job.Cursor) bool {
	if l.descending {
		a, b = b, a
	}
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) > 0
}
