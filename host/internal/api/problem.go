package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/registry"
)

// problem is the body of every answer to a request that was not granted: RFC
// 9457, with the sentence once more as error for clients that look there.
type problem struct {
	Error  string  `json:"error"`
	ID     string  `json:"id,omitempty"`
	Type   string  `json:"type"`
	Title  string  `json:"title"`
	Status int     `json:"status"`
	Detail string  `json:"detail"`
	Errors []fault `json:"errors,omitempty"`

	retry time.Duration
}

// problemType is its media type.
const problemType = "application/problem+json"

// fault is what is wrong with one field.
type fault struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// statuses says which HTTP status an error of a kind is answered with.
var statuses = map[errs.Kind]int{
	errs.Malformed:       http.StatusBadRequest,
	errs.Unauthenticated: http.StatusUnauthorized,
	errs.Denied:          http.StatusForbidden,
	errs.NotFound:        http.StatusNotFound,
	errs.Unacceptable:    http.StatusNotAcceptable,
	errs.Conflict:        http.StatusConflict,
	errs.TooLarge:        http.StatusRequestEntityTooLarge,
	errs.Unsupported:     http.StatusUnsupportedMediaType,
	errs.Invalid:         http.StatusUnprocessableEntity,
	errs.Limited:         http.StatusTooManyRequests,
	errs.Unavailable:     http.StatusServiceUnavailable,
	errs.Internal:        http.StatusInternalServerError,
}

// notAllowed is the error for a method that a path does not have.
type notAllowed struct{ method, path, allow string }

func (e *notAllowed) Error() string {
	return fmt.Sprintf("%.20q is not done on %.200q; it answers %s", e.method, e.path, e.allow)
}

// badRange is the error for a range that lies outside of what is there.
type badRange struct{ size int64 }

func (e *badRange) Error() string {
	return fmt.Sprintf("the range asked for lies outside of the %d bytes that are there", e.size)
}

// writeError answers with an error: the only place where errors become
// statuses.
func (h *Handler) writeError(x *exchange, err error) {
	if x.status != 0 {
		// Too late to tell: cut the connection, so that a part is not taken
		// for the whole.
		h.log.Debug("answer was cut", x.fields("error", err)...)
		panic(http.ErrAbortHandler)
	}
	p := h.problem(x, err)
	if p.Status == http.StatusInternalServerError {
		h.log.Error("request ended in an error", x.fields("error", err)...)
	}
	h.writeProblem(x, p)
}

// problem tells an error in the words of the API.
func (h *Handler) problem(x *exchange, err error) problem {
	if e, ok := errors.AsType[*notAllowed](err); ok {
		x.Header().Set("Allow", e.allow)
		return newProblem("method_not_allowed", http.StatusMethodNotAllowed, e.Error())
	}
	if e, ok := errors.AsType[*registry.ErrCondition](err); ok {
		return newProblem("precondition", http.StatusPreconditionFailed, e.Error())
	}
	if e, ok := errors.AsType[*badRange](err); ok {
		x.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(e.size, 10))
		return newProblem("range", http.StatusRequestedRangeNotSatisfiable, e.Error())
	}
	e, ok := errors.AsType[*errs.Error](err)
	if !ok && stopped(err) {
		p := problemOf(x, errs.Unavailable)
		p.Error = "this was stopped before it was done; try again"
		p.Detail = p.Error
		return p
	}
	if !ok {
		return problemOf(x, errs.Internal)
	}
	p := problemOf(x, e.Kind)
	p.Error, p.Detail, p.ID, p.retry = e.Message, e.Message, e.ID, e.Retry
	for _, f := range e.Fields {
		p.Errors = append(p.Errors, fault(f))
	}
	return p
}

// stopped reports whether an error only says that somebody stopped waiting.
func stopped(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// problemOf returns a problem of a kind whose sentence tells nothing but where
// to look.
func problemOf(x *exchange, kind errs.Kind) problem {
	status, ok := statuses[kind]
	if !ok {
		kind, status = errs.Internal, http.StatusInternalServerError
	}
	return newProblem(string(kind), status,
		"the host made a mistake; its log says more under request "+x.name)
}

func newProblem(name string, status int, sentence string) problem {
	return problem{
		Error:  sentence,
		Type:   "urn:heimdall:problem:" + name,
		Title:  http.StatusText(status),
		Status: status,
		Detail: sentence,
	}
}

func (h *Handler) writeProblem(x *exchange, p problem) {
	if n := p.retryAfter(); n > 0 {
		x.Header().Set("Retry-After", strconv.FormatInt(n, 10))
	}
	h.writeJSONAs(x, problemType, p.Status, p)
}

// retryAfter is when to come again with what was not granted for now, in whole
// seconds; 0: never.
func (p *problem) retryAfter() int64 {
	if p.Status != http.StatusServiceUnavailable && p.Status != http.StatusTooManyRequests {
		return 0
	}
	return roundUp(max(p.retry, time.Second))
}

// setRetryAfter says when to come again, in whole seconds.
func setRetryAfter(x *exchange, d time.Duration) {
	if d > 0 {
		x.Header().Set("Retry-After", strconv.FormatInt(roundUp(d), 10))
	}
}

func roundUp(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
