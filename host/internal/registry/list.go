package registry

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// Order is what a list is ordered by.
type Order string

// Orders.
const (
	ByID        Order = "id"
	ByCreatedAt Order = "created_at"
	ByUpdatedAt Order = "updated_at"
)

// Filter chooses a part of one side of the catalog. Patterns are those of LIKE; an
// empty one matches everything.
type Filter struct {
	ID, Name, Version, Plugin string
	Statuses                  []catalog.Status // empty: all that are not deleted
	Tags                      tag.Set          // all of which it has
	Order                     Order            // "": ByID
	Descending                bool
	After                     *Cursor // the last object of the page before
	Limit                     int     // more than 0
}

// Cursor is a place in a list.
type Cursor struct {
	Time time.Time // zero when ordered by id
	ID   string
}

// Page is a part of a list.
type Page struct {
	Entries []*catalog.Entry
	Next    *Cursor // nil: there is no more
}

// List returns a part of one side of the catalog.
func (r *Registry) List(kind catalog.Kind, f Filter) Page {
	entries := r.Catalog.Entries(kind)
	before := func(a, b *catalog.Entry) int { return f.compare(f.place(a), f.place(b)) }
	if f.Order != "" && f.Order != ByID || f.Descending {
		entries = slices.SortedFunc(slices.Values(entries), before)
	}
	first := 0
	if f.After != nil {
		first = sort.Search(len(entries), func(i int) bool { return f.compare(f.place(entries[i]), *f.After) > 0 })
	}
	var page Page
	for _, e := range entries[first:] {
		if !f.has(e) {
			continue
		}
		if len(page.Entries) == f.Limit {
			page.Next = new(f.place(page.Entries[f.Limit-1]))
			break
		}
		page.Entries = append(page.Entries, e)
	}
	return page
}

// find returns an object in force; nil when there never was one.
func (r *Registry) find(kind catalog.Kind, id string) *catalog.Entry {
	entries := r.Catalog.Entries(kind)
	i, found := slices.BinarySearchFunc(entries, id, func(e *catalog.Entry, id string) int { return cmp.Compare(e.Object().ID, id) })
	if !found {
		return nil
	}
	return entries[i]
}

func (f *Filter) place(e *catalog.Entry) Cursor {
	c := Cursor{ID: e.Object().ID}
	switch f.Order {
	case ByCreatedAt:
		c.Time = e.CreatedAt
	case ByUpdatedAt:
		c.Time = e.UpdatedAt
	}
	return c
}

func (f *Filter) compare(a, b Cursor) int {
	c := cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
	if f.Descending {
		return -c
	}
	return c
}

func (f *Filter) has(e *catalog.Entry) bool {
	o, status := e.Object(), e.Status()
	if len(f.Statuses) == 0 && status == catalog.Deleted || len(f.Statuses) > 0 && !slices.Contains(f.Statuses, status) {
		return false
	}
	if !like(f.ID, o.ID) || !like(f.Name, o.Name) || !like(f.Version, o.Version) {
		return false
	}
	if f.Plugin != "" && (e.Kind != catalog.CommandKind || !like(f.Plugin, e.Command.Plugin)) {
		return false
	}
	return len(f.Tags) == 0 || len(Tags(o).Missing(f.Tags)) == 0
}

// Tags returns the tags of an object with those that it has of itself.
func Tags(o *catalog.Object) tag.Set { return o.Tags.With(tag.System(o.ID, o.Name, o.Version)...) }
