package client

import (
	"context"
	"encoding/json"
	"net/http"
)

// Explanation is why a job has its pair, or why there is none for it.
type Explanation struct {
	Chosen    *Pair       `json:"chosen"`     // nil: there is none
	NotChosen []Candidate `json:"not_chosen"` // at most 100, the nearest first

	Raw json.RawMessage `json:"-"` // the answer as it came
}

// Pair is a command and a cluster.
type Pair struct {
	CommandID   string `json:"command_id"`
	CommandName string `json:"command_name"`
	ClusterID   string `json:"cluster_id"`
	ClusterName string `json:"cluster_name"`
}

// Candidate is a command, or a pair of one that fits, and why it was not taken.
type Candidate struct {
	CommandID string   `json:"command_id"`
	ClusterID string   `json:"cluster_id"` // "": the verdict is on the command
	Verdict   string   `json:"verdict"`
	Lacks     []string `json:"lacks"`
	Detail    string   `json:"detail"` // the verdict in words
}

// Explain says why a job has its pair.
func (c *Client) Explain(ctx context.Context, id string) (*Explanation, error) {
	return c.explanation(ctx, http.MethodGet, pathOf(id, "/explain"), nil)
}

// Resolve says which pair a submission would get now and why. It runs nothing.
// That there is no pair is an *Error, whose Raw may hold more.
func (c *Client) Resolve(ctx context.Context, s Submission) (*Explanation, error) {
	return c.explanation(ctx, http.MethodPost, "/resolve", s)
}

func (c *Client) explanation(ctx context.Context, method, path string, body any) (*Explanation, error) {
	e := &Explanation{}
	raw, err := c.call(ctx, method, path, nil, body, e)
	e.Raw = raw
	return e, err
}
