package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// fault is one thing wrong with one key.
type fault struct {
	file string // the file, or the variable, that gave the value; empty: neither
	line int    // 0: unknown
	key  string // as in commands[1].status
	text string // what is wrong and what to do
}

func (f fault) Error() string {
	var b strings.Builder
	if f.file != "" {
		b.WriteString(f.file)
		if f.line > 0 {
			fmt.Fprintf(&b, ":%d", f.line)
		}
		b.WriteString(": ")
	}
	if f.key != "" {
		b.WriteString(f.key + ": ")
	}
	return b.String() + f.text
}

// faults gathers what is wrong with a configuration.
type faults struct {
	path      string
	lines     map[string]int    // of the keys of the file
	variables map[string]string // the variable that gave the value of a key
	list      []fault
}

func newFaults(path string, lines map[string]int) *faults {
	return &faults{path: path, lines: lines, variables: make(map[string]string)}
}

// add records a fault of a key. Only the first of each key counts: the others
// come of it.
func (f *faults) add(key, format string, args ...any) {
	if slices.ContainsFunc(f.list, func(other fault) bool { return other.key == key }) {
		return
	}
	file, line := f.where(key)
	f.list = append(f.list, fault{file, line, key, fmt.Sprintf(format, args...)})
}

// drop takes back the faults of a key and what is in it.
func (f *faults) drop(key string) {
	f.list = slices.DeleteFunc(f.list, func(one fault) bool {
		return one.key == key || strings.HasPrefix(one.key, key+"[")
	})
}

// where returns what gave the value of a key: a variable, or a line of the
// file. A key that is missing is looked for where it should stand.
func (f *faults) where(key string) (file string, line int) {
	for part := key; part != ""; part = parent(part) {
		if name, ok := f.variables[part]; ok {
			return name, 0
		}
		if line, ok := f.lines[part]; ok {
			return f.path, line
		}
	}
	return f.path, 0
}

// err joins the faults in the order of the file; nil when there are none.
func (f *faults) err() error {
	slices.SortStableFunc(f.list, func(a, b fault) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.key, b.key))
	})
	all := make([]error, len(f.list))
	for i, one := range f.list {
		all[i] = one
	}
	return errors.Join(all...)
}

// suggest says which of the known names was probably meant, or which there are.
func suggest(name string, known []string) string {
	best, distance := "", max(2, len(name)/3)+1
	for _, k := range known {
		if d := edits(strings.ToLower(name), k); d < distance && d < len(k) {
			best, distance = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known here: " + strings.Join(known, ", ")
}

// edits counts the single-byte insertions, deletions, substitutions and swaps
// of neighbors that turn a into b.
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
