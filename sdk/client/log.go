package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// Stream names one of the two text streams of a job.
type Stream string

// The text streams of a job.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// LatestAttempt stands for the latest attempt of a job, and none after it.
const LatestAttempt = -1

// LogOptions say which part of a text stream is read.
type LogOptions struct {
	Attempt int   // of this one; 0: of the latest, and with Follow of those after it
	Tail    int   // only so many last lines; 0: all
	From    int64 // begin at this byte; not with Tail
	Follow  bool  // go on until the job, or the attempt that is asked for, has ended, or the host stops
}

// LogReader reads a text stream.
type LogReader struct {
	io.ReadCloser
	Attempt int   // that the stream is of; 0: the host does not say
	Offset  int64 // in it, where this begins

	answer *http.Response
}

// LastAttempt returns, once all was read of one attempt that was followed, which
// attempt wrote last: one that resumes the work of another may go on with its stream.
func (r *LogReader) LastAttempt() int {
	if n, err := strconv.Atoi(r.answer.Trailer.Get("X-Heimdall-Last-Attempt")); err == nil {
		return n
	}
	return r.Attempt
}

// Log reads a text stream of a job, also while it runs. The caller closes it.
func (c *Client) Log(ctx context.Context, id string, s Stream, o LogOptions) (*LogReader, error) {
	q := make(url.Values)
	switch {
	case o.Attempt == LatestAttempt:
		q.Set("attempt", "latest")
	case o.Attempt > 0:
		q.Set("attempt", strconv.Itoa(o.Attempt))
	}
	if o.Tail > 0 {
		q.Set("tail", strconv.Itoa(o.Tail))
	}
	var header http.Header
	switch {
	case o.Follow:
		q.Set("follow", "true")
		if o.From > 0 {
			q.Set("offset", strconv.FormatInt(o.From, 10))
		}
	case o.From > 0:
		header = http.Header{"Range": {fmt.Sprintf("bytes=%d-", o.From)}}
	}
	answer, err := c.do(ctx, http.MethodGet, pathOf(id, "/"+string(s)+"?"+q.Encode()), header, nil)
	if hasStatus(err, http.StatusRequestedRangeNotSatisfiable) {
		return &LogReader{ReadCloser: http.NoBody, Offset: o.From, answer: &http.Response{}}, nil // nothing was written behind it yet
	}
	if err != nil {
		return nil, err
	}
	if header != nil && answer.StatusCode == http.StatusOK { // an empty stream has no parts
		answer.Body.Close()
		answer.Body = http.NoBody
	}
	r := &LogReader{ReadCloser: answer.Body, answer: answer}
	r.Attempt, _ = strconv.Atoi(answer.Header.Get("X-Heimdall-Attempt"))
	if header != nil {
		r.Offset = o.From
		return r, nil
	}
	r.Offset, _ = strconv.ParseInt(answer.Header.Get("X-Heimdall-Offset"), 10, 64)
	return r, nil
}

// pathOf returns the path of a job or of something under it.
func pathOf(id, rest string) string { return "/job/" + url.PathEscape(id) + rest }
