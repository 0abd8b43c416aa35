// Package table reads tables in the form in which they are stored,
// {"columns":[…],"data":[[…]]}, row by row, and writes them in the formats that
// readers ask for. It holds one row at a time, whatever the size of the table.
package table

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Bounds of what is held of a table while it is read.
const (
	chunk   = 64 << 10 // bytes that are read at once
	maxHeld = 16 << 20 // of one row, and of all that stands before the first one
)

// ErrRead is why a table could not be read on that is not to blame for it.
var ErrRead = errors.New("read the table")

// errShort says that what is held ends before a row does.
var errShort = errors.New("it ends too early")

// Column is a column of a table.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Reader reads the rows of a table. It takes nothing on trust: plugins, which
// wrote the table, may be anybody's.
type Reader struct {
	Columns []Column

	head  []byte // the columns as JSON
	r     io.Reader
	buf   []byte // what was read and not yet passed
	pos   int    // where the next row begins in buf
	end   bool   // r has no more
	cells [][]byte
	rows  int64 // that were read
	done  bool  // the end of the table was seen
	ahead bool  // the next row is in cells
}

// NewReader reads the beginning of a table.
func NewReader(r io.Reader) (*Reader, error) {
	t := &Reader{r: r}
	err := t.parse(func(b []byte) (int, error) {
		n, err := literal(b, 0, '{')
		if err == nil {
			n, err = key(b, n, `"columns"`)
		}
		from := space(b, n)
		if err == nil {
			n, err = value(b, from)
		}
		if err != nil {
			return 0, err
		}
		t.head = append(t.head[:0], b[from:n]...)
		if n, err = literal(b, n, ','); err == nil {
			n, err = key(b, n, `"data"`)
		}
		if err == nil {
			n, err = literal(b, n, '[')
		}
		return n, err
	})
	if err == nil {
		err = json.Unmarshal(t.head, &t.Columns)
	}
	if err == nil && t.Columns == nil {
		err = errors.New("it has no columns")
	}
	if err != nil {
		return nil, fmt.Errorf("the table is broken: %w", err)
	}
	t.cells = make([][]byte, 0, len(t.Columns))
	return t, nil
}

// Next returns the cells of the next row as JSON, valid until the next call;
// io.EOF after the last one, when the table ends as it must.
func (t *Reader) Next() ([][]byte, error) {
	if t.ahead {
		t.ahead = false
		return t.cells, nil
	}
	if t.done {
		return nil, io.EOF
	}
	if err := t.parse(t.row); err != nil {
		return nil, fmt.Errorf("row %d of the table is broken: %w", t.rows+1, err)
	}
	if t.done {
		if err := t.last(); err != nil {
			return nil, fmt.Errorf("the table is broken after row %d: %w", t.rows, err)
		}
		return nil, io.EOF
	}
	t.rows++
	return t.cells, nil
}

// Peek reads the first row ahead, so that a fault of it is known before anything
// is written.
func (t *Reader) Peek() error {
	_, err := t.Next()
	if err == io.EOF {
		return nil
	}
	t.ahead = err == nil
	return err
}

// row reads a row with the comma before it, or the end of the table.
func (t *Reader) row(b []byte) (n int, err error) {
	if n = space(b, 0); n < len(b) && b[n] == ']' {
		if n, err = literal(b, n+1, '}'); err == nil {
			t.done = true
		}
		return n, err
	}
	if t.rows > 0 {
		if n, err = literal(b, n, ','); err != nil {
			return n, err
		}
	}
	if n, err = literal(b, n, '['); err != nil {
		return n, err
	}
	t.cells = t.cells[:0]
	if n = space(b, n); len(t.Columns) == 0 || n < len(b) && b[n] == ']' {
		if n, err = literal(b, n, ']'); err == nil && len(t.Columns) > 0 {
			err = fmt.Errorf("it has no values for %d columns", len(t.Columns))
		}
		return n, err
	}
	for {
		from := space(b, n)
		if n, err = value(b, from); err != nil {
			return n, err
		}
		t.cells = append(t.cells, b[from:n])
		if n = space(b, n); n == len(b) {
			return n, errShort
		}
		switch {
		case b[n] == ']' && len(t.cells) < len(t.Columns):
			return n, fmt.Errorf("it has %d values for %d columns", len(t.cells), len(t.Columns))
		case b[n] == ']':
			return n + 1, nil
		case b[n] != ',':
			return n, fmt.Errorf("%q stands behind a value", b[n])
		case len(t.cells) == len(t.Columns):
			return n, fmt.Errorf("it has more than %d values for %d columns", len(t.cells), len(t.Columns))
		}
		n++
	}
}

