// Package errs gives errors a kind that callers can act on. The message of an
// Error is one sentence for the person who caused it.
package errs

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what sort of fault an error is. The HTTP API maps each to a status.
type Kind string

// Kinds of errors, with the HTTP status that the API answers.
const (
	Malformed       Kind = "malformed"       // 400: it cannot be read
	Unauthenticated Kind = "unauthenticated" // 401: no user
	Denied          Kind = "denied"          // 403: this user may not
	NotFound        Kind = "not_found"       // 404
	Unacceptable    Kind = "not_acceptable"  // 406: it is not served like that
	Conflict        Kind = "conflict"        // 409: the state forbids it
	TooLarge        Kind = "too_large"       // 413
	Unsupported     Kind = "unsupported"     // 415: this media type is not read
	Invalid         Kind = "invalid"         // 422: readable, but it makes no sense here
	Limited         Kind = "limited"         // 429: too many
	Unavailable     Kind = "unavailable"     // 503: not now
	Internal        Kind = "internal"        // 500: a defect of ours
)

// Error is an error with a kind.
type Error struct {
	Kind    Kind
	Message string        // one sentence for people
	ID      string        // the object it is about, if there is one
	Fields  []Field       // faults of single fields, if any
	Retry   time.Duration // when to try again, if that is known
	Err     error         // the cause, for the log only
}

// Field is a fault of one field of a request.
type Field struct {
	Pointer string // JSON pointer (RFC 6901)
	Detail  string // one sentence
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an error of a kind. A %w in the format keeps the cause.
func Errorf(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: err.Error(), Err: errors.Unwrap(err)}
}

// KindOf returns the kind of err: Internal when it has none, "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is of the kind.
func Is(err error, kind Kind) bool { return KindOf(err) == kind }
