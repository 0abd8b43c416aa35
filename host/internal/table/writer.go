package table

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Format is a form in which a table is handed out.
type Format string

// Formats, by the names that requests give them.
const (
	JSON   Format = "json"   // as it is stored
	NDJSON Format = "ndjson" // an object a line
	CSV    Format = "csv"    // RFC 4180
	TSV    Format = "tsv"    // tab-separated, with \t, \n, \r and \\ in values
)

// Formats are all of them; the first one is for readers who have no wish.
var Formats = []Format{JSON, NDJSON, CSV, TSV}

// MediaType returns the type that a format is served as.
func (f Format) MediaType() string {
	switch f {
	case NDJSON:
		return "application/x-ndjson"
	case CSV:
		return "text/csv; charset=utf-8"
	case TSV:
		return "text/tab-separated-values; charset=utf-8"
	}
	return "application/json"
}

// Options say what of a table is written, and how.
type Options struct {
	Format    Format
	Offset    int64  // rows that are left out
	Limit     int64  // rows that are written at most; below 0: all
	NoHeader  bool   // CSV and TSV: begin with the first row
	Delimiter rune   // CSV: what stands between values; 0: a comma
	Null      string // CSV and TSV: what stands for null
}

// flushAt is how much is collected before it is written, bytes.
const flushAt = 64 << 10

// Write writes a table. When it fails, what was written does not end as the
// format must, or ends with a whole row: the caller has to break off the
// transfer.
func Write(w io.Writer, t *Reader, o Options) error {
	e := &encoder{o: o, columns: t.Columns}
	if o.Delimiter == 0 {
		e.o.Delimiter = ','
	}
	e.begin(t)
	for n := int64(0); o.Limit < 0 || n < o.Limit; {
		row, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if t.rows <= o.Offset {
			continue
		}
		e.row(row, n == 0)
		n++
		if len(e.out) >= flushAt {
			if _, err := w.Write(e.out); err != nil {
				return err
			}
			e.out = e.out[:0]
		}
	}
	if o.Format == JSON {
		e.out = append(e.out, "]}"...)
	}
	_, err := w.Write(e.out)
	return err
}

// encoder collects what is to be written.
type encoder struct {
	o       Options
	columns []Column
	keys    [][]byte // of the members of an object, with what stands before
	out     []byte
	scratch []byte
}

// begin writes what stands before the first row.
func (e *encoder) begin(t *Reader) {
	switch e.o.Format {
	case JSON:
		e.out = append(append(append(e.out, `{"columns":`...), t.head...), `,"data":[`...)
	case NDJSON:
		e.keys = keys(t.Columns)
	default:
		if e.o.NoHeader {
			return
		}
		for i, c := range t.Columns {
			e.separate(i)
			e.text([]byte(c.Name))
		}
		e.line()
	}
}

// row writes a row.
func (e *encoder) row(row [][]byte, first bool) {
	switch e.o.Format {
	case JSON:
		if !first {
			e.out = append(e.out, ',')
		}
		e.out = append(e.out, '[')
		for i, cell := range row {
			e.separate(i)
			e.out = append(e.out, cell...)
		}
		e.out = append(e.out, ']')
	case NDJSON:
		if len(row) == 0 {
			e.out = append(e.out, '{')
		}
		for i, cell := range row {
			e.out = append(append(e.out, e.keys[i]...), e.oneLine(cell)...)
		}
		e.out = append(e.out, "}\n"...)
	default:
		for i, cell := range row {
			e.separate(i)
			e.cell(cell, e.columns[i].Type)
		}
		e.line()
	}
}

// separate writes what stands before the i-th value.
func (e *encoder) separate(i int) {
	switch {
	case i == 0:
	case e.o.Format == CSV:
		e.out = utf8.AppendRune(e.out, e.o.Delimiter)
	case e.o.Format == TSV:
		e.out = append(e.out, '\t')
	default:
		e.out = append(e.out, ',')
	}
}

// line ends a line of text.
func (e *encoder) line() {
	if e.o.Format == CSV {
		e.out = append(e.out, '\r')
	}
	e.out = append(e.out, '\n')
}

