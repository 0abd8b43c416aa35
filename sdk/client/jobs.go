package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Job returns a job.
func (c *Client) Job(ctx context.Context, id string) (*Job, error) {
	return c.job(ctx, http.MethodGet, pathOf(id, ""), nil, nil)
}

// Await returns a job when it has ended, or as it is after at most so long. A host
// that stops answers early.
func (c *Client) Await(ctx context.Context, id string, atMost time.Duration) (*Job, error) {
	return c.job(ctx, http.MethodGet, pathOf(id, "?wait="+atMost.String()), nil, nil)
}

// holdFor is how long one request of Wait is held by the host.
const holdFor = time.Minute

// Wait returns a job when it has ended. It asks again and again, and gives up
// when ctx is done.
func (c *Client) Wait(ctx context.Context, id string) (*Job, error) {
	for {
		asked := time.Now()
		j, err := c.Await(ctx, id, holdFor)
		if err != nil || j.Status.Final() {
			return j, err
		}
		// A host that stops answers early: do not storm it.
		pause := time.NewTimer(max(0, time.Second-time.Since(asked)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, ctx.Err()
		}
	}
}

// State is the short answer about a job.
type State struct {
	Status    Status `json:"status"`
	Error     string `json:"error"`
	UpdatedAt int64  `json:"updated_at"` // unix seconds
}

// State returns the state of a job. It holds the request until the job has ended,
// for as long as wait says, at most ten minutes.
func (c *Client) State(ctx context.Context, id string, wait time.Duration) (*State, error) {
	path := pathOf(id, "/status")
	if wait > 0 {
		path += "?wait=" + wait.String()
	}
	s := &State{}
	_, err := c.call(ctx, http.MethodGet, path, nil, nil, s)
	return s, err
}

func (c *Client) job(ctx context.Context, method, path string, header http.Header, body any) (*Job, error) {
	var j Job
	raw, err := c.call(ctx, method, path, header, body, &j)
	if err != nil {
		return nil, err
	}
	if j.ID == "" {
		return nil, fmt.Errorf("the answer to %s %s is not a job", method, path)
	}
	j.Raw = raw
	return &j, nil
}

// Cancel asks a job to stop and returns its status after that: Canceling, or
// the final one if that came first.
func (c *Client) Cancel(ctx context.Context, id string) (Status, error) {
	var answer struct {
		Status Status `json:"status"`
	}
	_, err := c.call(ctx, http.MethodPost, pathOf(id, "/cancel"), nil, nil, &answer)
	return answer.Status, err
}

// Filter chooses jobs. Texts are patterns: % is any text, _ any character, \
// escapes; empty means any.
type Filter struct {
	ID, Name, Version, User, Command, Cluster string
	Statuses                                  []Status // any of them
	Tags                                      []string // all of them

	Limit     int    // of a page; 0: the host's default
	Cursor    string // "" for the first page
	OrderBy   string // id, created_at, updated_at; "": id
	Ascending bool
}

// Page is a part of a list of jobs.
type Page struct {
	Jobs       []Job  `json:"data"`
	HasMore    bool   `json:"has_more"`
	NextCursor string `json:"next_cursor"`

	Raw json.RawMessage `json:"-"` // the answer as it came
}

// Jobs returns a part of the jobs that the filter chooses, newest first unless
// it says otherwise.
func (c *Client) Jobs(ctx context.Context, f Filter) (*Page, error) {
	path := "/jobs"
	if query := f.query().Encode(); query != "" {
		path += "?" + query
	}
	var p Page
	raw, err := c.call(ctx, http.MethodGet, path, nil, nil, &p)
	if err != nil {
		return nil, err
	}
	p.Raw = raw
	return &p, nil
}

func (f Filter) query() url.Values {
	q := make(url.Values)
	for name, value := range map[string]string{
		"id": f.ID, "name": f.Name, "version": f.Version, "username": f.User,
		"command": f.Command, "cluster": f.Cluster, "cursor": f.Cursor, "order_by": f.OrderBy,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for _, s := range f.Statuses {
		q.Add("status", string(s))
	}
	for _, t := range f.Tags {
		q.Add("tags", t)
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	if f.Ascending {
		q.Set("direction", "asc")
	}
	return q
}
