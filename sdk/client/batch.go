package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Item is the answer to one line of a batch.
type Item struct {
	Index      int     `json:"index"`  // of the line, from 0; empty ones do not count
	Status     int     `json:"status"` // that a submit of the line alone would have had, of HTTP
	ID         string  `json:"id"`     // of the job; of a line that is refused, that of another job if it is about one
	Message    string  `json:"error"`
	Type       string  `json:"type"`
	Fields     []Field `json:"errors"`
	RetryAfter int     `json:"retry_after"` // seconds

	Raw json.RawMessage `json:"-"` // the line of the answer, without its end
}

// Err returns why the line was refused; nil when it was not.
func (i *Item) Err() error {
	if i.Status < http.StatusBadRequest {
		return nil
	}
	return &Error{
		Status: i.Status, Message: i.Message, ID: i.ID, Type: i.Type, Fields: i.Fields,
		RetryAfter: time.Duration(i.RetryAfter) * time.Second, Raw: i.Raw,
	}
}

// SubmitBatch submits many jobs in one request: lines holds a Submission a line,
// as JSON, in which an idempotency key is the field idempotency_key. It tells each
// the answers to the lines in their order, while further ones are sent, and returns
// when all were answered, or the first error of each. What was submitted before an
// error stays.
func (c *Client) SubmitBatch(ctx context.Context, lines io.Reader, each func(*Item) error) error {
	answer, err := c.do(ctx, http.MethodPost, "/jobs", http.Header{"Content-Type": {"application/x-ndjson"}}, lines)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	answers := json.NewDecoder(answer.Body)
	for {
		item := &Item{}
		err := answers.Decode(&item.Raw)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = json.Unmarshal(item.Raw, item)
		}
		if err != nil {
			return fmt.Errorf("the answer to a batch of jobs is cut off or not what a host sends: %w", err)
		}
		if err := each(item); err != nil {
			return err
		}
	}
}
