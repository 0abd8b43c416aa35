package config

import (
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxDepth bounds how deep values and keys may nest. The TOML parser has no
// bound and would take the whole memory.
const maxDepth = 64

// locate returns the lines on which the keys of a TOML text stand. Keys look
// like commands[1].cluster_tags[0] and plugin."my name".x. What it returns is
// whole up to the first place that is not TOML, and to the line that nests
// deeper than maxDepth, which is 0 when there is none.
func locate(text string) (lines map[string]int, deep int) {
	l := locator{text: text, line: 1, lines: make(map[string]int), tables: make(map[string]int)}
	table := ""
	for l.skip(" \t\r\n"); l.pos < len(l.text); l.skip(" \t\r\n") {
		if l.peek() == '[' {
			table = l.header()
		} else {
			l.pair(table)
		}
		l.rest()
	}
	return l.lines, l.deep
}

type locator struct {
	text   string
	pos    int
	line   int
	depth  int            // of the value at pos
	deep   int            // the line that nests too deep
	lines  map[string]int // by key
	tables map[string]int // how many [[tables]] of a key there were so far
}

// header reads [key] or [[key]] and returns the table that it begins.
func (l *locator) header() string {
	l.pos++
	list := l.peek() == '['
	if list {
		l.pos++
	}
	names, path := l.names(), ""
	for i, name := range names {
		path = join(path, name)
		l.record(path)
		if list && i == len(names)-1 {
			l.tables[path]++
		}
		if n := l.tables[path]; n > 0 {
			path = element(path, n-1)
			l.record(path)
		}
	}
	return path
}

// pair reads key = value inside a table.
func (l *locator) pair(table string) {
	start, path := l.pos, table
	for _, name := range l.names() {
		path = join(path, name)
		l.record(path)
	}
	if l.peek() == '=' {
		l.pos++
		l.skip(" \t")
		l.value(path)
	}
	if l.pos == start {
		l.pos++
	}
}

// names reads a dotted key.
func (l *locator) names() []string {
	var names []string
	for {
		l.skip(" \t")
		start := l.pos
		switch c := l.peek(); c {
		case '"', '\'':
			l.quoted(c)
			names = append(names, unquote(l.text[start:l.pos]))
		default:
			for l.pos < len(l.text) && bare(l.text[l.pos]) {
				l.pos++
			}
			if l.pos == start {
				return names
			}
			names = append(names, l.text[start:l.pos])
		}
		l.skip(" \t")
		if l.peek() != '.' {
			return names
		}
		l.pos++
		if len(names) == maxDepth {
			l.stop()
			return nil
		}
	}
}

// value reads a value and records the keys in it.
func (l *locator) value(path string) {
	l.depth++
	defer func() { l.depth-- }()
	if l.depth > maxDepth {
		l.stop()
		return
	}
	switch c := l.peek(); c {
	case '"', '\'':
		l.quoted(c)
	case '[':
		l.pos++
		for i := 0; l.more(']'); i++ {
			l.record(element(path, i))
			l.value(element(path, i))
		}
	case '{':
		l.pos++
		for l.more('}') {
			l.pair(path)
		}
	default:
		for l.pos < len(l.text) && !strings.ContainsRune(",]}#\n", rune(l.text[l.pos])) {
			l.pos++
		}
	}
}

// more goes on to the next element of a list or inline table, or behind its
// end.
func (l *locator) more(end byte) bool {
	l.skip(" \t\r\n,")
	if l.pos >= len(l.text) {
		return false
	}
	switch l.peek() {
	case end:
		l.pos++
		return false
	case ']', '}': // not TOML
		l.pos = len(l.text)
		return false
	}
	return true
}

// stop ends the reading at a line that nests too deep.
func (l *locator) stop() {
	l.deep, l.pos = l.line, len(l.text)
}

// quoted reads a string that begins with the quote c.
func (l *locator) quoted(c byte) {
	quote := string(c)
	if long := strings.Repeat(quote, 3); strings.HasPrefix(l.text[l.pos:], long) {
		quote = long
	}
	l.pos += len(quote)
	for ; l.pos < len(l.text); l.pos++ {
		switch {
		case l.text[l.pos] == '\\' && c == '"':
			l.pos++
			if l.peek() == '\n' { // the line goes on
				l.line++
			}
		case l.text[l.pos] == '\n':
			l.line++
		case strings.HasPrefix(l.text[l.pos:], quote):
			l.pos += len(quote)
			for range 2 { // up to two quotes may stand before the closing ones
				if len(quote) == 3 && l.peek() == c {
					l.pos++
				}
			}
			return
		}
	}
	l.pos = min(l.pos, len(l.text))
}

// skip goes over characters and, where a line may end, over comments.
func (l *locator) skip(characters string) {
	for l.pos < len(l.text) {
		switch c := l.text[l.pos]; {
		case c == '#' && strings.Contains(characters, "\n"):
			l.rest()
		case strings.IndexByte(characters, c) < 0:
			return
		default:
			if c == '\n' {
				l.line++
			}
			l.pos++
		}
	}
}

// rest goes to the end of the line.
func (l *locator) rest() {
	if i := strings.IndexByte(l.text[l.pos:], '\n'); i >= 0 {
		l.pos += i
	} else {
		l.pos = len(l.text)
	}
}

// peek returns the next byte; 0 at the end.
func (l *locator) peek() byte {
	if l.pos < len(l.text) {
		return l.text[l.pos]
	}
	return 0
}

// record notes where a key stands first.
func (l *locator) record(path string) {
	if _, ok := l.lines[path]; !ok {
		l.lines[path] = l.line
	}
}

// join returns the path of a key in a table.
func join(table, name string) string {
	name = toml.Key{name}.String()
	if table == "" {
		return name
	}
	return table + "." + name
}

// element returns the path of an element of a list.
func element(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// parent returns the path of the table or list that a path is in; empty for the
// outermost.
func parent(path string) string {
	quoted, end := false, 0
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '.' || c == '['):
			end = i
		}
	}
	return path[:end]
}

func bare(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// unquote returns the name that a quoted key stands for.
func unquote(quoted string) string {
	var value struct{ Name string }
	if _, err := toml.Decode("name = "+quoted, &value); err != nil {
		return quoted
	}
	return value.Name
}
