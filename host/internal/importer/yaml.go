package importer

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// table is a mapping of the file. What is used of it is taken, so that the rest
// can be told.
type table struct {
	key     string
	entries []*entry
}

// entry is a key of a table with its value.
type entry struct {
	key   string // as a whole, such as commands[0].context
	name  string
	value *yaml.Node
	taken bool
}

// table returns a mapping with what it merges from others. What stands in it goes
// before what is merged.
func (c *converter) table(key string, node *yaml.Node) *table {
	t := &table{key: key}
	c.fill(t, node, 0)
	return t
}

// maxMerges bounds how deep mappings merge others.
const maxMerges = 20

func (c *converter) fill(t *table, node *yaml.Node, depth int) {
	if node = resolved(node); node.Kind != yaml.MappingNode || depth > maxMerges {
		return
	}
	var merged []*yaml.Node
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], resolved(node.Content[i+1])
		if name.Tag == "!!merge" {
			if value.Kind == yaml.SequenceNode {
				merged = append(merged, value.Content...)
			} else {
				merged = append(merged, value)
			}
			continue
		}
		if t.find(name.Value) == nil {
			t.entries = append(t.entries, &entry{key: join(t.key, name.Value), name: name.Value, value: value})
		}
	}
	for _, of := range merged {
		c.fill(t, of, depth+1)
	}
}

func (t *table) find(name string) *entry {
	for _, e := range t.entries {
		if e.name == name {
			return e
		}
	}
	return nil
}

// take returns an entry, once; nil if there is none, or it says nothing.
func (t *table) take(name string) *entry {
	e := t.find(name)
	if e == nil || e.taken {
		return nil
	}
	e.taken = true
	if e.value.Tag == "!!null" {
		return nil
	}
	return e
}

// section returns a table in a table; nil if there is none.
func (c *converter) section(t *table, name string) *table {
	e := t.take(name)
	if e == nil {
		return nil
	}
	if e.value.Kind != yaml.MappingNode {
		c.note(e, "left out: it is not a mapping of keys to values")
		return nil
	}
	return c.table(e.key, e.value)
}

// text returns a scalar as it is written: versions may look like numbers.
func (c *converter) text(e *entry) (string, bool) {
	if e == nil {
		return "", false
	}
	if e.value.Kind != yaml.ScalarNode {
		c.note(e, "left out: it is not a text")
		return "", false
	}
	return e.value.Value, true
}

// fields are the fields of an object, in the order of the file.
type fields []field

type field struct {
	name  string
	value any
}

// raw is a value that TOML writes as YAML does.
type raw string

// maxDepth bounds how deep a value nests. The host takes no deeper ones.
const maxDepth = 60

// plain returns a value as TOML may have it: fields, []any, string or raw. What it
// cannot have is noted and left out: then it is nil.
func (c *converter) plain(key string, node *yaml.Node) any {
	return c.plainAt(key, node, 0)
}

func (c *converter) plainAt(key string, node *yaml.Node, depth int) any {
	node = resolved(node)
	if depth > maxDepth {
		c.note(&entry{key: key, value: node}, "left out: it nests too deep")
		return nil
	}
	switch node.Kind {
	case yaml.MappingNode:
		object := fields{}
		for _, e := range c.table(key, node).entries {
			if value := c.plainAt(e.key, e.value, depth+1); value != nil {
				object = append(object, field{e.name, value})
			}
		}
		return object
	case yaml.SequenceNode:
		list := []any{}
		for i, of := range node.Content {
			if value := c.plainAt(key+"["+strconv.Itoa(i)+"]", of, depth+1); value != nil {
				list = append(list, value)
			}
		}
		return list
	}
	return c.scalar(key, node)
}

// scalar returns a value that is no collection.
func (c *converter) scalar(key string, node *yaml.Node) any {
	switch node.Tag {
	case "!!null":
		c.note(&entry{key: key, value: node}, "left out: it is null, which TOML does not have")
		return nil
	case "!!bool":
		var b bool
		if node.Decode(&b) == nil {
			return raw(strconv.FormatBool(b))
		}
	case "!!int":
		var n int64
		if node.Decode(&n) == nil {
			return raw(strconv.FormatInt(n, 10))
		}
		c.note(&entry{key: key, value: node}, "carried over as text: it is too large a number for TOML")
	case "!!float":
		var f float64
		if whole := strings.Trim(node.Value, "+-0123456789_") == ""; whole {
			c.note(&entry{key: key, value: node}, "carried over as text: it is too large a number for TOML")
			return node.Value
		}
		if node.Decode(&f) == nil && f-f == 0 { // neither NaN nor infinite
			text := strconv.FormatFloat(f, 'f', -1, 64)
			if !strings.Contains(text, ".") {
				text += ".0"
			}
			return raw(text)
		}
		c.note(&entry{key: key, value: node}, "carried over as text: contexts are JSON, which has no such number")
	}
	return node.Value
}

// leaves returns the texts in a value, each with its key.
func (c *converter) leaves(e *entry) []*entry {
	node := resolved(e.value)
	var all []*entry
	switch node.Kind {
	case yaml.MappingNode:
		for _, of := range c.table(e.key, node).entries {
			all = append(all, c.leaves(of)...)
		}
	case yaml.SequenceNode:
		for i, of := range node.Content {
			all = append(all, c.leaves(&entry{key: e.key + "[" + strconv.Itoa(i) + "]", value: of})...)
		}
	case yaml.ScalarNode:
		all = append(all, &entry{key: e.key, value: node})
	}
	return all
}

// resolved returns what an alias stands for.
func resolved(node *yaml.Node) *yaml.Node {
	for range maxMerges {
		if node.Kind != yaml.AliasNode {
			return node
		}
		node = node.Alias
	}
	return node
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}
