package importer

import (
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/heimdall-run/heimdall/host/internal/attribute"
)

// command converts a command.
func (c *converter) command(t *table) {
	c.out.element("commands")
	restricted := t.take("allowed_callers")
	c.object(t, restricted != nil)
	if plugin, ok := c.text(t.take("plugin")); ok {
		c.out.value("plugin", plugin)
		c.plugins = append(c.plugins, plugin)
	}
	if e := t.take("is_sync"); e != nil {
		c.out.value("is_sync", c.plain(e.key, e.value))
	}
	c.list(t, "tags")
	c.list(t, "cluster_tags")
	if e := t.take("store_result_sync"); e != nil {
		c.note(e, "left out: every result is stored before it is answered")
	}
	if restricted != nil {
		c.note(restricted, "left out, and the command made inactive: here everybody could run it, who may submit at all")
	}
	c.attributes(t, "commands")
	c.context(t, "commands")
	c.rest(t)
}

// cluster converts a cluster.
func (c *converter) cluster(t *table) {
	c.out.element("clusters")
	restricted := t.take("rbacs")
	c.object(t, restricted != nil)
	c.list(t, "tags")
	if restricted != nil {
		c.note(restricted, "left out, and the cluster made inactive: nothing here would hold these policies")
	}
	c.attributes(t, "clusters")
	c.context(t, "clusters")
	c.rest(t)
}

// object converts what commands and clusters have in common, but their tags and
// contexts, which stand further down.
func (c *converter) object(t *table, inactive bool) {
	for _, name := range []string{"id", "name", "version", "description"} {
		if text, ok := c.text(t.take(name)); ok {
			c.out.value(name, text)
		}
	}
	status, ok := c.text(t.take("status"))
	switch {
	case inactive:
		c.out.value("status", "inactive")
	case ok:
		c.out.value("status", status)
	}
	if e := t.take("user"); e != nil {
		c.note(e, "left out: objects have no owner")
	}
	for _, name := range []string{"created_at", "updated_at"} {
		if e := t.take(name); e != nil {
			c.note(e, "left out: the host knows when")
		}
	}
}

// list converts a list of texts.
func (c *converter) list(t *table, name string) {
	e := t.take(name)
	if e == nil {
		return
	}
	node := resolved(e.value)
	if node.Kind != yaml.SequenceNode {
		c.note(e, "left out: it is not a list")
		return
	}
	values := []any{}
	for i, of := range node.Content {
		if text, ok := c.text(&entry{key: e.key + "[" + strconv.Itoa(i) + "]", value: resolved(of)}); ok {
			values = append(values, text)
		}
	}
	c.out.value(name, values)
}

// attributes converts what is shown with jobs, whichever of its names it has.
func (c *converter) attributes(t *table, of string) {
	for _, name := range []string{"attributes", "job_attributes", "extra_job_attributes"} {
		e := t.take(name)
		if e == nil {
			continue
		}
		if e.value.Kind != yaml.MappingNode {
			c.note(e, "left out: it is not a mapping of names to attributes")
			continue
		}
		var all fields
		for _, one := range c.table(e.key, e.value).entries {
			if a := c.attribute(one); a != nil {
				all = append(all, field{one.name, raw(textOf(a))}) // on one line
			}
		}
		c.out.fields(of+".attributes", all)
		return // another one is left out, which rest says
	}
}

// attribute converts one; nil when it cannot be carried over.
func (c *converter) attribute(e *entry) fields {
	if e.value.Kind != yaml.MappingNode {
		c.note(e, "left out: it is not a mapping with kind and value")
		return nil
	}
	t := c.table(e.key, e.value)
	kind, _ := c.text(t.take("kind"))
	value, _ := c.text(t.take("value"))
	c.rest(t)
	var converted fields
	if kind != "" {
		converted = append(converted, field{"kind", kind})
	}
	why := attribute.LabelFault(e.name)
	if why == "" && kind != "" && kind != attribute.Link && kind != attribute.Text {
		why = "its kind is neither link nor text"
	}
	if why == "" {
		why = attribute.Fault(kind, value)
	}
	if why != "" {
		c.note(e, "left out: %s", why)
		return nil
	}
	return append(converted, field{"value", value})
}

// context converts the settings of the plugin.
func (c *converter) context(t *table, of string) {
	e := t.take("context")
	if e == nil {
		return
	}
	fields, ok := c.plain(e.key, e.value).(fields)
	if !ok {
		if e.value.Tag != "!!null" {
			c.note(e, "left out: it is not a mapping of keys to values")
		}
		return
	}
	c.out.fields(of+".context", fields)
	c.secrets(e)
}

var (
	secretKey   = regexp.MustCompile(`(?i)passw|secret|token|private_?key|credential|api_?key`)
	secretValue = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://[^/@:\s]*:[^/@\s]+@`)
)

// secrets notes what looks as if it should not stand in a file.
func (c *converter) secrets(e *entry) {
	for _, leaf := range c.leaves(e) {
		name := leaf.key[strings.LastIndexAny(leaf.key, ".]")+1:]
		if leaf.value.Value != "" && (secretKey.MatchString(name) || secretValue.MatchString(leaf.value.Value)) {
			c.note(leaf, "carried over; it looks like a secret: rather ${env:NAME} or ${file:PATH}, which is looked up when a job starts")
		}
	}
}
