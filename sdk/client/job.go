package client

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
)

// Status is the state of a job.
type Status string

// The states of a job. The last four are final.
const (
	StatusNew       Status = "NEW"
	StatusAccepted  Status = "ACCEPTED"
	StatusRunning   Status = "RUNNING"
	StatusCanceling Status = "CANCELING"
	StatusSucceeded Status = "SUCCEEDED"
	StatusFailed    Status = "FAILED"
	StatusKilled    Status = "KILLED"
	StatusCanceled  Status = "CANCELED"
)

// Final reports whether a job in this state has ended.
func (s Status) Final() bool {
	return s == StatusSucceeded || s == StatusFailed || s == StatusKilled || s == StatusCanceled
}

// Job is a job as the host tells it.
type Job struct {
	ID              string               `json:"id"`
	Name            string               `json:"name"`
	Version         string               `json:"version"`
	Description     string               `json:"description"`
	User            string               `json:"user"`
	Tags            []string             `json:"tags"`
	Context         json.RawMessage      `json:"context"`
	Status          Status               `json:"status"`
	Error           string               `json:"error"`
	ErrorClass      string               `json:"error_class"`
	ExitCode        *int                 `json:"exit_code"` // of a job that is a process
	Signal          string               `json:"signal"`
	IsSync          bool                 `json:"is_sync"`
	CommandCriteria []string             `json:"command_criteria"`
	ClusterCriteria json.RawMessage      `json:"cluster_criteria"` // a list, or a list of lists
	JobAttributes   map[string]Attribute `json:"job_attributes"`
	CommandID       string               `json:"command_id"`
	CommandName     string               `json:"command_name"`
	ClusterID       string               `json:"cluster_id"`
	ClusterName     string               `json:"cluster_name"`
	Timeout         string               `json:"timeout"`
	Retry           *Retry               `json:"retry"` // nil: it is tried once
	Priority        int                  `json:"priority"`
	StartAfter      time.Time            `json:"start_after"` // zero: at once
	Deadline        time.Time            `json:"deadline"`    // zero: none
	UniqueKey       string               `json:"unique_key"`
	Attempt         int                  `json:"attempt"`
	CanceledBy      string               `json:"canceled_by"`
	CreatedAt       int64                `json:"created_at"` // unix seconds
	UpdatedAt       int64                `json:"updated_at"` // unix seconds
	CreatedTime     time.Time            `json:"created_time"`
	StartedTime     time.Time            `json:"started_time"` // zero before
	EndedTime       time.Time            `json:"ended_time"`   // zero before

	// Waiting and Attempts are there where one job was asked for.
	Waiting  *Waiting  `json:"waiting"`  // nil when it does not wait
	Attempts []Attempt `json:"attempts"` // that have ended, the first one first

	// Result is there in the answer to a submit that waited: a table, or the
	// description of what is too large or no table.
	Result json.RawMessage `json:"result"`

	// Raw is the answer that the job was read from, as it came; nil in a list.
	Raw json.RawMessage `json:"-"`
}

// Retry says when another attempt follows one that did not succeed.
type Retry struct {
	Attempts int      `json:"attempts"`          // in all, the first one too
	Backoff  string   `json:"backoff,omitempty"` // such as 30s; the most time before the second one, which doubles
	On       []string `json:"on,omitempty"`      // classes of errors; none: as the host has it
}

// Waiting is why a job waits.
type Waiting struct {
	Reason string    `json:"reason"`
	Ahead  int       `json:"ahead"` // jobs that come before it in the queue, at most 10000; 0 while it is not in it
	Until  time.Time `json:"until"` // when it is due; zero when it does not wait for a time
}

// Attempt is one that has ended.
type Attempt struct {
	Attempt     int       `json:"attempt"` // its ordinal, from 1
	Status      Status    `json:"status"`
	Error       string    `json:"error"`
	ErrorClass  string    `json:"error_class"`
	ExitCode    *int      `json:"exit_code"`
	Signal      string    `json:"signal"`
	HostID      string    `json:"host_id"`
	CommandID   string    `json:"command_id"`
	ClusterID   string    `json:"cluster_id"`
	Build       string    `json:"build"`        // sha256 of the plugin's binary
	StartedTime time.Time `json:"started_time"` // zero when it never began
	EndedTime   time.Time `json:"ended_time"`
}

