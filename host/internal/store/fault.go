package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// away is the answer while the database cannot be used. Whether a write that was
// under way happened is then unknown.
func away(cause string, err error) error {
	return &errs.Error{Kind: errs.Unavailable, Message: "the store is not available: " + cause, Err: err}
}

// unsent reports whether an error came before anything was sent to the server.
func unsent(err error) bool {
	_, unconnected := errors.AsType[*pgconn.ConnectError](err)
	return unconnected || pgconn.SafeToRetry(err)
}

// known reports whether an error says already what it means to the caller.
func known(err error) bool {
	_, ours := errors.AsType[*errs.Error](err)
	_, left := errors.AsType[leftError](err)
	return ours || left || err == nil || errors.Is(err, ErrFenced) || errors.Is(err, ErrLeaseLost) ||
		errors.Is(err, sql.ErrNoRows) || errors.Is(err, context.Canceled)
}

// corrupt is a value that was read and makes no sense.
type corrupt struct{ error }

// Unwrap returns the cause.
func (c corrupt) Unwrap() error { return c.error }

// fault gives an error of PostgreSQL its meaning. What the server did not say is
// about the way to it.
func (p *postgres) fault(err error) error {
	if known(err) {
		return err
	}
	if _, ok := errors.AsType[corrupt](err); ok {
		return fmt.Errorf("store: %w", err)
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch {
		case e.Code == "23505":
			return errs.Errorf(errs.Conflict, "the store has this already: %w", err)
		case serverAway(e):
			return away(e.Message, fmt.Errorf("%w: %w", ErrUnknown, err))
		case e.Code[:2] == "22", e.Code[:2] == "54":
			return errs.Errorf(errs.Invalid, "the store refuses a value: %w", err)
		}
		return fmt.Errorf("store: %w", err)
	}
	cause := p.target + ": " + short(err)
	if unsent(err) {
		return away(cause, err)
	}
	return away(cause, fmt.Errorf("%w: %w", ErrUnknown, err))
}

// serverAway reports whether the server, not the statement, was at fault: class
// 08 connection, 25006 a standby, 53 no resources, 57 shut down, 58 system.
func serverAway(e *pgconn.PgError) bool {
	if len(e.Code) != 5 {
		return true
	}
	switch e.Code[:2] {
	case "08", "53", "57", "58":
		return true
	}
	return e.Code == "25006"
}

// refused reports whether the server said no to the content of a statement, so
// that nothing of its transaction was written.
func refused(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && !serverAway(e)
}

// short is the root of a connection error, without the names and passwords that
// the outer ones carry.
func short(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Message
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return "the name is not known: " + e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err.Error()
	}
	if errors.Is(err, sql.ErrConnDone) || errors.Is(err, net.ErrClosed) {
		return "the connection is closed"
	}
	return "the connection broke"
}

// fault gives an error of SQLite its meaning.
func (s *lite) fault(err error) error {
	if known(err) {
		return err
	}
	if _, ok := errors.AsType[corrupt](err); ok {
		return fmt.Errorf("store: %w", err)
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return away(short(err), err)
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CONSTRAINT:
		return errs.Errorf(errs.Conflict, "the store has this already: %w", err)
	case sqlite3.SQLITE_TOOBIG:
		return errs.Errorf(errs.Invalid, "the store refuses a value: %w", err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_INTERRUPT:
		return away(e.Error(), err)
	}
	return fmt.Errorf("store: %w", err)
}
