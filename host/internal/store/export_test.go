package store

import (
	"context"
	"database/sql"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// MeagerLimits let a page look at few rows and then end, and take no shortcut for
// small numbers.
func MeagerLimits() limits { return limits{slice: 7, maxValues: 2, maxRows: 1, maxSorted: 4} }

// UsualLimits are those of Jobs, but that fewer jobs are few.
func UsualLimits() limits {
	l := usualLimits()
	l.slice, l.maxSorted = 256, 1300
	return l
}

// Statement is one that was run for a list.
type Statement struct {
	Text string
	Args []any
}

// JobsWithin is Jobs within other limits. It returns the statements that were run
// to find the jobs, too.
func (db *DB) JobsWithin(ctx context.Context, l limits, f job.Filter) (job.Page, []Statement, error) {
	r := &recorder{reader: db.lists}
	page, err := db.jobs(ctx, &lookup{read: r, fault: db.fault, dialect: db.text, limits: l}, f)
	return page, r.statements, err
}

// Explain runs a query as lists do.
func (db *DB) Explain(ctx context.Context, text string, args []any) (*sql.Rows, error) {
	return db.lists.QueryContext(ctx, text, args...)
}

type recorder struct {
	reader
	statements []Statement
}

func (r *recorder) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	r.statements = append(r.statements, Statement{query, args})
	return r.reader.QueryContext(ctx, query, args...)
}

// WatchWrites notes from now on the statements of writes. They must not run at once.
func (db *DB) WatchWrites() *[]Statement {
	w := &watched{backend: db.backend}
	db.backend = w
	return &w.sent
}

type watched struct {
	backend
	sent []Statement
}

func (w *watched) write(ctx context.Context, fn func(context.Context, transaction) error) error {
	return w.backend.write(ctx, func(ctx context.Context, tx transaction) error {
		return fn(ctx, watchedTx{tx, &w.sent})
	})
}

type watchedTx struct {
	transaction
	sent *[]Statement
}

func (t watchedTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	*t.sent = append(*t.sent, Statement{query, args})
	return t.transaction.ExecContext(ctx, query, args...)
}

func (t watchedTx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	*t.sent = append(*t.sent, Statement{query, args})
	return t.transaction.QueryContext(ctx, query, args...)
}

func (t watchedTx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	*t.sent = append(*t.sent, Statement{query, args})
	return t.transaction.QueryRowContext(ctx, query, args...)
}