// Attribute is a named value shown with a job.
type Attribute struct {
	Kind  string `json:"kind"` // link or text
	Value string `json:"value"`
}

// Submission is what a job is to be.
type Submission struct {
	Name            string          `json:"name,omitempty"`
	Version         string          `json:"version,omitempty"`
	Description     string          `json:"description,omitempty"`
	Context         json.RawMessage `json:"context,omitempty"` // a JSON object; nil: empty
	CommandCriteria []string        `json:"command_criteria"`
	ClusterCriteria any             `json:"cluster_criteria,omitempty"` // []string, or [][]string: preferences in order
	Tags            []string        `json:"tags,omitempty"`
	Timeout         string          `json:"timeout,omitempty"`       // such as 30s
	OnDisconnect    string          `json:"on_disconnect,omitempty"` // cancel or continue
	Retry           *Retry          `json:"retry,omitempty"`         // nil: as the command has it
	Priority        int             `json:"priority,omitempty"`      // -100 to 100; higher runs first
	StartAfter      time.Time       `json:"start_after,omitzero"`
	Deadline        time.Time       `json:"deadline,omitzero"`    // when it must have ended
	UniqueKey       string          `json:"unique_key,omitempty"` // no two jobs of yours with the same one wait or run at once

	// IdempotencyKey makes the repeat of a submission known: for a day it stands for
	// the job that came of the first.
	IdempotencyKey string `json:"-"`

	// Wait is how long the host may hold the answer for the job to end; 0: not
	// at all; negative: as the command has it.
	Wait time.Duration `json:"-"`
}

// Submit submits a job. The job that it returns may have ended in any way; that
// it did not succeed is no error.
func (c *Client) Submit(ctx context.Context, s Submission) (*Job, error) {
	header := make(http.Header)
	if s.IdempotencyKey != "" {
		header.Set("Idempotency-Key", s.IdempotencyKey)
	}
	switch {
	case s.Wait > 0:
		seconds := int64((s.Wait + time.Second - 1) / time.Second)
		header.Set("Prefer", "wait="+strconv.FormatInt(seconds, 10))
	case s.Wait == 0:
		header.Set("Prefer", "respond-async")
	}
	j, err := c.job(ctx, http.MethodPost, "/job", header, s)
	if e, ok := errors.AsType[*Error](err); ok {
		// A sync job that did not succeed is answered with a status that says
		// whose fault it was, and the job.
		if ended := new(Job); json.Unmarshal(e.body, ended) == nil && ended.ID != "" && ended.Status.Final() {
			ended.Raw = e.body
			return ended, nil
		}
	}
	return j, err
}

// Job returns a job.
func (c *Client) Job(ctx context.Context, id string) (*Job, error) {
	return c.job(ctx, http.MethodGet, pathOf(id, ""), nil, nil)
}

// holdFor is how long one request of Wait is held by the host.
const holdFor = time.Minute

// Wait returns a job when it has ended. It asks again and again, and gives up
// when ctx is done.
func (c *Client) Wait(ctx context.Context, id string) (*Job, error) {
	for {
		asked := time.Now()
		j, err := c.job(ctx, http.MethodGet, pathOf(id, "?wait="+holdFor.String()), nil, nil)
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

// Stream names one of the two text streams of a job.
type Stream string

// The text streams of a job.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// LogOptions say which part of a text stream is read.
type LogOptions struct {
	Tail   int  // only so many last lines; 0: all
	Follow bool // go on until the job has ended
}

// Log reads a text stream of a job. The caller closes it.
func (c *Client) Log(ctx context.Context, id string, s Stream, o LogOptions) (io.ReadCloser, error) {
	q := make(url.Values)
	if o.Tail > 0 {
		q.Set("tail", strconv.Itoa(o.Tail))
	}
	if o.Follow {
		q.Set("follow", "true")
	}
	answer, err := c.do(ctx, http.MethodGet, pathOf(id, "/"+string(s)+"?"+q.Encode()), nil, nil)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

// pathOf returns the path of a job or of something under it.
func pathOf(id, rest string) string { return "/job/" + url.PathEscape(id) + rest }
