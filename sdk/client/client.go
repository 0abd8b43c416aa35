// Package client talks to a Heimdall host over its REST API. It needs the
// standard library only.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// api is where a host's API is below its address.
const api = "/api/v1"

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

// New returns a client of the host at a URL such as http://127.0.0.1:9090, with or
// without /api/v1, for a user. The host must trust this machine to name its users; with an empty user
// no name is sent, for hosts behind a proxy that adds it.
func New(server, user string) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("server %q is not a URL such as http://127.0.0.1:9090", server)
	}
	return &Client{base: strings.TrimSuffix(strings.TrimRight(u.String(), "/"), api) + api, user: user}, nil
}

// do sends a request and returns the answer, whose body the caller closes. An
// answer that is none of success becomes an *Error. The body is sent as JSON, or
// as it is when it is an io.Reader.
func (c *Client) do(ctx context.Context, method, path string, header http.Header, body any) (*http.Response, error) {
	content, isStream := body.(io.Reader)
	if !isStream && body != nil {
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
	if body != nil && !isStream {
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
