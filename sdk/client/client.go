// Package client talks to a Heimdall host over its REST API. It needs the
// standard library only.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Client is a user's access to a host. Its methods may be called at the same
// time; they are not repeated when they fail.
type Client struct {
	// HTTP sends the requests. It must not have a Timeout if jobs or logs are
	// waited for. Default: http.DefaultClient.
	HTTP *http.Client
	// UserAgent names the program. Default: Go's.
	UserAgent string

	base string
	user string
}

// New returns a client of the host at a URL such as http://127.0.0.1:9090, for a
// user. The host must trust this machine to name its users; with an empty user
// no name is sent, for hosts behind a proxy that adds it.
func New(server, user string) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("server %q is not a URL such as http://127.0.0.1:9090", server)
	}
	return &Client{base: strings.TrimRight(u.String(), "/") + "/api/v1", user: user}, nil
}

// Error is an answer of the host that is not what was asked for.
type Error struct {
	Status  int     // of HTTP
	Message string  // one sentence
	ID      string  // the job it is about, if there is one
	Fields  []Field // faults of single fields, if any

	body []byte // the answer as it came
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

// IsConflict reports whether err says that the state of the job forbids it, as
// when the result of a job that runs is asked for.
func IsConflict(err error) bool { return hasStatus(err, http.StatusConflict) }

// IsDenied reports whether err says that the user is unknown or may not.
func IsDenied(err error) bool {
	return hasStatus(err, http.StatusUnauthorized) || hasStatus(err, http.StatusForbidden)
}

func hasStatus(err error, status int) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == status
}

// maxProblem bounds how much of an answer that is an error is read. A job that
// failed may have a result.
const maxProblem = 16 << 20

// do sends a request and returns the answer, whose body the caller closes. An
// answer that is none of success becomes an *Error.
func (c *Client) do(ctx context.Context, method, path string, header http.Header, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		content = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, err
	}
	if header != nil {
		r.Header = header
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.user != "" {
		r.Header.Set("X-Heimdall-User", c.user)
	}
	if c.UserAgent != "" {
		r.Header.Set("User-Agent", c.UserAgent)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= http.StatusBadRequest {
		defer answer.Body.Close()
		return nil, readError(answer)
	}
	return answer, nil
}

// readError turns an answer into an error. Not everything on the way to a host
// speaks its language, so any body will do.
func readError(answer *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, maxProblem))
	var p struct {
		Error  string  `json:"error"`
		ID     string  `json:"id"`
		Errors []Field `json:"errors"`
	}
	if json.Unmarshal(text, &p) != nil || p.Error == "" {
		p.Error = "the server answered " + answer.Status
	}
	return &Error{Status: answer.StatusCode, Message: p.Error, ID: p.ID, Fields: p.Errors, body: text}
}

// call sends a request and reads its JSON answer into v, and returns the answer
// as it came.
func (c *Client) call(ctx context.Context, method, path string, header http.Header, body, v any) (json.RawMessage, error) {
	answer, err := c.do(ctx, method, path, header, body)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer to %s %s: %w", method, path, err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return nil, fmt.Errorf("the answer to %s %s is not what a host sends: %w", method, path, err)
	}
	return text, nil
}
