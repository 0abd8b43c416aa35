package store

import (
	"context"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Observer hears of what is written. Its methods take no time.
type Observer interface {
	// Wrote tells how long a write took, and whether the database did not do it
	// because it was away or too slow.
	Wrote(kind string, took time.Duration, failed bool)
	// Combined tells how many writes go to the database together.
	Combined(kind string, members int)
}

// Kinds of writes.
const (
	submits    = "submit"
	ends       = "end"
	claims     = "claim"
	marks      = "mark"
	heartbeats = "heartbeat"
	others     = "other"
	commits    = "commit" // on SQLite, where all writes share them
)

// nobody is the observer of a store that has none.
type nobody struct{}

func (nobody) Wrote(string, time.Duration, bool) {}
func (nobody) Combined(string, int)              {}

// combinedBy tells an observer of batches of a kind.
func combinedBy(o Observer, kind string) func(members int) {
	return func(members int) { o.Combined(kind, members) }
}

// observed is a backend whose writes are told of, and which knows whether the
// database answers.
type observed struct {
	backend
	observer Observer
	outage   *outage
}

// observe has the writes of a store told to its observer.
func observe(db *DB, c Config) *DB {
	db.outage = newOutage(c.Log)
	db.backend = &observed{backend: db.backend, observer: c.Observer, outage: db.outage}
	return db
}

func (o *observed) note(kind string, begun time.Time, err error) {
	failed := errs.Is(err, errs.Unavailable) && !closed(err)
	o.observer.Wrote(kind, time.Since(begun), failed)
	o.outage.note(begun, err, failed)
}

func (o *observed) submit(ctx context.Context, s Submission) (bool, error) {
	begun := time.Now()
	leased, err := o.backend.submit(ctx, s)
	o.note(submits, begun, err)
	return leased, err
}

func (o *observed) end(ctx context.Context, e job.End) (bool, error) {
	begun := time.Now()
	consumed, err := o.backend.end(ctx, e)
	o.note(ends, begun, err)
	return consumed, err
}

func (o *observed) claim(ctx context.Context, c Claim) ([]job.Claimed, error) {
	begun := time.Now()
	claimed, err := o.backend.claim(ctx, c)
	o.note(claims, begun, err)
	return claimed, err
}

func (o *observed) started(ctx context.Context, leases []job.Lease, at time.Time) error {
	begun := time.Now()
	err := o.backend.started(ctx, leases, at)
	o.note(marks, begun, err)
	return err
}

func (o *observed) write(ctx context.Context, fn func(context.Context, transaction) error) error {
	begun := time.Now()
	err := o.backend.write(ctx, fn)
	o.note(others, begun, err)
	return err
}

func (o *observed) aside(ctx context.Context, fn func(context.Context, transaction) error) error {
	begun := time.Now()
	err := o.backend.aside(ctx, fn)
	o.note(heartbeats, begun, err)
	return err
}

func (o *observed) close() error {
	o.outage.close()
	return o.backend.close()
}
