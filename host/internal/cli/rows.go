package cli

import (
	"bufio"
	"strings"
	"unicode/utf8"
)

const (
	maxCell  = 200  // how wide a cell of a table is shown, in characters
	measured = 1000 // rows that the widths of a table's columns are taken from
)

// rowWriter prints rows in the format asked for, and holds no more of them than
// it needs to see how wide the columns of a table are. Wider cells that come
// later stand out.
type rowWriter struct {
	a      *app
	w      *bufio.Writer
	escape *strings.Replacer
	held   [][]string // at most measured
	widths []int
	fixed  bool // the widths are what they are: nothing is held anymore
	any    bool // there was a row
}

// newRows begins rows. Only a table shows the head: it is for people, and
// programs know the columns.
func (a *app) newRows(head []string) *rowWriter {
	r := &rowWriter{
		a:      a,
		w:      bufio.NewWriter(a.Stdout),
		escape: strings.NewReplacer("\\", `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`),
		widths: make([]int, len(head)),
	}
	if a.output == formatTable {
		r.measure(head)
	}
	return r
}

// add prints a row, of as many cells as the head has.
func (r *rowWriter) add(row []string) error {
	r.any = true
	switch {
	case r.a.output != formatTable:
		return r.separate(row)
	case r.fixed:
		return r.line(cells(row))
	}
	r.measure(row)
	if len(r.held) < measured {
		return nil
	}
	return r.release()
}

// close prints what is left.
func (r *rowWriter) close() error {
	if err := r.release(); err != nil {
		return err
	}
	return r.w.Flush()
}

// stop prints what there is before an error: nothing, if there is no row.
func (r *rowWriter) stop() error {
	if !r.any {
		return nil
	}
	return r.close()
}

// separate prints a row as tab-separated values.
func (r *rowWriter) separate(row []string) error {
	for i, cell := range row {
		if i > 0 {
			r.w.WriteByte('\t')
		}
		_, _ = r.escape.WriteString(r.w, cell)
	}
	return r.w.WriteByte('\n') // an error of the writer stays
}

// measure holds a row and makes the columns as wide as it needs.
func (r *rowWriter) measure(row []string) {
	line := cells(row)
	for i, cell := range line {
		r.widths[i] = max(r.widths[i], utf8.RuneCountInString(cell))
	}
	r.held = append(r.held, line)
}

// release prints the rows that are held.
func (r *rowWriter) release() error {
	r.fixed = true
	for _, line := range r.held {
		if err := r.line(line); err != nil {
			return err
		}
	}
	r.held = nil
	return nil
}

// line prints a row of a table.
func (r *rowWriter) line(line []string) error {
	for i, cell := range line {
		r.w.WriteString(r.a.color(cell))
		if i < len(line)-1 {
			r.w.WriteString(strings.Repeat(" ", max(0, r.widths[i]-utf8.RuneCountInString(cell))+2))
		}
	}
	return r.w.WriteByte('\n')
}

// cells returns a row fit to be shown.
func cells(row []string) []string {
	line := make([]string, len(row))
	for i, cell := range row {
		line[i] = shorten(clean(cell))
	}
	return line
}

// shorten cuts what is wider than a cell.
func shorten(s string) string {
	if utf8.RuneCountInString(s) <= maxCell {
		return s
	}
	return string([]rune(s)[:maxCell-1]) + "…"
}
