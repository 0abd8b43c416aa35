package config

import (
	"maps"
	"reflect"
	"slices"

	"github.com/heimdall-run/heimdall/host/internal/attribute"
	"github.com/heimdall-run/heimdall/host/internal/catalog"
)

// Attribute is a table in the attributes of a command or a cluster: what is shown
// with its jobs.
type Attribute struct {
	// Kind is link, for an http or https address, or text. Default: text.
	Kind string `toml:"kind"`
	// Value is a template (Go's text/template) over .Job, .Command, .Cluster and
	// .Outputs. Required.
	Value string `toml:"value"`
}

// attributes decodes a table of attributes.
func (d *decoder) attributes(key string, value any, to *map[string]Attribute) {
	tables, ok := value.(map[string]any)
	if !ok {
		d.mismatch(key, value, `a table: write "My link" = { kind = "link", value = "https://…" }`)
		return
	}
	*to = make(map[string]Attribute, len(tables))
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		var a Attribute
		d.value(join(key, name), tables[name], reflect.ValueOf(&a).Elem())
		(*to)[name] = a
	}
}

func checkAttributes(found *faults, key string, all map[string]Attribute) {
	if len(all) > attribute.Most {
		found.add(key, "these are %d; there may be %d", len(all), attribute.Most)
	}
	for name, a := range all {
		if why := attribute.LabelFault(name); why != "" {
			found.add(join(key, name), "%s", why)
		}
		if a.Kind != "" {
			checkOneOf(found, join(key, name)+".kind", a.Kind, attribute.Link, attribute.Text)
		}
		if why := attribute.Fault(a.Kind, a.Value); why != "" {
			found.add(join(key, name)+".value", "%s", why)
		}
	}
}

// attributes returns them as the catalog has them; nil for none.
func attributes(all map[string]Attribute) map[string]catalog.Attribute {
	if len(all) == 0 {
		return nil
	}
	made := make(map[string]catalog.Attribute, len(all))
	for name, a := range all {
		if a.Kind == "" {
			a.Kind = attribute.Text
		}
		made[name] = catalog.Attribute(a)
	}
	return made
}
