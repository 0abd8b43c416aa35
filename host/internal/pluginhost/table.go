package pluginhost

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"unicode/utf8"
)

// columnType is what the type of a column may look like.
var columnType = regexp.MustCompile(`^(bool|u?int(8|16|32|64)|float(32|64)|decimal\([0-9]+, ?[0-9]+\)|string|bytes|date|time|timestamp|timestamptz|interval|uuid|json|null|(list|map|struct)<.*>)$`)

const maxHead = 1 << 20 // of what stands before the rows of a table, bytes

// checkTable reads the JSON of a table through, {"columns":[…],"data":[[…]]}, and
// returns the number of its rows. It holds one row in memory.
func checkTable(r io.Reader) (rows int64, err error) {
	d := json.NewDecoder(r)
	columns, err := checkHead(d)
	if err != nil {
		return 0, err
	}
	var row json.RawMessage
	for ; d.More(); rows++ {
		if err := d.Decode(&row); err != nil {
			return 0, fmt.Errorf("row %d: %w", rows+1, err)
		}
		if !utf8.Valid(row) {
			return 0, fmt.Errorf("row %d is not UTF-8", rows+1)
		}
		if n := width(row); n != columns {
			return 0, fmt.Errorf("row %d has %d values for %d columns", rows+1, n, columns)
		}
	}
	if err := expect(d, json.Delim(']'), json.Delim('}')); err != nil {
		return 0, err
	}
	if _, err := d.Token(); err != io.EOF {
		if err == nil {
			err = errors.New("something follows it")
		}
		return 0, err
	}
	return rows, nil
}

// isText reports whether a table is the one cell of a text, as most quick jobs
// bring it: it needs no decoder, whose making costs more than a text.
func isText(table []byte) bool {
	const head, tail = `{"columns":[{"name":"message","type":"string"}],"data":[["`, `"]]}`
	if !bytes.HasPrefix(table, []byte(head)) || !bytes.HasSuffix(table, []byte(tail)) || len(table) < len(head)+len(tail) {
		return false
	}
	cell := table[len(head)-1 : len(table)-len(tail)+1] // with its quotes
	return json.Valid(cell) && utf8.Valid(cell)
}

// checkHead reads a table up to its first row and returns the number of columns.
func checkHead(d *json.Decoder) (columns int, err error) {
	if err := expect(d, json.Delim('{'), "columns"); err != nil {
		return 0, err
	}
	var list []struct {
		Name *string `json:"name"`
		Type string  `json:"type"`
	}
	if err := d.Decode(&list); err != nil {
		return 0, fmt.Errorf("its columns: %w", err)
	}
	for i, c := range list {
		if c.Name == nil {
			return 0, fmt.Errorf("column %d has no name", i+1)
		}
		if c.Type != "string" && !columnType.MatchString(c.Type) { // most quick jobs bring a text
			return 0, fmt.Errorf("column %d, %.100q, has the type %.100q, which is none", i+1, *c.Name, c.Type)
		}
	}
	return len(list), expect(d, "data", json.Delim('['))
}

// expect reads tokens that must come next.
func expect(d *json.Decoder, tokens ...json.Token) error {
	for _, want := range tokens {
		switch got, err := d.Token(); {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("it ends where %q was to come", fmt.Sprint(want))
		case err != nil:
			return err
		case got != want:
			return fmt.Errorf("%.100q stands where %q was to come", fmt.Sprint(got), fmt.Sprint(want))
		}
	}
	return nil
}

// width returns how many values a row has, or -1 for what is no row. The row is
// valid JSON.
func width(row []byte) int {
	row = bytes.TrimSpace(row)
	if row[0] != '[' {
		return -1
	}
	if len(bytes.TrimSpace(row[1:len(row)-1])) == 0 {
		return 0
	}
	n, depth := 1, 0
	for i := 0; i < len(row); i++ {
		switch row[i] {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case ',':
			if depth == 1 {
				n++
			}
		case '"':
			for i++; row[i] != '"'; i++ {
				if row[i] == '\\' {
					i++
				}
			}
		}
	}
	return n
}

// checkEnds looks at the beginning and the end of a table that is too large to
// be read through: a part that is missing is mostly one of those.
func (r *Result) checkEnds() error {
	d := json.NewDecoder(io.NewSectionReader(r.file, 0, maxHead))
	if _, err := checkHead(d); err != nil {
		return fmt.Errorf("its table is broken: %w", err)
	}
	last := make([]byte, min(r.Bytes, 64))
	if _, err := r.file.ReadAt(last, r.Bytes-int64(len(last))); err != nil {
		return fmt.Errorf("read its file: %w", err)
	}
	last = bytes.TrimSpace(last)
	if !bytes.HasSuffix(last, []byte("}")) || !bytes.HasSuffix(bytes.TrimSpace(last[:len(last)-1]), []byte("]")) {
		return errors.New("its table is broken: it does not end as a table does")
	}
	return nil
}
