package cli

import (
	"bufio"
	"encoding/json"
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
)

// maxCell is how wide a cell of a table is shown, in characters.
const maxCell = 200

// isTerminal reports whether people look at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// printRows prints rows: as a table under a head, or as tab-separated values,
// which need none because programs know the columns.
func (a *app) printRows(head []string, rows [][]string) error {
	w := bufio.NewWriter(a.Stdout)
	if a.output == formatTable {
		a.printTable(w, head, rows)
		return w.Flush()
	}
	escape := strings.NewReplacer("\\", `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				w.WriteByte('\t')
			}
			w.WriteString(escape.Replace(cell))
		}
		w.WriteByte('\n')
	}
	return w.Flush()
}

// printTable prints columns as wide as their widest cell.
func (a *app) printTable(w *bufio.Writer, head []string, rows [][]string) {
	lines := make([][]string, 0, len(rows)+1)
	widths := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		line := make([]string, len(row))
		for i, cell := range row {
			line[i] = shorten(clean(cell))
			widths[i] = max(widths[i], utf8.RuneCountInString(line[i]))
		}
		lines = append(lines, line)
	}
	for _, line := range lines {
		for i, cell := range line {
			w.WriteString(a.color(cell))
			if i < len(line)-1 {
				w.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		w.WriteByte('\n')
	}
}

// color paints the name of a final status, for a terminal that may be painted.
func (a *app) color(cell string) string {
	if a.env("NO_COLOR", "") != "" || a.env("TERM", "") == "dumb" || !isTerminal(a.Stdout) {
		return cell
	}
	switch client.Status(cell) {
	case client.StatusSucceeded:
		return "\x1b[32m" + cell + "\x1b[0m"
	case client.StatusFailed, client.StatusKilled, client.StatusCanceled:
		return "\x1b[31m" + cell + "\x1b[0m"
	}
	return cell
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

func shorten(s string) string {
	if utf8.RuneCountInString(s) <= maxCell {
		return s
	}
	return string([]rune(s)[:maxCell-1]) + "…"
}

// printRaw prints an answer of the host as it came.
func (a *app) printRaw(raw json.RawMessage) error {
	_, err := a.Stdout.Write(raw)
	return err
}

// printResult prints the result of a job: a table in the format asked for,
// anything else as it is.
func (a *app) printResult(r *client.Result) error {
	if a.output == formatJSON || !r.JSON() {
		_, err := io.Copy(a.Stdout, r)
		return err
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	t, err := client.ParseTable(text)
	if err != nil {
		return a.printRaw(text) // a document that is JSON
	}
	head := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		head[i] = c.Name
	}
	rows := make([][]string, 0, len(t.Data)+1)
	if a.output == formatTSV {
		rows = append(rows, head) // a program cannot know these columns
	}
	for _, values := range t.Data {
		row := make([]string, len(values))
		for i, value := range values {
			row[i] = a.cell(value)
		}
		rows = append(rows, row)
	}
	return a.printRows(head, rows)
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
