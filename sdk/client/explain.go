package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
)

// Explanation is why a job has its pair, or why there is none for it.
type Explanation struct {
	ID        string      `json:"id"`         // of the job; "" where there is none
	Summary   string      `json:"summary"`    // one sentence
	Chosen    *Pair       `json:"chosen"`     // nil: there is none
	Choices   uint64      `json:"choices"`    // pairs that the chosen one was drawn from, with even chances
	Revision  string      `json:"revision"`   // of the catalog
	Counts    Counts      `json:"counts"`     // of all candidates
	NotChosen []Candidate `json:"not_chosen"` // at most 100, the nearest first
	NotListed uint64      `json:"not_listed"` // candidates that are not among these

	Raw json.RawMessage `json:"-"` // the answer as it came
}

// Counts are numbers of candidates by verdict.
type Counts struct {
	Commands map[string]int    `json:"commands"`
	Pairs    map[string]uint64 `json:"pairs"` // of commands that fit, with every cluster
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
// When there is no pair, the error is the one that Submit would give, and the
// explanation beside it says why.
func (c *Client) Resolve(ctx context.Context, s Submission) (*Explanation, error) {
	e, err := c.explanation(ctx, http.MethodPost, "/resolve", s)
	if refused, ok := errors.AsType[*Error](err); ok {
		why := &Explanation{Raw: refused.Raw}
		if json.Unmarshal(refused.Raw, why) == nil && why.NotChosen != nil {
			return why, err
		}
	}
	return e, err
}

func (c *Client) explanation(ctx context.Context, method, path string, body any) (*Explanation, error) {
	e := &Explanation{}
	raw, err := c.call(ctx, method, path, nil, body, e)
	if err != nil {
		return nil, err
	}
	e.Raw = raw
	return e, nil
}
