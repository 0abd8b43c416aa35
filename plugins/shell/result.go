package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/heimdall-run/heimdall/sdk"
)

const (
	resultName = "result.json"
	// maxRow bounds the memory that reading a result needs.
	maxRow = 16 << 20
)

// takeResult makes result.json the result of the job, if the program left one.
func takeResult(dir string, job *sdk.Job[Input]) error {
	name, rows, err := readResult(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return sdk.Errorf(sdk.Failed, "the program succeeded, but its result cannot be used: %s: %w", resultName, err)
	}
	return job.ResultFile(sdk.TableType, name, rows)
}

// readResult checks the result, counts its rows and says which file of the folder
// to hand on: result.json as it is, mostly, or else a copy of it with the columns
// first and inexact numbers as strings. Nothing of the program runs any more, so
// the file stays as it is.
func readResult(dir string) (name string, rows int64, err error) {
	file, err := openResult(dir)
	if err != nil {
		return "", 0, err
	}
	defer file.Close()
	table := &table{}
	if err := table.read(file); err != nil {
		return "", 0, err
	}
	if table.checked && !table.inexact {
		return resultName, table.rows, nil
	}

	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", 0, err
	}
	changed, err := os.CreateTemp(dir, "result-*.json") // a name that the program did not take
	if err != nil {
		return "", 0, err
	}
	defer changed.Close()
	if err := table.copy(changed, file); err != nil {
		return "", 0, err
	}
	return filepath.Base(changed.Name()), table.rows, nil
}

func openResult(dir string) (*os.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	// Looked at before it is opened: opening a pipe would wait for a writer.
	info, err := root.Lstat(resultName)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	}
	file, err := root.OpenFile(resultName, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open it: %w", err)
	}
	return file, nil
}

// table is what is known of a result while it is read.
type table struct {
	columns []column
	rows    int64
	checked bool          // its rows were compared with the columns
	inexact bool          // and have numbers that must be strings
	out     *bufio.Writer // takes the rows; nil: nobody does
}

// copy reads a result a second time, checks its rows against the columns, which
// are known by now, and writes it.
func (t *table) copy(w io.Writer, r io.Reader) error {
	t.rows, t.out = 0, bufio.NewWriter(w)
	columns := make([]sdk.Column, len(t.columns))
	for i, c := range t.columns {
		columns[i] = sdk.Column{Name: c.name, Type: c.typ}
	}
	t.out.WriteString(`{"columns":`)
	head := json.NewEncoder(t.out)
	head.SetEscapeHTML(false) // types have < and >
	if err := head.Encode(columns); err != nil {
		return err
	}
	t.out.WriteString(`,"data":[`)
	if err := t.read(r); err != nil {
		return err
	}
	t.out.WriteString("]}")
	return t.out.Flush()
}

// read reads one JSON object {"columns": […], "data": […]}. Other keys are passed
// over.
func (t *table) read(r io.Reader) error {
	in := &meter{r: r, left: maxRow}
	dec := json.NewDecoder(in)
	if err := open(dec, '{', "the file"); err != nil {
		return err
	}
	seen := map[any]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return broken(err)
		}
		if seen[key] && (key == "columns" || key == "data") {
			return fmt.Errorf("it has %q twice", key)
		}
		seen[key] = true
		switch key {
		case "columns":
			err = t.readColumns(dec)
		case "data":
			err = t.readData(dec, in)
		default:
			var skip json.RawMessage
			err = broken(dec.Decode(&skip))
		}
		if err != nil {
			return err
		}
		in.left = maxRow
	}
	if _, err := dec.Token(); err != nil {
		return broken(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("there is more behind the JSON object")
	}
	switch {
	case !seen["columns"]:
		return errors.New(`it has no "columns"`)
	case !seen["data"]:
		return errors.New(`it has no "data"`)
	}
	return nil
}

func (t *table) readColumns(dec *json.Decoder) error {
	var list []struct {
		Name *string `json:"name"`
		Type *string `json:"type"`
	}
	if err := dec.Decode(&list); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return fmt.Errorf(`"columns" must be a list of {"name", "type"}, both strings; got a %s in it`, wrong.Value)
		}
		return broken(err)
	}
	if len(list) == 0 {
		return errors.New(`"columns" is empty`)
	}
	columns := make([]column, len(list))
	for i, c := range list {
		if c.Name == nil || c.Type == nil {
			return fmt.Errorf("column %d has no name or no type", i+1)
		}
		kind, ok := kindOf(*c.Type)
		if !ok {
			return fmt.Errorf("column %.100q has the unknown type %.100q", *c.Name, *c.Type)
		}
		columns[i] = column{name: *c.Name, typ: *c.Type, kind: kind}
	}
	t.columns = columns
	return nil
}

func (t *table) readData(dec *json.Decoder, in *meter) error {
	if err := open(dec, '[', `"data"`); err != nil {
		return err
	}
	t.checked = t.columns != nil
	var row json.RawMessage // not its values one by one, which would take many times its size
	for dec.More() {
		in.left = maxRow
		t.rows++
		if err := dec.Decode(&row); err != nil {
			return fmt.Errorf("row %d: %w", t.rows, broken(err))
		}
		if row[0] != '[' {
			return fmt.Errorf("row %d must be a list, got %s", t.rows, excerpt(row))
		}
		if !t.checked {
			continue
		}
		if err := t.checkRow(row); err != nil {
			return err
		}
		if t.out != nil {
			t.writeRow(row)
		}
	}
	_, err := dec.Token()
	return broken(err)
}

func (t *table) checkRow(row []byte) error {
	n := 0
	for value := range values(row) {
		if n < len(t.columns) {
			c := &t.columns[n]
			if !c.accepts(value) {
				return fmt.Errorf("row %d: column %q is %s, but its value is %s", t.rows, c.name, c.typ, excerpt(value))
			}
			t.inexact = t.inexact || c.inexact(value)
		}
		n++
	}
	if n != len(t.columns) {
		return fmt.Errorf("row %d has %d values, but there are %d columns", t.rows, n, len(t.columns))
	}
	return nil
}

func (t *table) writeRow(row []byte) {
	if t.rows > 1 {
		t.out.WriteByte(',')
	}
	writeList(t.out, row, func(i int, value []byte) { t.columns[i].write(t.out, value) })
}

// open reads the bracket that a value must begin with.
func open(dec *json.Decoder, want json.Delim, what string) error {
	token, err := dec.Token()
	switch {
	case err != nil:
		return broken(err)
	case token != want && want == '{':
		return fmt.Errorf("%s must hold a JSON object", what)
	case token != want:
		return fmt.Errorf("%s must be a list", what)
	}
	return nil
}

// broken says what is wrong with text that is no JSON.
func broken(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("it is not JSON: at byte %d: %w", syntax.Offset, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it is not JSON: it ends too early")
	}
	return err
}

func excerpt(value []byte) string {
	const most = 40
	text := strings.ToValidUTF8(string(value[:min(len(value), most)]), "�")
	if len(value) > most {
		text += "…"
	}
	return text
}

// meter is a reader that gives up when one value is too large.
type meter struct {
	r    io.Reader
	left int
}

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, fmt.Errorf("one row or value is larger than %d MiB", maxRow>>20)
	}
	n, err := m.r.Read(p)
	m.left -= n
	return n, err
}
