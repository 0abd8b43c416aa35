package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// inputFlags say what the input of a job is.
type inputFlags struct {
	context string
	values  []value
}

// add adds the flags to a command.
func (f *inputFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.context, "context", "", "input of the job: a JSON object, @FILE (JSON, or YAML or TOML by its name), or - for stdin")
	flags.Var(&valueFlag{f, readValue, "path=value"}, "set", "one value of the input: JSON, or else text (repeatable)")
	flags.Var(&valueFlag{f, readString, "path=text"}, "set-string", "likewise, always text")
	flags.Var(&valueFlag{f, readFile, "path=file"}, "set-file", "likewise, the text of a file")
}

// value is one value of the input, and where in it.
type value struct {
	path []string
	of   any
}

// valueFlag is a flag that adds values.
type valueFlag struct {
	f    *inputFlags
	read func(text string) (any, error)
	form string
}

// Set reads the flag.
func (v *valueFlag) Set(text string) error {
	path, of, ok := strings.Cut(text, "=")
	if !ok || path == "" {
		return errors.New("it is " + v.form)
	}
	value := value{path: strings.Split(path, ".")}
	var err error
	value.of, err = v.read(of)
	v.f.values = append(v.f.values, value)
	return err
}

// String returns nothing: there is no default.
func (v *valueFlag) String() string { return "" }

// Type names what the flag takes.
func (v *valueFlag) Type() string { return v.form }

// readValue reads JSON; what is none is text.
func readValue(text string) (any, error) {
	if json.Valid([]byte(text)) {
		return json.RawMessage(text), nil
	}
	return text, nil
}

func readString(text string) (any, error) { return text, nil }

func readFile(name string) (any, error) {
	text, err := os.ReadFile(name)
	return string(text), err
}

// read returns the input of a job: what --context says, and into it what --set
// says. It is nil when neither says anything.
func (f *inputFlags) read(a *app) (json.RawMessage, error) {
	text, err := a.readDocument(f.context)
	if err != nil {
		return nil, usagef("--context: %w", err)
	}
	if len(f.values) == 0 {
		return text, nil
	}
	if text == nil {
		text = []byte("{}")
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
	for _, v := range f.values {
		if err := setPath(input, v.path, v.of); err != nil {
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
		if raw, ok := object[key].(json.RawMessage); ok { // that a --set before it has put there
			var inner map[string]any
			d := json.NewDecoder(bytes.NewReader(raw))
			d.UseNumber()
			if d.Decode(&inner) == nil && inner != nil {
				object[key] = inner
			}
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

// readText reads an argument that may name a file or stdin.
func (a *app) readText(argument string) ([]byte, error) {
	if argument == "-" {
		return io.ReadAll(a.Stdin)
	}
	if len(argument) > 1 && argument[0] == '@' {
		return os.ReadFile(argument[1:])
	}
	return []byte(argument), nil
}

// readDocument reads an argument that is JSON, or names a file or stdin that holds
// it. A file may be YAML or TOML, if its name says so. It is nil when there is
// nothing.
func (a *app) readDocument(argument string) (json.RawMessage, error) {
	text, err := a.readText(argument)
	if err != nil {
		return nil, err
	}
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return nil, nil
	}
	name, ok := strings.CutPrefix(argument, "@")
	if !ok {
		name = ""
	}
	return toJSON(name, text)
}

// toJSON returns a document as JSON. Its notation is what the name of its file
// ends with; else JSON.
func toJSON(name string, text []byte) (json.RawMessage, error) {
	var document any
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml":
		if err := yaml.Unmarshal(text, &document); err != nil {
			return nil, fmt.Errorf("%s is not YAML: %w", name, err)
		}
	case ".toml":
		if err := toml.Unmarshal(text, &document); err != nil {
			return nil, fmt.Errorf("%s is not TOML: %w", name, err)
		}
	default:
		if !json.Valid(text) {
			return nil, errors.New("this is not JSON; it is a JSON object, @FILE, or - for stdin")
		}
		return text, nil
	}
	converted, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("%s holds what JSON does not have: %w", name, err)
	}
	return converted, nil
}

// split takes texts with commas between tags apart.
func split(texts []string) [][]string {
	lists := make([][]string, len(texts))
	for i, text := range texts {
		lists[i] = []string{} // an empty preference is any cluster
		for tag := range strings.SplitSeq(text, ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				lists[i] = append(lists[i], tag)
			}
		}
	}
	return lists
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
