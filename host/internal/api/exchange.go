package api

import (
	"cmp"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
)

// requestID is the header that names a request, in both directions.
const requestID = "X-Request-Id"

// traceParent is the header that names the trace of a request (W3C).
const traceParent = "Traceparent"

// methods are what a path answers, by method.
type methods map[string]func(*Handler, *exchange) error

// exchange is one request and its answer.
type exchange struct {
	r *http.Request
	w http.ResponseWriter

	user   string    // "" on public paths
	peer   bool      // another host asks for that user
	trace  job.Trace // that the request belongs to; "": none
	name   string    // of the request, in logs
	status int       // of the answer; 0 before it
}

// Header returns the headers of the answer.
func (x *exchange) Header() http.Header { return x.w.Header() }

// Write writes a part of the answer's body.
func (x *exchange) Write(p []byte) (int, error) {
	if x.status == 0 {
		x.begin(http.StatusOK)
	}
	return x.w.Write(p)
}

// WriteHeader begins the answer.
func (x *exchange) WriteHeader(status int) {
	x.begin(status)
	x.w.WriteHeader(status)
}

// begin notes that the answer begins. A small one is written behind the handler's back,
// and is to be taken as soon as a part of a large one; the next request of the
// connection sets the time anew.
func (x *exchange) begin(status int) {
	x.status = status
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(patience))
}

// fields returns what names the request in a line of the log, and more behind it.
func (x *exchange) fields(more ...any) []any {
	fields := []any{"request_id", x.name, "method", x.r.Method, "path", x.r.URL.Path, "user", x.user}
	if id := x.trace.ID(); id != "" {
		fields = append(fields, "trace_id", id)
	}
	return append(fields, more...)
}

// jobID returns the job that the path names. An id that no job can have is
// answered like one that no job has.
func (x *exchange) jobID() (job.ID, error) {
	id, err := job.ParseID(mux.Vars(x.r)["id"])
	if err != nil {
		return "", errs.Errorf(errs.NotFound, "no such job: %w", err)
	}
	return id, nil
}

// named returns a part of the path, as it was meant.
func (x *exchange) named(part string) string {
	written := mux.Vars(x.r)[part]
	text, err := url.PathUnescape(written)
	if err != nil {
		return written
	}
	return text
}

// serve wraps everything that is answered: it names the request, asks who it is
// from, finds the method, and turns errors and panics into answers.
func (h *Handler) serve(route string, m methods) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{r: r, w: w, name: nameOf(r)}
		w.Header()[requestID] = []string{x.name}
		if h.log.IsDebug() {
			defer h.logAccess(x, time.Now())
		}
		within, answered := h.observer.Request(r, route, job.ParseTrace(r.Header.Get(traceParent)))
		x.trace = within
		defer func() { answered(cmp.Or(x.status, http.StatusOK)) }()
		defer h.recover(x)
		expectBody(x)
		if err := h.answer(x, m); err != nil {
			h.writeError(x, err)
		}
	})
}

// answer lets in who may, and calls what serves the method.
func (h *Handler) answer(x *exchange, m methods) error {
	if !public(x.r.URL.Path) {
		if err := h.authenticate(x); err != nil {
			return err
		}
	}
	if m == nil {
		return errs.Errorf(errs.NotFound, "there is nothing at %.200q", x.r.URL.Path)
	}
	method := x.r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	handle := m[method]
	if handle == nil {
		return &notAllowed{method: x.r.Method, path: x.r.URL.Path, allow: m.allow()}
	}
	if err := h.origins.Check(x.r); err != nil {
		return errs.Errorf(errs.Denied, "a page of another site may not do this: %w", err)
	}
	err := handle(h, x)
	if e, ok := errors.AsType[*jobs.Elsewhere](err); ok && x.status == 0 {
		return h.elsewhere(x, e)
	}
	return err
}

// authenticate finds out for whom a request is.
func (h *Handler) authenticate(x *exchange) error {
	if h.peers != nil {
		name, asked, err := h.peers.Authenticate(x.r)
		if asked || err != nil {
			x.user, x.peer = name, true
			return err
		}
	}
	user, err := h.auth.Authenticate(x.r)
	x.user = user.Name
	return err
}

// allow lists the methods, for the header of that name.
func (m methods) allow() string {
	names := slices.Collect(maps.Keys(m))
	if m[http.MethodGet] != nil {
		names = append(names, http.MethodHead)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// recover turns a panic into an answer, or cuts the connection when an answer
// was already begun, so that the client does not take a part for the whole.
func (h *Handler) recover(x *exchange) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // the very value is the sign
		panic(p)
	}
	h.log.Error("panic while answering a request", x.fields("panic", p, "stack", hclog.Quote(debug.Stack()))...)
	if x.status != 0 {
		panic(http.ErrAbortHandler)
	}
	h.writeProblem(x, problemOf(x, errs.Internal))
}

// logAccess writes one line about an answered request.
func (h *Handler) logAccess(x *exchange, start time.Time) {
	h.log.Debug("answered", x.fields("status", x.status, "took", time.Since(start))...)
}

// nameOf returns the name that the client gave the request, if it is fit for a
// log, else a new one.
func nameOf(r *http.Request) string {
	name := r.Header.Get(requestID)
	odd := func(c rune) bool { return c <= ' ' || c > '~' }
	if name != "" && len(name) <= 128 && !strings.ContainsFunc(name, odd) {
		return name
	}
	var b [16]byte
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return hex.EncodeToString(b[:])
}

// patient writes a stream to a client that may be slow, but not for ever: a
// client that takes nothing for a minute is cut off.
type patient struct {
	w   io.Writer
	ctl *http.ResponseController
}

const (
	patience = time.Minute // for one write
	maxWrite = 64 << 10    // bytes of one write
)

func newPatient(x *exchange) *patient {
	return &patient{w: x, ctl: http.NewResponseController(x.w)}
}

// Write writes a part of the stream.
func (p *patient) Write(b []byte) (n int, err error) {
	for err == nil && n < len(b) {
		// Not every ResponseWriter has deadlines; without one the write just waits.
		_ = p.ctl.SetWriteDeadline(time.Now().Add(patience))
		var m int
		m, err = p.w.Write(b[n:min(len(b), n+maxWrite)])
		n += m
	}
	return n, err
}

// Flush sends what was written.
func (p *patient) Flush() error {
	_ = p.ctl.SetWriteDeadline(time.Now().Add(patience))
	return p.ctl.Flush()
}

// Close sends the rest.
func (p *patient) Close() error {
	return p.Flush()
}
