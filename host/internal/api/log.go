package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// blockSize is how much of a log is held in memory.
const blockSize = 32 << 10

// Headers of the answer that say where in a stream it begins.
const (
	attemptHeader = "X-Heimdall-Attempt"
	offsetHeader  = "X-Heimdall-Offset"
)

// getStdout serves GET /job/{id}/stdout.
func (h *Handler) getStdout(x *exchange) error { return h.getLog(x, job.Stdout) }

// getStderr serves GET /job/{id}/stderr.
func (h *Handler) getStderr(x *exchange) error { return h.getLog(x, job.Stderr) }

// logRequest says which part of a stream is asked for.
type logRequest struct {
	id      job.ID
	stream  job.Stream
	attempt int   // 0: the latest
	only    bool  // that attempt is followed and no later one
	offset  int64 // where it begins
	tail    int64 // so many last lines instead; -1: no
	follow  bool
	events  bool // as server-sent events
}

func (x *exchange) logRequest(s job.Stream) (r logRequest, err error) {
	r = logRequest{stream: s, tail: -1}
	if r.id, err = x.jobID(); err != nil {
		return r, err
	}
	query := x.r.URL.Query()
	if text := query.Get("follow"); text != "" {
		if r.follow, err = strconv.ParseBool(text); err != nil {
			return r, badParameter("follow", "%.40q is neither true nor false", text)
		}
	}
	switch text := query.Get("attempt"); text {
	case "":
	case "latest":
		r.only = true
	default:
		if r.attempt, err = strconv.Atoi(text); err != nil || r.attempt < 1 {
			return r, badParameter("attempt", "%.40q is neither the number of an attempt, from 1 on, nor latest", text)
		}
		r.only = true
	}
	if text := query.Get("tail"); text != "" {
		if r.tail, err = strconv.ParseInt(text, 10, 64); err != nil || r.tail < 0 {
			return r, badParameter("tail", "%.40q is not a number of lines", text)
		}
	}
	if text := query.Get("offset"); text != "" {
		if r.offset, err = strconv.ParseInt(text, 10, 64); err != nil || r.offset < 0 {
			return r, badParameter("offset", "%.40q is not a number of bytes", text)
		}
		if r.tail >= 0 {
			return r, badParameter("offset", "it does not go with tail")
		}
	}
	if wantsEvents(x.r) {
		r.follow, r.events = true, true
		if id := x.r.Header.Get("Last-Event-ID"); id != "" {
			return r, r.resume(id)
		}
	}
	return r, nil
}

// wantsEvents reports whether the client asks for server-sent events and nothing else.
func wantsEvents(r *http.Request) bool {
	kind, _, _ := strings.Cut(r.Header.Get("Accept"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), eventsType)
}

// resume makes a request begin behind an event.
func (r *logRequest) resume(id string) error {
	attempt, offset, named := strings.Cut(id, ":")
	if !named {
		attempt, offset = strconv.Itoa(max(1, r.attempt)), id
	}
	n, err := strconv.Atoi(attempt)
	at, offsetErr := strconv.ParseInt(offset, 10, 64)
	if err != nil || offsetErr != nil || n < 1 || at < 0 || r.only && n != r.attempt {
		return badParameter("Last-Event-ID", "%.40q is not the id of an event of this stream", id)
	}
	r.attempt, r.offset, r.tail = n, at, -1
	return nil
}

// getLog serves a text stream: what is there, a range or the last lines of it,
// or all that comes until the end.
func (h *Handler) getLog(x *exchange, s job.Stream) error {
	r, err := x.logRequest(s)
	if err != nil {
		return err
	}
	if r.follow {
		return h.follow(x, r)
	}
	log, err := h.jobs.Log(x.r.Context(), r.id, s, r.attempt)
	if err != nil {
		return err
	}
	defer log.Close()
	size, err := log.Size()
	if err != nil {
		return fmt.Errorf("size of %s of job %s: %w", s, r.id, err)
	}
	from := min(log.Place(r.offset), size)
	if r.tail >= 0 {
		if from, err = lastLines(log, size, r.tail); err != nil {
			return fmt.Errorf("last lines of %s of job %s: %w", s, r.id, err)
		}
	}
	if r.tail >= 0 || from > 0 {
		x.r.Header.Del("Range") // what the path asks for goes first
	}
	beginText(x, log.Attempt(), log.Written(from))
	return serveContent(x, io.NewSectionReader(log, from, size-from), size-from)
}

// beginText sets the headers of a stream.
func beginText(x *exchange, attempt int, from int64) {
	header := x.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set(attemptHeader, strconv.Itoa(attempt))
	header.Set(offsetHeader, strconv.FormatInt(from, 10))
}

// query returns the part of the path that asks another host for the same.
func (r *logRequest) query(attempt int) string {
	q := url.Values{"attempt": {strconv.Itoa(attempt)}, "follow": {"true"}}
	if r.tail >= 0 {
		q.Set("tail", strconv.FormatInt(r.tail, 10))
	} else {
		q.Set("offset", strconv.FormatInt(r.offset, 10))
	}
	return base + "/job/" + string(r.id) + "/" + string(r.stream) + "?" + q.Encode()
}

// lastLines returns where the last n lines of a log begin. Text behind the last
// newline is a line.
func lastLines(log io.ReaderAt, size, n int64) (int64, error) {
	if n == 0 {
		return size, nil
	}
	block := make([]byte, min(blockSize, size))
	for end := size; end > 0; {
		begin := max(0, end-int64(len(block)))
		b := block[:end-begin]
		if _, err := log.ReadAt(b, begin); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for i := len(b) - 1; i >= 0; i-- {
			if at := begin + int64(i); b[i] == '\n' && at != size-1 {
				if n--; n == 0 {
					return at + 1, nil
				}
			}
		}
		end = begin
	}
	return 0, nil
}
