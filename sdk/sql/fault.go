package sql

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/heimdall-run/heimdall/sdk"
)

// ClassOf returns the class of an error by its SQLSTATE (ISO/IEC 9075-2, and what
// PostgreSQL and others add to it).
func ClassOf(state string) sdk.Class {
	if class, ok := states[state]; ok {
		return class
	}
	if len(state) == 5 {
		if class, ok := stateClasses[state[:2]]; ok {
			return class
		}
	}
	return sdk.Failed
}

// states are those that differ from others of their class.
var states = map[string]sdk.Class{
	"25006": sdk.Denied,      // read-only transaction
	"42501": sdk.Denied,      // insufficient privilege
	"57014": sdk.Timeout,     // canceled, by nobody here: a timeout of the statement
	"57P05": sdk.Timeout,     // idle session
	"25P03": sdk.Timeout,     // idle in transaction
	"25P04": sdk.Timeout,     // transaction
	"55P03": sdk.Transient,   // a lock is not available
	"53100": sdk.Unavailable, // disk full
	"08P01": sdk.Internal,    // protocol violation
	"3D000": sdk.Internal,    // no such database: the operator's settings
}

var stateClasses = map[string]sdk.Class{
	"08": sdk.Unavailable, // connection
	"0A": sdk.Invalid,     // not supported
	"0L": sdk.Denied,      // grantor
	"0P": sdk.Denied,      // role
	"22": sdk.Failed,      // data
	"23": sdk.Failed,      // integrity
	"25": sdk.Failed,      // transaction state
	"26": sdk.Invalid,     // statement name
	"28": sdk.Denied,      // authorization
	"40": sdk.Transient,   // rollback: serialization, deadlock
	"42": sdk.Invalid,     // syntax, or what there is not
	"3F": sdk.Invalid,     // schema name
	"53": sdk.Unavailable, // resources
	"54": sdk.Invalid,     // limits of a statement
	"57": sdk.Unavailable, // operator intervention
	"58": sdk.Unavailable, // system
	"XX": sdk.Unavailable, // internal error of the database
}

// Fault is what a database says of an error.
type Fault struct {
	State    string // SQLSTATE; "" when there is none
	Message  string
	Detail   string // more of it; "" when there is none
	Hint     string // what to do; "" when there is none
	Query    string // that it is about
	Position int    // where in the query, in characters from 1; 0: not known
	Cause    error  // what is wrapped
}

// JobError returns the error of a job for a fault: with its class, and where in the
// query.
func (f Fault) JobError() *sdk.Error {
	var b strings.Builder
	b.WriteString(f.Message)
	if f.Position > 0 && f.Query != "" {
		line, column, near := locate(f.Query, f.Position)
		fmt.Fprintf(&b, " at line %d, column %d", line, column)
		if near != "" {
			fmt.Fprintf(&b, ": %s", near)
		}
	}
	for _, more := range []string{f.Detail, f.Hint} {
		if more != "" {
			b.WriteString("; " + more)
		}
	}
	if f.State != "" {
		fmt.Fprintf(&b, " (SQLSTATE %s)", f.State)
	}
	return &sdk.Error{Class: ClassOf(f.State), Message: b.String(), Err: f.Cause}
}

// maxNear is how much of a line is shown, characters.
const maxNear = 60

// locate returns the line and column of a character of a query, from 1, and the line
// from a little before it.
func locate(query string, position int) (line, column int, near string) {
	line, column = 1, 1
	at := 0
	for n := 1; n < position && at < len(query); n++ {
		r, size := utf8.DecodeRuneInString(query[at:])
		if column++; r == '\n' {
			line, column = line+1, 1
		}
		at += size
	}
	from := strings.LastIndexByte(query[:at], '\n') + 1
	to := len(query)
	if end := strings.IndexByte(query[at:], '\n'); end >= 0 {
		to = at + end
	}
	text := []rune(query[from:to])
	if skip := column - 1 - maxNear/3; skip > 0 && len(text) > maxNear {
		text = append([]rune("…"), text[skip:]...)
	}
	if len(text) > maxNear {
		text = append(text[:maxNear:maxNear], '…')
	}
	return line, column, strings.TrimSpace(string(text))
}
