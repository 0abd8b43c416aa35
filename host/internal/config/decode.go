package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// decoder puts the values of a parsed file into a Config. It goes on after a
// fault, so that all are told at once.
type decoder struct {
	faults *faults
	lookup func(name string) (string, bool) // of the environment; nil: texts are as they stand
}

func (d *decoder) config(tree map[string]any, c *Config) {
	d.table("", tree, reflect.ValueOf(c).Elem())
}

// table decodes the keys of a table into the fields of a struct.
func (d *decoder) table(path string, table map[string]any, to reflect.Value) {
	fields := make(map[string]reflect.Value, to.NumField())
	var known []string
	for _, field := range reflect.VisibleFields(to.Type()) {
		if !field.Anonymous { // its own are there as well
			name := field.Tag.Get("toml")
			fields[name] = to.FieldByIndex(field.Index)
			known = append(known, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		key := join(path, name)
		if field, ok := fields[name]; ok {
			d.value(key, table[name], field)
		} else {
			d.faults.add(key, "unknown key (%s)", suggest(name, known))
		}
	}
}

// value decodes one value into a field.
func (d *decoder) value(key string, value any, field reflect.Value) {
	switch to := field.Addr().Interface().(type) {
	case *string:
		*to, _ = d.text(key, value)
	case *bool:
		if b, ok := value.(bool); ok {
			*to = b
		} else {
			d.mismatch(key, value, "true or false")
		}
	case *int, *int64:
		if n, ok := value.(int64); ok {
			field.SetInt(n)
		} else {
			d.mismatch(key, value, "a whole number")
		}
	case **int:
		*to = new(int)
		d.value(key, value, reflect.ValueOf(*to).Elem())
	case *time.Duration:
		d.duration(key, value, to)
	case **time.Duration:
		*to = new(time.Duration)
		d.duration(key, value, *to)
	case *Bytes:
		d.bytes(key, value, to)
	case *map[string]Policy:
		d.policies(key, value, to)
	case *map[string]Attribute:
		d.attributes(key, value, to)
	case *catalog.Status:
		d.status(key, value, to)
	case *[]string:
		*to = d.texts(key, value)
	case *tag.Set:
		*to = tag.New(d.texts(key, value)...)
	case *[]tag.Set:
		*to = d.sets(key, value)
	case *json.RawMessage:
		*to = d.context(key, value)
	case *map[string]json.RawMessage:
		d.contexts(key, value, to)
	case *[]Command:
		*to = make([]Command, d.count(key, value))
		d.tables(key, value, field)
	case *[]Cluster:
		*to = make([]Cluster, d.count(key, value))
		d.tables(key, value, field)
	default: // a section
		if table, ok := value.(map[string]any); ok {
			d.table(key, table, field)
		} else {
			d.mismatch(key, value, "a table")
		}
	}
}

// text decodes a string and puts in what it takes from the environment.
func (d *decoder) text(key string, value any) (text string, ok bool) {
	s, ok := value.(string)
	if !ok {
		d.mismatch(key, value, "a string")
		return "", false
	}
	if d.lookup == nil {
		return s, true
	}
	text, err := expand(s, d.lookup)
	if err != nil {
		d.faults.add(key, "%v", err)
		return "", false
	}
	return text, true
}

func (d *decoder) texts(key string, value any) []string {
	values, ok := list(value)
	if !ok {
		d.mismatch(key, value, "a list of strings")
	}
	texts := make([]string, 0, len(values))
	for i, v := range values {
		if s, ok := d.text(element(key, i), v); ok {
			texts = append(texts, s)
		}
	}
	return texts
}

// sets decodes a list of tags, which is one set, or a list of such lists.
func (d *decoder) sets(key string, value any) []tag.Set {
	values, ok := list(value)
	if !ok {
		d.mismatch(key, value, "a list of tags, or a list of such lists")
	}
	if len(values) == 0 {
		return nil
	}
	if _, nested := list(values[0]); !nested {
		return []tag.Set{tag.New(d.texts(key, value)...)}
	}
	sets := make([]tag.Set, len(values))
	for i, v := range values {
		sets[i] = tag.New(d.texts(element(key, i), v)...)
	}
	return sets
}

func (d *decoder) duration(key string, value any, to *time.Duration) {
	const want = `a duration such as "30s" or "5m"`
	if _, ok := value.(string); !ok {
		d.mismatch(key, value, want)
		return
	}
	s, ok := d.text(key, value)
	if !ok {
		return
	}
	duration, err := time.ParseDuration(s)
	if err != nil {
		d.faults.add(key, "%q is not %s", s, want)
		return
	}
	*to = duration
}

func (d *decoder) status(key string, value any, to *catalog.Status) {
	s, ok := d.text(key, value)
	if !ok {
		return
	}
	status, err := catalog.ParseStatus(s)
	if err != nil {
		d.faults.add(key, "%v", err)
		return
	}
	*to = status
}

// count returns how many tables a list holds.
func (d *decoder) count(key string, value any) int {
	values, ok := list(value)
	if !ok {
		d.mismatch(key, value, fmt.Sprintf("a list of tables: write [[%s]]", key))
	}
	return len(values)
}

// tables decodes a list of tables into a slice of as many structs.
func (d *decoder) tables(key string, value any, slice reflect.Value) {
	values, _ := list(value)
	for i, v := range values {
		if table, ok := v.(map[string]any); ok {
			d.table(element(key, i), table, slice.Index(i))
		} else {
			d.mismatch(element(key, i), v, "a table")
		}
	}
}

func (d *decoder) mismatch(key string, value any, want string) {
	d.faults.add(key, "this is %s; want %s", kind(value), want)
}

// list returns the elements of a TOML list, whichever way it was written.
func list(value any) ([]any, bool) {
	switch values := value.(type) {
	case []any:
		return values, true
	case []map[string]any:
		all := make([]any, len(values))
		for i, table := range values {
			all[i] = table
		}
		return all, true
	}
	return nil, false
}

// kind names the type of a TOML value.
func kind(value any) string {
	switch v := value.(type) {
	case string:
		return "a string"
	case int64:
		return "a whole number"
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "not a finite number"
		}
		return "a number with a fraction"
	case bool:
		return "true or false"
	case time.Time:
		return "a date or time"
	case map[string]any:
		return "a table"
	}
	return "a list"
}
