package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
)

// followEvery is how often a log that is followed is looked at.
const followEvery = 100 * time.Millisecond

// blockSize is how much of a log is held in memory.
const blockSize = 32 << 10

// getStdout serves GET /job/{id}/stdout.
func (h *Handler) getStdout(x *exchange) error { return h.getLog(x, job.Stdout) }

// getStderr serves GET /job/{id}/stderr.
func (h *Handler) getStderr(x *exchange) error { return h.getLog(x, job.Stderr) }

// getLog serves a text stream: what is there, a range or the last lines of it,
// or all that comes until the end.
func (h *Handler) getLog(x *exchange, s job.Stream) error {
	id, err := x.jobID()
	if err != nil {
		return err
	}
	query := x.r.URL.Query()
	tail, follow := int64(-1), false
	if text := query.Get("tail"); text != "" {
		if tail, err = strconv.ParseInt(text, 10, 64); err != nil || tail < 0 {
			return badParameter("tail", "%.40q is not a number of lines", text)
		}
	}
	if text := query.Get("follow"); text != "" {
		if follow, err = strconv.ParseBool(text); err != nil {
			return badParameter("follow", "%.40q is neither true nor false", text)
		}
	}
	log, err := h.jobs.Log(x.r.Context(), id, s)
	if err != nil {
		return err
	}
	defer log.Close()
	size, err := log.Size()
	if err != nil {
		return fmt.Errorf("size of %s of job %s: %w", s, id, err)
	}
	from := int64(0)
	if tail >= 0 {
		if from, err = lastLines(log, size, tail); err != nil {
			return fmt.Errorf("last lines of %s of job %s: %w", s, id, err)
		}
		x.r.Header.Del("Range") // lines go before bytes
	}
	header := x.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	if follow {
		return h.follow(x, log, from)
	}
	return serveContent(x, io.NewSectionReader(log, from, size-from), size-from)
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
		if _, err := log.ReadAt(b, begin); err != nil && err != io.EOF {
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

// follow streams a log from a place on until it is done, the client is gone, or
// the host stops.
func (h *Handler) follow(x *exchange, log jobs.Log, from int64) error {
	x.Header().Set("X-Accel-Buffering", "no") // proxies that know it pass it on at once
	x.WriteHeader(http.StatusOK)
	if x.r.Method == http.MethodHead {
		return nil
	}
	p := newPatient(x)
	defer p.Close()
	if err := p.Flush(); err != nil { // the client learns at once that there is a log
		return err
	}
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	defer context.AfterFunc(h.stopping, cancel)()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	block := make([]byte, blockSize)
	for done := false; ; {
		size, err := log.Size()
		if err != nil {
			return err
		}
		if size > from {
			if _, err := io.CopyBuffer(p, io.NewSectionReader(log, from, size-from), block); err != nil {
				return err
			}
			if err := p.Flush(); err != nil {
				return err
			}
			from = size
		}
		if done {
			return nil
		}
		select {
		case <-log.Done():
			done = true // once more: what came last
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
