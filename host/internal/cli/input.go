package cli

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// readContext returns the input of a job: what --context says, and into it what
// --set says. It is nil when neither says anything.
func (a *app) readContext(argument string, set []string) (json.RawMessage, error) {
	text, err := a.readText(argument)
	if err != nil {
		return nil, usagef("--context: %w", err)
	}
	if text = bytes.TrimSpace(text); len(text) == 0 {
		if len(set) == 0 {
			return nil, nil
		}
		text = []byte("{}")
	}
	if !json.Valid(text) {
		return nil, usagef("--context is not JSON; it is a JSON object, @FILE, or - for stdin")
	}
	if len(set) == 0 {
		return text, nil
	}
	var input map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // large numbers stay what they are
	if err := d.Decode(&input); err != nil {
		return nil, usagef("--context is not a JSON object, so --set cannot add to it")
	}
	if input == nil {
		input = make(map[string]any)
	}
	for _, s := range set {
		path, value, ok := strings.Cut(s, "=")
		if !ok || path == "" {
			return nil, usagef("--set %s: it is path=value", s)
		}
		if err := setPath(input, strings.Split(path, "."), valueOf(value)); err != nil {
			return nil, err
		}
	}
	return json.Marshal(input)
}

// setPath puts a value into an object, at a path of keys.
func setPath(object map[string]any, path []string, value any) error {
	for _, key := range path[:len(path)-1] {
		if object[key] == nil {
			object[key] = make(map[string]any)
		}
		inner, ok := object[key].(map[string]any)
		if !ok {
			return usagef("--set %s: %s is not an object", strings.Join(path, "."), key)
		}
		object = inner
	}
	object[path[len(path)-1]] = value
	return nil
}

// valueOf reads JSON; what is none is text.
func valueOf(text string) any {
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return text
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
