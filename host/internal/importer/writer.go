package importer

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// writer writes TOML.
type writer struct{ b strings.Builder }

func (w *writer) String() string { return w.b.String() }

// table begins a table.
func (w *writer) table(name string) { w.head("[" + name + "]") }

// element begins an element of a list of tables.
func (w *writer) element(name string) { w.head("[[" + name + "]]") }

func (w *writer) head(text string) {
	if w.b.Len() > 0 {
		w.b.WriteByte('\n')
	}
	w.b.WriteString(text + "\n")
}

// value writes a key of the table that was begun last.
func (w *writer) value(name string, value any) {
	w.b.WriteString(keyOf(name) + " = " + textOf(value) + "\n")
}

// raw writes a key with a value that is TOML.
func (w *writer) raw(name, text string) { w.value(name, raw(text)) }

// fields writes an object as a table, and its objects as tables below it.
func (w *writer) fields(table string, object fields) {
	if len(object) == 0 {
		return
	}
	var inner []field
	begun := false
	for _, f := range object {
		if of, ok := f.value.(fields); ok && len(of) > 0 {
			inner = append(inner, f)
			continue
		}
		if !begun {
			w.table(table)
			begun = true
		}
		w.value(f.name, f.value)
	}
	for _, f := range inner {
		w.fields(table+"."+keyOf(f.name), f.value.(fields))
	}
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func keyOf(name string) string {
	if bareKey.MatchString(name) {
		return name
	}
	return quoted(name)
}

// textOf returns a value on one line, or as a text of several.
func textOf(value any) string {
	switch v := value.(type) {
	case raw:
		return string(v)
	case string:
		return stringOf(v)
	case []any:
		texts := make([]string, len(v))
		for i, of := range v {
			texts[i] = textOf(of)
		}
		return "[" + strings.Join(texts, ", ") + "]"
	case fields:
		texts := make([]string, len(v))
		for i, f := range v {
			texts[i] = keyOf(f.name) + " = " + textOf(f.value)
		}
		if len(texts) == 0 {
			return "{}"
		}
		return "{ " + strings.Join(texts, ", ") + " }"
	}
	return `""`
}

// stringOf returns a text that means itself: a dollar that would begin a reference
// is doubled.
func stringOf(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if s[i] == '$' && i+1 < len(s) && (s[i+1] == '{' || s[i+1] == '$') {
			b.WriteByte('$')
		}
		b.WriteByte(s[i])
	}
	s = b.String()
	if strings.Contains(s, "\n") && asIs(s) {
		return "'''\n" + s + "'''"
	}
	return quoted(s)
}

// asIs reports whether a text of several lines can stand between three
// apostrophes.
func asIs(s string) bool {
	return utf8.ValidString(s) && !strings.Contains(s, "'''") && !strings.HasSuffix(s, "'") &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f })
}

// quoted returns a text between quotes.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