// last makes sure that nothing follows the table.
func (t *Reader) last() error {
	for {
		if n := space(t.buf, t.pos); n < len(t.buf) {
			return fmt.Errorf("%q follows it", t.buf[n])
		}
		t.pos = len(t.buf)
		if t.end {
			return nil
		}
		if err := t.fill(); err != nil {
			return err
		}
	}
}

// parse calls read with what is held, with more of it each time that it is too
// short, and passes over what it has read.
func (t *Reader) parse(read func([]byte) (int, error)) error {
	for {
		n, err := read(t.buf[t.pos:])
		if err == nil {
			t.pos += n
			return nil
		}
		if !errors.Is(err, errShort) || t.end {
			return err
		}
		if err := t.fill(); err != nil {
			return err
		}
	}
}

// fill reads on. What it holds grows by half at least, so that a long row is
// not looked at again and again.
func (t *Reader) fill() error {
	held := copy(t.buf, t.buf[t.pos:])
	t.buf, t.pos = t.buf[:held], 0
	if held >= maxHeld {
		return fmt.Errorf("it has more than %d bytes, which only the stored form may have", maxHeld)
	}
	want := min(held+max(chunk, held/2), maxHeld)
	if cap(t.buf) < want {
		buf := make([]byte, held, want)
		copy(buf, t.buf)
		t.buf = buf
	}
	n, err := io.ReadAtLeast(t.r, t.buf[held:want], 1)
	t.buf = t.buf[:held+n]
	if err == io.EOF {
		t.end = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRead, err)
	}
	return nil
}

// space returns where the white space at n ends.
func space(b []byte, n int) int {
	for n < len(b) && (b[n] == ' ' || b[n] == '\n' || b[n] == '\t' || b[n] == '\r') {
		n++
	}
	return n
}

// literal reads one character that must come next.
func literal(b []byte, n int, want byte) (int, error) {
	if n = space(b, n); n == len(b) {
		return n, errShort
	}
	if b[n] != want {
		return n, fmt.Errorf("%q stands where %q was to come", b[n], want)
	}
	return n + 1, nil
}

// key reads the name of a member, with its quotes, and the colon.
func key(b []byte, n int, want string) (int, error) {
	n = space(b, n)
	if len(b)-n < len(want) {
		return n, errShort
	}
	if string(b[n:n+len(want)]) != want {
		return n, fmt.Errorf("%.40q stands where %s was to come", b[n:n+len(want)], want)
	}
	return literal(b, n+len(want), ':')
}

// value reads a value and returns where it ends.
func value(b []byte, n int) (int, error) {
	if n == len(b) {
		return n, errShort
	}
	switch b[n] {
	case '"':
		return text(b, n)
	case '[', '{':
		end, err := nested(b, n)
		if err == nil && (!json.Valid(b[n:end]) || !utf8.Valid(b[n:end])) {
			err = fmt.Errorf("%.40q is not JSON in UTF-8", b[n:end])
		}
		return end, err
	}
	from := n
	for n < len(b) && b[n] != ',' && b[n] != ']' && b[n] != '}' && b[n] > ' ' {
		n++
	}
	if n == len(b) {
		return n, errShort
	}
	switch word := b[from:n]; {
	case string(word) == "null", string(word) == "true", string(word) == "false", number(word):
		return n, nil
	default:
		return n, fmt.Errorf("%.40q is no value", word)
	}
}

// number reports whether a word is a number. What is not plainly one is left to
// the package that knows them all.
func number(word []byte) bool {
	for i, c := range word {
		if c < '0' || c > '9' || c == '0' && i == 0 && len(word) > 1 {
			return json.Valid(word)
		}
	}
	return len(word) > 0
}

// text reads a string.
func text(b []byte, n int) (int, error) {
	from := n
	n++
	for {
		quote := bytes.IndexByte(b[n:], '"')
		if quote < 0 {
			return n, errShort
		}
		n += quote + 1
		slashes := 0
		for i := n - 2; i > from && b[i] == '\\'; i-- {
			slashes++
		}
		if slashes%2 == 0 {
			break
		}
	}
	inner, plain := b[from+1:n-1], true
	for _, c := range inner {
		if c < ' ' || c == '\\' || c >= utf8.RuneSelf {
			plain = false
			break
		}
	}
	if !plain && (!utf8.Valid(inner) || !json.Valid(b[from:n])) {
		return n, fmt.Errorf("%.40q is not a string of JSON in UTF-8", b[from:n])
	}
	return n, nil
}

// nested finds the end of a list or an object.
func nested(b []byte, n int) (int, error) {
	depth := 0
	for n < len(b) {
		switch b[n] {
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				return n + 1, nil
			}
		case '"':
			end, err := text(b, n)
			if err != nil {
				return end, err
			}
			n = end - 1
		}
		n++
	}
	return n, errShort
}