// cell writes a value as text.
func (e *encoder) cell(cell []byte, kind string) {
	switch {
	case cell[0] == 'n':
		if e.o.Format == CSV && e.o.Null == "" && len(e.columns) == 1 {
			e.out = append(e.out, `""`...) // an empty line would be passed over
			return
		}
		e.out = append(e.out, e.o.Null...)
	case cell[0] == '"' && kind != "json":
		if inner := cell[1 : len(cell)-1]; bytes.IndexByte(inner, '\\') < 0 {
			e.text(inner)
			return
		}
		var s string
		_ = json.Unmarshal(cell, &s) // the reader saw that it is a string
		e.scratch = append(e.scratch[:0], s...)
		e.text(e.scratch)
	case cell[0] == '"' || cell[0] == '[' || cell[0] == '{':
		e.text(e.oneLine(cell))
	default:
		e.text(cell)
	}
}

// text writes a text as the format has to.
func (e *encoder) text(s []byte) {
	if e.o.Format == TSV {
		e.escaped(s)
		return
	}
	if !e.quoted(s) {
		e.out = append(e.out, s...)
		return
	}
	e.out = append(e.out, '"')
	for {
		quote := bytes.IndexByte(s, '"')
		if quote < 0 {
			break
		}
		e.out = append(append(e.out, s[:quote+1]...), '"')
		s = s[quote+1:]
	}
	e.out = append(append(e.out, s...), '"')
}

// quoted reports whether a text of CSV needs quotes: so does what would be
// taken for null.
func (e *encoder) quoted(s []byte) bool {
	if len(s) == 0 || string(s) == e.o.Null || s[0] == ' ' || s[len(s)-1] == ' ' {
		return true
	}
	if e.o.Delimiter >= utf8.RuneSelf {
		return bytes.ContainsAny(s, "\"\r\n") || bytes.ContainsRune(s, e.o.Delimiter)
	}
	delimiter := byte(e.o.Delimiter)
	for _, c := range s {
		if c == '"' || c == '\n' || c == '\r' || c == delimiter {
			return true
		}
	}
	return false
}

// escaped writes a text of TSV.
func (e *encoder) escaped(s []byte) {
	for _, c := range s {
		switch c {
		case '\t':
			e.out = append(e.out, `\t`...)
		case '\n':
			e.out = append(e.out, `\n`...)
		case '\r':
			e.out = append(e.out, `\r`...)
		case '\\':
			e.out = append(e.out, `\\`...)
		default:
			e.out = append(e.out, c)
		}
	}
}

// oneLine returns a value without the ends of lines that may stand in a list or
// an object.
func (e *encoder) oneLine(cell []byte) []byte {
	if cell[0] != '[' && cell[0] != '{' || !bytes.ContainsAny(cell, "\r\n") {
		return cell
	}
	var b bytes.Buffer
	_ = json.Compact(&b, cell) // the reader saw that it is JSON
	return b.Bytes()
}

// keys returns what stands before the values of an object. Columns of one name
// get another, because of two members of one name most readers drop one.
func keys(columns []Column) [][]byte {
	taken := make(map[string]bool, len(columns))
	for _, c := range columns {
		taken[c.Name] = true
	}
	seen := make(map[string]bool, len(columns))
	keys := make([][]byte, len(columns))
	for i, c := range columns {
		name := c.Name
		for n := 2; seen[name]; n++ {
			if other := c.Name + "_" + strconv.Itoa(n); !taken[other] {
				name = other
			}
		}
		seen[name], taken[name] = true, true
		text, _ := json.Marshal(name) // a string always is JSON
		before := byte(',')
		if i == 0 {
			before = '{'
		}
		keys[i] = append(append([]byte{before}, text...), ':')
	}
	return keys
}

// ParseDelimiter reads what is to stand between the values of CSV: one
// character, or its name.
func ParseDelimiter(s string) (rune, error) {
	if s == "tab" {
		return '\t', nil
	}
	r, size := utf8.DecodeRuneInString(s)
	if size == 0 || size != len(s) || r == utf8.RuneError || strings.ContainsRune("\"\r\n\x00", r) {
		return 0, errors.New("it must be one character, such as ; or tab, and no quote")
	}
	return r, nil
}
