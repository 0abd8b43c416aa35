package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
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
// It is read once, to see that it is a table, and then handed on as it is.
func takeResult(dir string, job *sdk.Job[Input]) error {
	rows, err := readResult(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return sdk.Errorf(sdk.Failed, "the program succeeded, but its result cannot be used: %s: %w", resultName, err)
	}
	return job.ResultFile(sdk.TableType, resultName, rows)
}

// readResult checks the result and counts its rows. Nothing of the program runs
// any more, so the file stays as it is.
func readResult(dir string) (rows int64, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	info, err := root.Lstat(resultName)
	switch {
	case err != nil:
		return 0, err
	case !info.Mode().IsRegular():
		return 0, errors.New("it is not a regular file")
	}
	file, err := root.OpenFile(resultName, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return 0, fmt.Errorf("open it: %w", err)
	}
	defer file.Close()

	// Columns mostly come first. When they do not, a second pass knows them.
	table := &table{}
	if err := table.read(file); err != nil || table.checked {
		return table.rows, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	table.rows = 0
	return table.rows, table.read(file)
}

// table is what is known of a result while it is read.
type table struct {
	columns []column
	rows    int64
	checked bool // its rows were compared with the columns
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
			return fmt.Errorf("column %q has the unknown type %q", *c.Name, *c.Type)
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
	var row []json.RawMessage
	for dec.More() {
		in.left = maxRow
		t.rows++
		if err := dec.Decode(&row); err != nil {
			var wrong *json.UnmarshalTypeError
			if errors.As(err, &wrong) {
				return fmt.Errorf("row %d must be a list, got a %s", t.rows, wrong.Value)
			}
			return fmt.Errorf("row %d: %w", t.rows, broken(err))
		}
		if !t.checked {
			continue
		}
		if err := t.checkRow(row); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return broken(err)
}

func (t *table) checkRow(row []json.RawMessage) error {
	if len(row) != len(t.columns) {
		return fmt.Errorf("row %d has %d values, but there are %d columns", t.rows, len(row), len(t.columns))
	}
	for i, value := range row {
		if c := &t.columns[i]; !c.accepts(value) {
			return fmt.Errorf("row %d: column %q is %s, but its value is %s", t.rows, c.name, c.typ, excerpt(value))
		}
	}
	return nil
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
