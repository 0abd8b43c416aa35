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

// LogOptions say which part of a text stream is read.
type LogOptions struct {
	Tail   int   // only so many last lines; 0: all
	From   int64 // begin at this byte; not with Tail or Follow
	Follow bool  // go on until the job has ended, or the host stops
}

// Log reads a text stream of a job, also while it runs. The caller closes it.
func (c *Client) Log(ctx context.Context, id string, s Stream, o LogOptions) (io.ReadCloser, error) {
	q := make(url.Values)
	if o.Tail > 0 {
		q.Set("tail", strconv.Itoa(o.Tail))
	}
	if o.Follow {
		q.Set("follow", "true")
	}
	var header http.Header
	if o.From > 0 {
		header = http.Header{"Range": {fmt.Sprintf("bytes=%d-", o.From)}}
	}
	answer, err := c.do(ctx, http.MethodGet, pathOf(id, "/"+string(s)+"?"+q.Encode()), header, nil)
	if hasStatus(err, http.StatusRequestedRangeNotSatisfiable) {
		return http.NoBody, nil // nothing was written behind it yet
	}
	if err != nil {
		return nil, err
	}
	if o.From > 0 && answer.StatusCode == http.StatusOK { // an empty stream has no parts
		answer.Body.Close()
		return http.NoBody, nil
	}
	return answer.Body, nil
}

// pathOf returns the path of a job or of something under it.
func pathOf(id, rest string) string { return "/job/" + url.PathEscape(id) + rest }
