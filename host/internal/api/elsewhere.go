package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
)

// Peers are the other hosts of the store.
type Peers interface {
	// Authenticate returns the user that another host asks for; asked is false when
	// none does. An error is errs.Unauthenticated.
	Authenticate(r *http.Request) (user string, asked bool, err error)
	// Ask sends a GET or HEAD to another host for a user. That it cannot be asked is
	// errs.Unavailable, with a sentence that names it.
	Ask(ctx context.Context, host, user, method, uri string, header http.Header) (*http.Response, error)
}

// retryElsewhere is when to ask again for what another host has that did not answer.
const retryElsewhere = 5 * time.Second

// passedOn are the headers of a request that another host needs to answer it.
var passedOn = []string{"Accept", "Accept-Encoding", "If-None-Match", "If-Range", "Range", traceParent}

// passedBack are the headers of an answer that belong to what it carries.
var passedBack = []string{
	"Accept-Ranges", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type",
	"ETag", "Retry-After", "Vary", "X-Content-Type-Options", attemptHeader, offsetHeader,
}

// elsewhere answers with what the host says that has what was asked for.
func (h *Handler) elsewhere(x *exchange, e *jobs.Elsewhere) error {
	if h.peers == nil || x.peer || x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		return e.Unavailable()
	}
	header := http.Header{requestID: {x.name}}
	for _, name := range passedOn {
		if values := x.r.Header.Values(name); len(values) > 0 {
			header[http.CanonicalHeaderKey(name)] = values
		}
	}
	to := url.URL{Path: x.r.URL.Path, RawPath: x.r.URL.RawPath, RawQuery: x.r.URL.RawQuery}
	if e.Attempt > 0 {
		query := to.Query()
		query.Set("attempt", strconv.Itoa(e.Attempt))
		to.RawQuery = query.Encode()
	}
	answer, err := h.peers.Ask(x.r.Context(), e.Host, x.user, x.r.Method, to.RequestURI(), header)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	for _, name := range passedBack {
		if values := answer.Header.Values(name); len(values) > 0 {
			x.Header()[http.CanonicalHeaderKey(name)] = values
		}
	}
	x.WriteHeader(answer.StatusCode)
	if x.r.Method == http.MethodHead {
		return nil
	}
	p := newPatient(x)
	defer p.Close()
	_, err = io.CopyBuffer(onlyWriter{p}, answer.Body, make([]byte, blockSize))
	return err
}

// onlyWriter hides all other methods.
type onlyWriter struct{ io.Writer }

// resultElsewhere reads a result that another host has.
func (h *Handler) resultElsewhere(x *exchange, e *jobs.Elsewhere) (io.ReadCloser, error) {
	if h.peers == nil || x.peer {
		return nil, e.Unavailable()
	}
	answer, err := h.peers.Ask(x.r.Context(), e.Host, x.user, http.MethodGet, base+"/job/"+string(e.Job)+"/result", http.Header{requestID: {x.name}})
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		return nil, refused(e, answer)
	}
	return answer.Body, nil
}

// refused returns the error for an answer of another host that is not what was asked
// for.
func refused(e *jobs.Elsewhere, answer *http.Response) error {
	var p problem
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	err = errors.Join(err, json.Unmarshal(text, &p))
	if err != nil || p.Error == "" {
		p.Error = answer.Status
	}
	kind := errs.Unavailable
	if answer.StatusCode == http.StatusConflict { // the job's own fault
		kind = errs.Conflict
	}
	return &errs.Error{
		Kind: kind, ID: string(e.Job), Retry: retryElsewhere,
		Message: fmt.Sprintf("host %s, which has this, says: %s", e.Host, p.Error),
	}
}
