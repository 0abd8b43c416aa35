package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
)

// Result is the result of a job: a table as JSON, or a document. The caller
// closes it.
type Result struct {
	io.ReadCloser
	ContentType string
}

// Result returns the result of a job that has ended: a table as JSON. Before the end
// the error is an IsConflict, without a result an IsNotFound.
func (c *Client) Result(ctx context.Context, id string) (*Result, error) {
	return c.ResultAs(ctx, id, ResultOptions{})
}

// ResultOptions say what of a table is read, and how.
type ResultOptions struct {
	Format string // json, ndjson, csv or tsv; empty: JSON, or the document that it is
	Offset int64  // rows that are left out
	Limit  *int64 // rows at most; nil: all
}

// ResultAs is Result in a form that is asked for. A document has no form but its own:
// with a format it is an *Error of status 406.
func (c *Client) ResultAs(ctx context.Context, id string, o ResultOptions) (*Result, error) {
	query := url.Values{}
	if o.Format != "" {
		query.Set("format", o.Format)
	}
	if o.Offset > 0 {
		query.Set("offset", strconv.FormatInt(o.Offset, 10))
	}
	if o.Limit != nil {
		query.Set("limit", strconv.FormatInt(*o.Limit, 10))
	}
	path := pathOf(id, "/result")
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	answer, err := c.do(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return nil, err
	}
	return &Result{ReadCloser: answer.Body, ContentType: answer.Header.Get("Content-Type")}, nil
}

// TableReader reads a table row by row, so that it may be larger than memory.
type TableReader struct {
	Columns []Column

	dec  *json.Decoder
	row  []json.RawMessage
	rows int64
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

// NewTableReader begins to read a table from JSON in which the columns come
// first, as a host sends it. It is an error if it is something else.
func NewTableReader(r io.Reader) (*TableReader, error) {
	t := &TableReader{dec: json.NewDecoder(r)}
	if err := t.expect(json.Delim('{'), "columns"); err != nil {
		return nil, err
	}
	if err := t.dec.Decode(&t.Columns); err != nil {
		return nil, fmt.Errorf("the result is not a table: %w", err)
	}
	if t.Columns == nil {
		return nil, errors.New("the result is not a table: it has no columns")
	}
	return t, t.expect("data", json.Delim('['))
}

func (t *TableReader) expect(tokens ...json.Token) error {
	for _, want := range tokens {
		got, err := t.dec.Token()
		if err != nil {
			return fmt.Errorf("the result is not a table: %w", err)
		}
		if got != want {
			return fmt.Errorf("the result is not a table: it has %.40q in the place of %q", fmt.Sprint(got), fmt.Sprint(want))
		}
	}
	return nil
}

// Next returns the next row, which is valid until the next call; io.EOF after
// the last one. Values are as JSON has them: integers beyond ±2⁵³ and decimals
// are strings, bytes are base64, times RFC 3339.
func (t *TableReader) Next() ([]json.RawMessage, error) {
	if !t.dec.More() {
		return nil, t.end()
	}
	t.rows++
	if err := t.dec.Decode(&t.row); err != nil {
		return nil, fmt.Errorf("row %d of the result: %w", t.rows, err)
	}
	if len(t.row) != len(t.Columns) {
		return nil, fmt.Errorf("row %d of the result has %d values, not %d", t.rows, len(t.row), len(t.Columns))
	}
	return t.row, nil
}

// end reads what follows the rows, and returns io.EOF if it is whole.
func (t *TableReader) end() error {
	for depth := 2; depth > 0; {
		token, err := t.dec.Token()
		if err != nil {
			return fmt.Errorf("the result ends too early, after %d rows: %w", t.rows, errors.Join(io.ErrUnexpectedEOF, err))
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			depth++
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
	}
	return io.EOF
}
