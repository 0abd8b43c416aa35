package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// Example is a ready-made job that cases run.
type Example struct {
	Kind     string          `json:"kind"` // quick, long, fails, table, logs or big
	Title    string          `json:"title"`
	Settings json.RawMessage `json:"settings"` // a JSON object, with its secrets
	Input    json.RawMessage `json:"input"`    // a JSON object
	Needs    []string        `json:"needs"`    // what must be there, such as "env:PGHOST"

	settings []byte // without secrets
	secrets  []*pluginpb.Secret
}

// kinds are what examples can show.
var kinds = map[pluginpb.ExampleKind]string{
	pluginpb.ExampleKind_EXAMPLE_KIND_QUICK: "quick",
	pluginpb.ExampleKind_EXAMPLE_KIND_LONG:  "long",
	pluginpb.ExampleKind_EXAMPLE_KIND_FAILS: "fails",
	pluginpb.ExampleKind_EXAMPLE_KIND_TABLE: "table",
	pluginpb.ExampleKind_EXAMPLE_KIND_LOGS:  "logs",
	pluginpb.ExampleKind_EXAMPLE_KIND_BIG:   "big",
}

// ReadExamples reads examples from a JSON array of objects with the fields kind,
// title, settings, input and needs.
func ReadExamples(text []byte) ([]Example, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	examples := []Example{}
	if err := dec.Decode(&examples); err != nil {
		return nil, fmt.Errorf("examples are a JSON array of objects {kind, title, settings, input, needs}: %w", err)
	}
	if dec.More() {
		return nil, fmt.Errorf("there is more behind the examples")
	}
	for i, e := range examples {
		known := false
		for _, kind := range kinds {
			known = known || kind == e.Kind
		}
		if !known {
			return nil, fmt.Errorf("example %d has the kind %q; it is one of quick, long, fails, table, logs, big", i+1, e.Kind)
		}
		examples[i].Settings, examples[i].Input = object(e.Settings), object(e.Input)
	}
	return examples, nil
}

// described returns the examples that a plugin has of its own.
func described(d *pluginpb.DescribeResponse) []Example {
	var out []Example
	for _, e := range d.GetExamples() {
		out = append(out, Example{
			Kind: kinds[e.GetKind()], Title: e.GetTitle(), Needs: e.GetNeeds(),
			Settings: object(e.GetSettings()), Input: object(e.GetInput()),
		})
	}
	return out
}

// object returns a JSON text, that of an empty object if there is none.
func object(text []byte) json.RawMessage {
	if len(bytes.TrimSpace(text)) == 0 || string(text) == "null" {
		return json.RawMessage("{}")
	}
	return text
}

// missing returns the first of an example's needs that is not there.
func (e *Example) missing() string {
	for _, need := range e.Needs {
		what, name, _ := strings.Cut(need, ":")
		there := false
		switch what {
		case "env":
			there = os.Getenv(name) != ""
		case "file":
			_, err := os.Stat(name)
			there = err == nil
		case "program":
			_, err := exec.LookPath(name)
			there = err == nil
		}
		if !there {
			return need
		}
	}
	return ""
}

// variables returns the names of the environment that examples need.
func variables(examples []Example) []string {
	var names []string
	for _, e := range examples {
		for _, need := range e.Needs {
			if name, ok := strings.CutPrefix(need, "env:"); ok {
				names = append(names, name)
			}
		}
	}
	return names
}

// anyEnd are the kinds whose jobs end well by themselves, the quickest first.
var anyEnd = []string{"quick", "table", "logs", "big"}

// examples returns the usable examples of some kinds, in the order of the kinds,
// or why there is none.
func (s *suite) examples(kinds ...string) (found []*Example, err error) {
	without := ""
	for _, kind := range kinds {
		for i := range s.all {
			e := &s.all[i]
			if e.Kind != kind {
				continue
			}
			if need := e.missing(); need != "" {
				without = fmt.Sprintf("; %q needs %s", e.Title, need)
				continue
			}
			found = append(found, e)
		}
	}
	if len(found) == 0 {
		return nil, skip("no example of kind %s%s", strings.Join(kinds, " or "), without)
	}
	return found, nil
}

// example returns the first usable example of some kinds.
func (s *suite) example(kinds ...string) (*Example, error) {
	found, err := s.examples(kinds...)
	if err != nil {
		return nil, err
	}
	return found[0], nil
}
