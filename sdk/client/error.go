package client

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Error is an answer of the host that is not what was asked for. A host explains
// itself as RFC 9457 has it; of what others on the way to it answer, only Status
// and Message are there.
type Error struct {
	Status     int           // of HTTP
	Message    string        // one sentence
	ID         string        // the job or object it is about, if there is one
	Type       string        // the kind of problem, a URI
	Fields     []Field       // faults of single fields, if any
	RetryAfter time.Duration // when to come again; 0: the host does not say

	// Raw is the answer as it came.
	Raw []byte
}

// Field is a fault of one field of a request.
type Field struct {
	Pointer string `json:"pointer"` // RFC 6901
	Detail  string `json:"detail"`
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// IsNotFound reports whether err says that there is no such thing.
func IsNotFound(err error) bool { return hasStatus(err, http.StatusNotFound) }

// IsConflict reports whether err says that the state of the job or object forbids
// it, as when the result of a job that runs is asked for.
func IsConflict(err error) bool { return hasStatus(err, http.StatusConflict) }

// IsDenied reports whether err says that the user is unknown or may not.
func IsDenied(err error) bool {
	return hasStatus(err, http.StatusUnauthorized) || hasStatus(err, http.StatusForbidden)
}

// IsUnavailable reports whether err says that the host, or what stands before it,
// cannot answer just now. What does not change anything can be asked again.
func IsUnavailable(err error) bool {
	return hasStatus(err, http.StatusBadGateway) || hasStatus(err, http.StatusServiceUnavailable) || hasStatus(err, http.StatusGatewayTimeout)
}

func hasStatus(err error, status int) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == status
}

// maxProblem bounds how much of an answer that is an error is read. A job that
// failed may have a result.
const maxProblem = 16 << 20

// readError turns an answer into an error. Not everything on the way to a host
// speaks its language, so any body will do.
func readError(answer *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, maxProblem))
	var p struct {
		Error  string  `json:"error"`
		ID     string  `json:"id"`
		Type   string  `json:"type"`
		Errors []Field `json:"errors"`
	}
	if json.Unmarshal(text, &p) != nil || p.Error == "" {
		p.Error = "the server answered " + answer.Status
	}
	e := &Error{Status: answer.StatusCode, Message: p.Error, ID: p.ID, Type: p.Type, Fields: p.Errors, Raw: text}
	if seconds, err := strconv.ParseUint(answer.Header.Get("Retry-After"), 10, 31); err == nil {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}
