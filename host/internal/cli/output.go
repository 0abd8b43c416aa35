package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// Formats of what goes to stdout.
const (
	formatTable = "table"
	formatTSV   = "tsv"
	formatJSON  = "json" // the answer of the host, untouched
	formatYAML  = "yaml" // that answer, in the other notation
)

// formats are all of them.
var formats = []string{formatTable, formatTSV, formatJSON, formatYAML}

// wantsAnswer reports whether the answer of the host is printed, and not what
// people want to know of it.
func (a *app) wantsAnswer() bool { return a.output == formatJSON || a.output == formatYAML }

// isTerminal reports whether people look at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// printRows prints rows: as a table under a head, or as tab-separated values.
func (a *app) printRows(head []string, rows [][]string) error {
	w := a.newRows(head)
	for _, row := range rows {
		if err := w.add(row); err != nil {
			return err
		}
	}
	return w.close()
}

// color paints the name of a final status, for a terminal that may be painted.
func (a *app) color(cell string) string {
	switch client.Status(cell) {
	case client.StatusSucceeded:
		return a.paint(cell, "32")
	case client.StatusFailed, client.StatusKilled, client.StatusCanceled:
		return a.paint(cell, "31")
	}
	return cell
}

// paint gives text a color of ANSI, for a terminal that may be painted.
func (a *app) paint(text, color string) string {
	if a.env("NO_COLOR", "") != "" || a.env("TERM", "") == "dumb" || !isTerminal(a.Stdout) {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// clean makes text of others fit to show: what would steer the terminal becomes
// a space or a mark.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r):
			return utf8.RuneError
		}
		return r
	}, s)
}

// printRaw prints an answer of the host as it came.
func (a *app) printRaw(raw json.RawMessage) error {
	return a.printAnswer(bytes.NewReader(raw))
}

// printAnswer prints an answer of the host as it comes, and ends its last line.
func (a *app) printAnswer(r io.Reader) error {
	if a.output == formatYAML {
		return a.printYAML(r)
	}
	last := &lastByte{w: a.Stdout}
	if _, err := io.Copy(last, r); err != nil || last.b == '\n' {
		return err
	}
	_, err := io.WriteString(a.Stdout, "\n")
	return err
}

// lastByte remembers the last byte that was written through it.
type lastByte struct {
	w io.Writer
	b byte
}

func (l *lastByte) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.b = p[len(p)-1]
	}
	return l.w.Write(p)
}

// maxColumns is how far into a result its columns may reach, bytes.
const maxColumns = 1 << 20

// printResult prints the result of a job: a table in the format asked for, row
// by row, anything else as it is.
func (a *app) printResult(r *client.Result) error {
	if a.wantsAnswer() && r.JSON() {
		return a.printAnswer(r)
	}
	content := bufio.NewReaderSize(r, maxColumns)
	if r.JSON() {
		begin, err := content.Peek(maxColumns)
		if err != nil && err != io.EOF {
			return err
		}
		// Else it is a document that is JSON.
		if _, err := client.NewTableReader(bytes.NewReader(begin)); err == nil {
			return a.printTable(content)
		}
	}
	_, err := io.Copy(a.Stdout, content)
	return err
}

func (a *app) printTable(content io.Reader) error {
	t, err := client.NewTableReader(content)
	if err != nil {
		return err
	}
	head := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		head[i] = c.Name
	}
	row, err := a.next(t)
	var held [][]string
	if err == nil && isText(t.Columns) {
		held = append(held, row)
		if row, err = a.next(t); err == io.EOF {
			return a.printText(held[0][0])
		}
	}
	rows := a.newRows(head)
	if a.output == formatTSV { // a program cannot know these columns
		held = append([][]string{head}, held...)
	}
	for _, row := range held {
		if err := rows.add(row); err != nil {
			return err
		}
	}
	for ; err == nil; row, err = a.next(t) {
		if err := rows.add(row); err != nil {
			return err
		}
	}
	if err == io.EOF {
		return rows.close()
	}
	return errors.Join(err, rows.close())
}

// next reads a row of a table as text.
func (a *app) next(t *client.TableReader) ([]string, error) {
	values, err := t.Next()
	if err != nil {
		return nil, err
	}
	row := make([]string, len(values))
	for i, value := range values {
		row[i] = a.cell(value)
	}
	return row, nil
}

// isText reports whether a table of these columns is a text if it has one row.
func isText(columns []client.Column) bool {
	return len(columns) == 1 && columns[0] == client.Column{Name: "message", Type: "string"}
}

// printText prints a text as it is, and ends its last line.
func (a *app) printText(text string) error {
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	_, err := io.WriteString(a.Stdout, text)
	return err
}

// cell returns a value as text: a string is itself, null is empty or, in a
// table, shown.
func (a *app) cell(value json.RawMessage) string {
	var s *string
	if json.Unmarshal(value, &s) != nil {
		return string(value)
	}
	if s != nil {
		return *s
	}
	if a.output == formatTable {
		return "NULL"
	}
	return ""
}
