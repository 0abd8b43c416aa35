package memstore

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// maxPattern is the length of the longest pattern, bytes.
const maxPattern = 1000

// Jobs is that of store.DB.
func (s *Store) Jobs(ctx context.Context, f job.Filter) (page job.Page, err error) {
	wanted, err := newWanted(f)
	if err != nil {
		return page, err
	}
	limit := max(1, f.Limit)
	err = s.do(ctx, "Jobs", func(t *tables) error {
		var found []*job.Job
		for _, r := range t.jobs {
			if j := r.view(); wanted.is(j) {
				found = append(found, j)
			}
		}
		slices.SortFunc(found, wanted.before)
		if len(found) > limit {
			page.Next = cursor(f.Order, found[limit-1])
			found = found[:limit]
		}
		page.Jobs = found
		return nil
	})
	if err != nil {
		return job.Page{}, err
	}
	for _, j := range page.Jobs {
		if j.Result != nil {
			j.Result.Inline = nil
		}
	}
	return page, nil
}

func cursor(order job.Order, last *job.Job) *job.Cursor {
	c := sortKey(order, last)
	return &c
}

// sortKey is the place of a job in a list.
func sortKey(order job.Order, j *job.Job) job.Cursor {
	if order == job.ByUpdatedAt {
		return job.Cursor{ID: j.ID, Time: j.UpdatedAt}
	}
	return job.Cursor{ID: j.ID} // which begins with the time of creation
}

// wanted says which jobs a filter wants, and in which order.
type wanted struct {
	job.Filter
	patterns map[string]*regexp.Regexp
}

func newWanted(f job.Filter) (*wanted, error) {
	w := &wanted{f, map[string]*regexp.Regexp{}}
	if !slices.Contains([]job.Order{"", job.ByID, job.ByCreatedAt, job.ByUpdatedAt}, f.Order) {
		return nil, errs.Errorf(errs.Invalid, "a list cannot be ordered by %q", f.Order)
	}
	for _, s := range f.Statuses {
		if !slices.Contains(job.Statuses(), s) {
			return nil, errs.Errorf(errs.Invalid, "%q is not a job status", s)
		}
	}
	if f.After != nil && checkID(f.After.ID) != nil {
		return nil, errs.Errorf(errs.Invalid, "the cursor does not name a job")
	}
	for name, pattern := range map[string]string{
		"id": f.ID, "name": f.Name, "version": f.Version, "user": f.User, "command": f.Command, "cluster": f.Cluster,
	} {
		if pattern == "" {
			continue
		}
		var err error
		if w.patterns[name], err = like(name, pattern); err != nil {
			return nil, err
		}
	}
	return w, checkText("tags", f.Tags...)
}

// like returns what matches as LIKE does.
func like(name, pattern string) (*regexp.Regexp, error) {
	if err := checkText(name, pattern); err != nil {
		return nil, err
	}
	if len(pattern) > maxPattern {
		return nil, errs.Errorf(errs.Invalid, "the pattern of %s is longer than %d bytes", name, maxPattern)
	}
	var b strings.Builder
	escaped := false
	for _, c := range pattern {
		switch {
		case escaped:
			b.WriteString(regexp.QuoteMeta(string(c)))
			escaped = false
		case c == '\\':
			escaped = true
		case c == '%':
			b.WriteString(".*")
		case c == '_':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	if escaped {
		return nil, errs.Errorf(errs.Invalid, `the pattern of %s ends in a lone \`, name)
	}
	return regexp.MustCompile(`(?s)\A` + b.String() + `\z`), nil
}

func (w *wanted) is(j *job.Job) bool {
	for name, columns := range map[string][]string{
		"id": {string(j.ID)}, "name": {j.Name}, "version": {j.Version}, "user": {j.User},
		"command": {j.Pair.CommandID, j.Pair.CommandName}, "cluster": {j.Pair.ClusterID, j.Pair.ClusterName},
	} {
		if p := w.patterns[name]; p != nil && !slices.ContainsFunc(columns, p.MatchString) {
			return false
		}
	}
	if len(w.Statuses) > 0 && !slices.Contains(w.Statuses, j.Status) {
		return false
	}
	for _, t := range w.Tags {
		if !carries(j, t) {
			return false
		}
	}
	return w.After == nil || w.compare(sortKey(w.Order, j), *w.After) > 0
}

// carries reports whether a job has a tag: those of the system are its fields.
func carries(j *job.Job, t string) bool {
	own := tag.New("_id:"+string(j.ID), "_name:"+j.Name, "_version:"+j.Version)
	return slices.Contains(j.Tags, t) || slices.Contains(own, t)
}

func (w *wanted) before(a, b *job.Job) int {
	return w.compare(sortKey(w.Order, a), sortKey(w.Order, b))
}

func (w *wanted) compare(a, b job.Cursor) int {
	c := cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
	if w.Ascending {
		return c
	}
	return -c
}
