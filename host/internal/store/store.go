// Package store keeps jobs, leases and hosts in a database: PostgreSQL for
// several hosts, SQLite for one. It is the only package with SQL.
//
// A job is in exactly one of four tables, and that is its state: job_ready (it
// waits), job_later (it waits for a time), job_lease (a host has it) or job_end.
// Rows move by DELETE and INSERT in one commit, so of two that race for a row
// exactly one gets it.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// What one call does at most.
const (
	DueStep = steps // jobs that Due moves
	KeyStep = steps // keys that ForgetKeys removes
)

// Errors that a host has to heed.
var (
	// ErrFenced: the epoch of the host was superseded by a later start of it.
	ErrFenced = errors.New("this host was started again elsewhere: its epoch is over")
	// ErrLeaseLost: no lease has this job, attempt, host and epoch.
	ErrLeaseLost = errors.New("the lease of this attempt is gone: the job was ended or given to another")
	// ErrUnknown: a write was sent, and whether it was done is unknown.
	ErrUnknown = errors.New("the answer of the store was lost")
)

var errClosed = errs.Errorf(errs.Unavailable, "the store is closed")

// errBusy is the answer to what was not begun because the store takes too long.
var errBusy = errs.Errorf(errs.Unavailable, "the store is not available: it takes too long over what came before")

// Config says which database to open.
type Config struct {
	URL string       // "sqlite" or postgres://user:password@host:port/database
	Dir string       // folder of the SQLite file, heimdall.db
	Log hclog.Logger // nil: none

	Observer Observer // of what is written; nil: none
}

// errSlow is the answer to a write of which it is unknown whether it is going to be
// done.
var errSlow = away("no answer in time", ErrUnknown)

// openTimeout bounds the first contact with a database, readTimeout a read,
// writeTimeout a write, and submitPatience the wait of a submission for its turn.
const (
	openTimeout  = 5 * time.Second
	readTimeout  = 15 * time.Second
	writeTimeout = 15 * time.Second

	submitPatience = 5 * time.Second
)

// DB is the store. Its methods may be called at once from many goroutines; what
// a method has returned without error is durable.
type DB struct {
	backend
	read   *sql.DB
	reads  *reads  // of single jobs
	lists  *sql.DB // for lists of jobs
	text   dialect
	shut   sync.Once
	outage *outage
}

// backend is what the two databases do in ways of their own: the statements that
// are hot, and how a write is made durable.
type backend interface {
	Kind() string
	// submit reports whether the job was leased.
	submit(ctx context.Context, s Submission) (leased bool, err error)
	// end reports whether a lease was consumed.
	end(ctx context.Context, e job.End) (consumed bool, err error)
	claim(ctx context.Context, c Claim) ([]job.Claimed, error)
	started(ctx context.Context, leases []job.Lease, at time.Time) error
	// write runs fn in one transaction. It may run fn more than once.
	write(ctx context.Context, fn func(context.Context, transaction) error) error
	// aside does what write does, beside all other work: it waits for none of that.
	aside(ctx context.Context, fn func(context.Context, transaction) error) error
	// listen calls heard with what hosts notify each other of, until ctx is done.
	listen(ctx context.Context, ready func(), heard func(text string)) error
	notify(ctx context.Context, texts []string) error
	fault(err error) error
	pools() []Pool
	close() error
}

// transaction is one for statements that both databases read alike.
type transaction interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// dialect holds the fragments of shared statements that the databases spell
// differently.
type dialect struct {
	lockHost   string // keeps claims of the host $1 out until the commit; "": needless
	lockCaps   string // keeps out what leases by caps, and who sets them, until the commit; "": needless
	clock      string // the database's clock
	until      string // that and $3 microseconds
	idsOf      string // the ids in the JSON list $1
	textsOf    string // the texts in the JSON list $1
	jobsOf     string // the rows of n, id, attempt and retries in the JSON list $1
	tagsOf     string // the tags of jobs j, and their ids
	oneOf      string // true when what is before it is %s; the order by it is that of an index that begins with it
	byBytes    string // behind a column: has text compared by its bytes; "": it is
	skipLocked string // keeps the rows that a SELECT reads, but passes over those that others keep; "": needless
	entriesOf  string // the rows of entryRow in the JSON list $1
	lockRow    string // keeps the rows that a SELECT reads for this transaction until the commit; "": needless

	declarationsOf string // the rows of declarationRow in the JSON list $1
	reportsOf      string // the rows of reportRow in the JSON list $1
	lockLeases     string // likewise lockRow, of the leases l; those of others are passed over

	keepRow string // keeps the rows that a SELECT reads as they are until the commit; "": needless
}

// Open connects to the database, brings its schema up to date and returns the
// store. A database that a newer program wrote is refused.
func Open(ctx context.Context, c Config) (*DB, error) {
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	if c.Observer == nil {
		c.Observer = nobody{}
	}
	var open func(context.Context, Config) (*DB, error)
	switch {
	case c.URL == "sqlite":
		open = openSQLite
	case strings.HasPrefix(c.URL, "postgres://"), strings.HasPrefix(c.URL, "postgresql://"):
		open = openPostgres
	}
	if open != nil {
		db, err := open(ctx, c)
		if err != nil {
			return nil, err
		}
		db.reads = newReads(db)
		return observe(db, c), nil
	}
	scheme, _, found := strings.Cut(c.URL, "://")
	if !found {
		scheme = "that"
	}
	return nil, fmt.Errorf(`the store's url is neither "sqlite" nor postgres://user:password@host:port/database: %.20q is not known`, scheme)
}

// Close waits for the writes that are under way and lets go of the database. To
// close again does nothing.
func (db *DB) Close() (err error) {
	db.shut.Do(func() {
		db.reads.close()
		if err = db.close(); err != nil {
			err = fmt.Errorf("close the store: %w", err)
		}
	})
	return err
}

// Check returns an error when the database does not answer.
func (db *DB) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	var one int
	return db.fault(db.read.QueryRowContext(ctx, "SELECT 1").Scan(&one))
}

// now is the time as the databases keep it.
func now() time.Time { return stamp(time.Now()) }

// stamp cuts a time to what the databases keep.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func affected(ctx context.Context, tx transaction, query string, args ...any) (int64, error) {
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
