package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
)

// Result is the result of a job: a table as JSON, or a document. The caller
// closes it.
type Result struct {
	io.ReadCloser
	ContentType string
}

// Result returns the result of a job that has ended. Before the end the error
// is an IsConflict, without a result an IsNotFound.
func (c *Client) Result(ctx context.Context, id string) (*Result, error) {
	answer, err := c.do(ctx, http.MethodGet, pathOf(id, "/result"), nil, nil)
	if err != nil {
		return nil, err
	}
	return &Result{ReadCloser: answer.Body, ContentType: answer.Header.Get("Content-Type")}, nil
}

// Table is a typed table. Values are as JSON has them: integers beyond ±2⁵³ and
// decimals are strings, bytes are base64, times RFC 3339.
type Table struct {
	Columns []Column            `json:"columns"`
	Data    [][]json.RawMessage `json:"data"`
}

// Column is a column of a table.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// JSON reports whether the result is JSON, as every table is.
func (r *Result) JSON() bool {
	t, _, err := mime.ParseMediaType(r.ContentType)
	return err == nil && t == "application/json"
}

// ParseTable reads a table from JSON. It is an error if it is something else.
func ParseTable(text []byte) (*Table, error) {
	var t Table
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, fmt.Errorf("the result is not a table: %w", err)
	}
	if t.Columns == nil {
		return nil, fmt.Errorf("the result is not a table: it has no columns")
	}
	for i, row := range t.Data {
		if len(row) != len(t.Columns) {
			return nil, fmt.Errorf("row %d of the result has %d values, not %d", i, len(row), len(t.Columns))
		}
	}
	return &t, nil
}
