package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

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

	// Attachments are files that were sent before, by Upload; Files are sent with the
	// job. It finds both in the folder inputs of its own.
	Attachments []Attachment `json:"attachments,omitempty"`
	Files       []File       `json:"-"`

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
	var j *Job
	var err error
	if len(s.Files) > 0 {
		j, err = c.submitForm(ctx, header, s)
	} else {
		j, err = c.job(ctx, http.MethodPost, "/job", header, s)
	}
	if e, ok := errors.AsType[*Error](err); ok {
		// A sync job that did not succeed is answered with a status that says
		// whose fault it was, and the job.
		if ended := new(Job); json.Unmarshal(e.Raw, ended) == nil && ended.ID != "" && ended.Status.Final() {
			ended.Raw = e.Raw
			return ended, nil
		}
	}
	return j, err
}
