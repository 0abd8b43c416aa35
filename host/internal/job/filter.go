package job

import (
	"time"

	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// Order names the field that a list is ordered by.
type Order string

// Orders of a list of jobs. Jobs that are equal in it are ordered by id.
const (
	ByID        Order = "id"
	ByCreatedAt Order = "created_at" // which is the order of ids, see ID.Time
	ByUpdatedAt Order = "updated_at"
)

// Filter chooses jobs. Each pattern is a case-sensitive LIKE: % is any text, _
// any character, \ escapes; empty means any.
type Filter struct {
	ID, Name, Version, User, Command, Cluster string
	Statuses                                  []Status // any of them
	Tags                                      tag.Set  // all of them

	Limit     int // at least 1
	Order     Order
	Ascending bool
	After     *Cursor // nil for the first page
}

// Cursor is a place in an ordered list: after the job it names.
type Cursor struct {
	ID   ID
	Time time.Time // of the latest change, when the list is ordered by that
}

// Page is a part of a list of jobs. It may hold fewer than were asked for, or none,
// and not be the last: then it took long to find them.
type Page struct {
	Jobs []*Job
	Next *Cursor // nil on the last page
}
