package config

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"
)

// context decodes a free table into a JSON object. References in its strings
// stay as they are written, but must be readable.
func (d *decoder) context(key string, value any) json.RawMessage {
	table, ok := value.(map[string]any)
	if !ok {
		d.mismatch(key, value, "a table")
		return nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(d.plain(key, table)); err != nil {
		d.faults.add(key, "%v", err)
		return nil
	}
	return bytes.TrimSpace(b.Bytes())
}

// contexts decodes a table of free tables.
func (d *decoder) contexts(key string, value any, to *map[string]json.RawMessage) {
	tables, ok := value.(map[string]any)
	if !ok {
		d.mismatch(key, value, "a table")
		return
	}
	*to = make(map[string]json.RawMessage, len(tables))
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		(*to)[name] = d.context(join(key, name), tables[name])
	}
}

// plain returns a value of a context as one that JSON has.
func (d *decoder) plain(key string, value any) any {
	switch v := value.(type) {
	case string:
		if _, err := split(v); err != nil {
			d.faults.add(key, "%v", err)
		}
		return v
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			d.faults.add(key, "this is not a finite number; a context is JSON, which has no other")
			return nil
		}
		return v
	case time.Time:
		return timestamp(v)
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, of := range v {
			object[name] = d.plain(join(key, name), of)
		}
		return object
	case int64, bool, json.Number, nil: // the last two come of JSON
		return v
	}
	values, _ := list(value)
	array := make([]any, len(values))
	for i, of := range values {
		array[i] = d.plain(element(key, i), of)
	}
	return array
}

// timestamp writes a TOML date or time as RFC 3339 does; what it leaves out is
// left out here too. The parser marks those by the name of their zone.
func timestamp(t time.Time) string {
	switch t.Location().String() {
	case "datetime-local":
		return t.Format("2006-01-02T15:04:05.999999999")
	case "date-local":
		return t.Format(time.DateOnly)
	case "time-local":
		return t.Format("15:04:05.999999999")
	}
	return t.Format(time.RFC3339Nano)
}
