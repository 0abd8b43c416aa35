// Package importer makes a configuration of ours from the YAML that other
// gateways of the same name are configured with. What it cannot carry over, it
// says: nothing is left out in silence, and what cannot be enforced here is not
// offered.
package importer

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Note is something that whoever takes over the configuration must know.
type Note struct {
	Line int    // of the YAML; 0: it is about the whole
	Key  string // such as commands[0].context; "": it is about the whole
	Text string
}

// In returns the note as a compiler would say it of a file.
func (n Note) In(file string) string {
	if n.Line == 0 {
		return file + ": " + n.Text
	}
	return fmt.Sprintf("%s:%d: %s: %s", file, n.Line, n.Key, n.Text)
}

// place is where a note stands among others: behind all lines if it is about the
// whole.
func place(n Note) int {
	if n.Line == 0 {
		return math.MaxInt
	}
	return n.Line
}

// Convert returns a configuration (TOML) that says what the YAML says, and what
// could not be carried over, in the order of the file.
func Convert(text []byte) (config string, notes []Note, err error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return "", nil, fmt.Errorf("this is not YAML: %w", err)
	}
	if len(document.Content) == 0 {
		return "", nil, errors.New("this is empty")
	}
	var followed any // without what contains itself, or nearly
	if err := document.Decode(&followed); err != nil {
		return "", nil, fmt.Errorf("this is not YAML that can be followed: %w", err)
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return "", nil, errors.New("this is not a configuration: it is not a mapping of keys to values")
	}
	c := &converter{}
	c.root(c.table("", root))
	slices.SortStableFunc(c.notes, func(a, b Note) int { return cmp.Compare(place(a), place(b)) })
	return c.out.String(), c.notes, nil
}

// converter is one conversion.
type converter struct {
	out     writer
	notes   []Note
	plugins []string // that commands name
}

func (c *converter) note(at *entry, format string, args ...any) {
	c.notes = append(c.notes, Note{at.value.Line, at.key, fmt.Sprintf(format, args...)})
}

// root converts the file: the settings of the host, then the catalog.
func (c *converter) root(t *table) {
	c.server(t)
	c.store(t)
	c.pool(t)
	c.auth(t)
	for _, name := range []string{"jobs_directory", "archive_directory", "result_directory"} {
		if e := t.take(name); e != nil {
			c.note(e, "left out: everything lies in data_dir, in a layout of its own; what was archived there stays there")
		}
	}
	if e := t.take("plugin_directory"); e != nil {
		c.note(e, "left out: plugins are programs of their own here, heimdall-plugin-<name>, and not what lies there; set plugins.directory")
	}
	if e := t.take("rbacs"); e != nil {
		c.note(e, "left out: there are no such policies here; the clusters that name one are made inactive")
	}
	c.each(t.take("commands"), c.command)
	c.each(t.take("clusters"), c.cluster)
	c.rest(t)
	if len(c.plugins) > 0 {
		slices.Sort(c.plugins)
		c.notes = append(c.notes, Note{Text: "it needs these plugins in plugins.directory: " + strings.Join(slices.Compact(c.plugins), ", ")})
	}
}

// each converts the elements of a list of tables.
func (c *converter) each(list *entry, convert func(*table)) {
	if list == nil {
		return
	}
	node := resolved(list.value)
	if node.Kind != yaml.SequenceNode {
		c.note(list, "left out: it is not a list")
		return
	}
	for i, of := range node.Content {
		key := list.key + "[" + strconv.Itoa(i) + "]"
		if of = resolved(of); of.Kind != yaml.MappingNode {
			c.note(&entry{key: key, value: of}, "left out: it is not a mapping of keys to values")
			continue
		}
		convert(c.table(key, of))
	}
}

// rest notes what nothing has taken.
func (c *converter) rest(t *table) {
	for _, e := range t.entries {
		if !e.taken {
			c.note(e, "left out: nothing here means this")
		}
	}
}
