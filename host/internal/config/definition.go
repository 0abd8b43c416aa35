package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// shown are the keys that answers about an object have beside its definition, so that
// what was read can be written back.
var shown = []string{
	"id", "user", "created_at", "updated_at", "created_time", "updated_time", "updated_by",
	"managed_by", "revision", "status_override", "file", "lease",
}

// ReadCommand reads the definition of a command as JSON: the keys of a [[commands]]
// table. Keys that only answers have are left out. Others that are not known are left
// out as well, unless reading is strict. An error is of kind errs.Invalid, and has a
// pointer for each fault.
func ReadCommand(id string, body []byte, strict bool) (*catalog.Command, error) {
	c := Config{Commands: make([]Command, 1)}
	if err := readDefinition("commands", id, body, strict, reflect.ValueOf(&c.Commands[0]).Elem(), &c); err != nil {
		return nil, err
	}
	s, err := c.Catalog()
	if err != nil {
		return nil, err
	}
	return s.Commands[0], nil
}

// ReadCluster reads the definition of a cluster likewise.
func ReadCluster(id string, body []byte, strict bool) (*catalog.Cluster, error) {
	c := Config{Clusters: make([]Cluster, 1)}
	if err := readDefinition("clusters", id, body, strict, reflect.ValueOf(&c.Clusters[0]).Elem(), &c); err != nil {
		return nil, err
	}
	s, err := c.Catalog()
	if err != nil {
		return nil, err
	}
	return s.Clusters[0], nil
}

// readDefinition decodes an object into the only one of a configuration, and checks
// that.
func readDefinition(side, id string, body []byte, strict bool, to reflect.Value, c *Config) error {
	decode := json.NewDecoder(bytes.NewReader(body))
	decode.UseNumber()
	var table map[string]any
	if err := decode.Decode(&table); err != nil {
		return errs.Errorf(errs.Malformed, "the body is not a JSON object: %w", err)
	}
	found := newFaults("", nil)
	root := element(side, 0)
	if !strict {
		passOver(table, to)
	}
	if own, ok := table["id"]; ok && own != id {
		found.add(root+".id", "this is %q, but the path says %q; leave it out", fmt.Sprint(own), id)
	}
	for name, value := range table {
		if value == nil || slices.Contains(shown, name) {
			delete(table, name)
		} else if name != "context" {
			table[name] = numbers(value)
		}
	}
	if tags, ok := table["tags"].([]any); ok {
		table["tags"] = slices.DeleteFunc(tags, systemTag)
	}
	if context, ok := table["context"]; ok {
		table["context"] = written(context)
	}
	table["id"] = id
	d := decoder{faults: found}
	d.table(root, table, to)
	c.checkCatalog(found)
	if len(found.list) == 0 {
		return nil
	}
	fields := make([]errs.Field, len(found.list))
	for i, f := range found.list {
		fields[i] = errs.Field{Pointer: pointer(strings.TrimPrefix(f.key, root)), Detail: f.text}
	}
	slices.SortStableFunc(fields, func(a, b errs.Field) int { return strings.Compare(a.Pointer, b.Pointer) })
	return &errs.Error{Kind: errs.Invalid, Message: fields[0].Pointer[1:] + ": " + fields[0].Detail, Fields: fields}
}

// passOver takes out of a definition what is not known, and an id: the path has it. Who
// lists the callers that may run a command, as other hosts let them, must not find
// that everybody may: it is inactive.
func passOver(table map[string]any, to reflect.Value) {
	if callers, ok := table["allowed_callers"]; ok && !empty(callers) {
		table["status"] = string(catalog.Inactive)
	}
	known := []string{"context"}
	for _, field := range reflect.VisibleFields(to.Type()) {
		known = append(known, field.Tag.Get("toml"))
	}
	maps.DeleteFunc(table, func(name string, _ any) bool { return name == "id" || !slices.Contains(known, name) })
}

// empty reports whether a value says nothing.
func empty(value any) bool {
	list, ok := value.([]any)
	return value == nil || ok && len(list) == 0
}

// systemTag reports whether a tag is one that objects have of themselves.
func systemTag(value any) bool {
	s, _ := value.(string)
	return slices.ContainsFunc(tag.System("x", "x", "x"), func(t string) bool { return strings.HasPrefix(s, t[:len(t)-1]) })
}

// numbers returns a value of JSON with numbers as TOML has them.
func numbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return n
		}
		f, err := v.Float64()
		if err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return int64(f)
		}
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = numbers(v[name])
		}
	}
	return value
}

// written puts references back that answers show as {"set": true, "ref": …}.
func written(value any) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = written(v[i])
		}
	case map[string]any:
		if ref, ok := v["ref"].(string); ok && len(v) == 2 && v["set"] == true {
			return "${" + ref + "}"
		}
		for name := range v {
			v[name] = written(v[name])
		}
	}
	return value
}

// pointer writes the path of a key, such as .limits.memory or .cluster_tags[0], as a
// JSON pointer.
func pointer(path string) string {
	var b strings.Builder
	for rest := path; rest != ""; {
		switch rest[0] {
		case '.':
			rest = rest[1:]
			var name string
			if quoted, err := strconv.QuotedPrefix(rest); err == nil && quoted != "" {
				rest = rest[len(quoted):]
				name, _ = strconv.Unquote(quoted)
			} else {
				end := strings.IndexAny(rest, ".[")
				if end < 0 {
					end = len(rest)
				}
				name, rest = rest[:end], rest[end:]
			}
			b.WriteString("/" + token(name))
		case '[':
			index, after, _ := strings.Cut(rest[1:], "]")
			b.WriteString("/" + index)
			rest = after
		default:
			return b.String() + "/" + token(rest)
		}
	}
	return b.String()
}
