// Package schema checks contexts and inputs against what plugins say that they take,
// and knows which of their fields are secret.
package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// Schema is a JSON Schema of a plugin. The nil Schema takes anything.
type Schema struct {
	root     any
	compiled *jsonschema.Schema
	marks    bool
}

// mark is the word that marks a secret.
const mark = "x-heimdall-secret"

// Marks reports whether something may be marked as secret.
func (s *Schema) Marks() bool { return s != nil && s.marks }

// address is what a schema is called where nothing is looked up.
const address = "plugin:///schema.json"

// Read compiles a schema, which must stand alone. No text is the nil Schema.
func Read(text json.RawMessage) (*Schema, error) {
	if len(text) == 0 {
		return nil, nil
	}
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read a schema: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(alone{})
	if err := c.AddResource(address, root); err != nil {
		return nil, fmt.Errorf("read a schema: %w", err)
	}
	compiled, err := c.Compile(address)
	if err != nil {
		return nil, fmt.Errorf("read a schema: %w", err)
	}
	return &Schema{root: root, compiled: compiled, marks: bytes.Contains(text, []byte(mark))}, nil
}

// alone refuses what schemas refer to elsewhere.
type alone struct{}

// Load implements jsonschema.URLLoader.
func (alone) Load(url string) (any, error) {
	return nil, errors.New("a schema must stand alone, and this one refers to " + url)
}

// Input returns a fault for each place of an input that does not fit, with pointers
// that begin as at says.
func (s *Schema) Input(input json.RawMessage, at string) []errs.Field {
	return s.faults(input, at, func(string) bool { return false }, false)
}

// Part returns the faults of one of the contexts that settings are merged from: what
// they lack may stand in the other one, and what references stand for is not known.
// Reference reports whether a text is one.
func (s *Schema) Part(context json.RawMessage, at string, reference func(text string) bool) []errs.Field {
	return s.faults(context, at, reference, true)
}

func (s *Schema) faults(text json.RawMessage, at string, reference func(string) bool, part bool) []errs.Field {
	if s == nil {
		return nil
	}
	if len(bytes.TrimSpace(text)) == 0 {
		text = json.RawMessage("{}")
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return []errs.Field{{Pointer: at, Detail: "this is not JSON"}}
	}
	failed, ok := errors.AsType[*jsonschema.ValidationError](s.compiled.Validate(document))
	if !ok {
		return nil
	}
	open := map[string]bool{}
	find(document, "", func(pointer string, value any) {
		if text, ok := value.(string); ok && reference(text) {
			open[pointer] = true
		}
	})
	var faults []errs.Field
	for _, leaf := range leaves(failed) {
		pointer := pointerOf(leaf.InstanceLocation)
		_, lacks := leaf.ErrorKind.(*kind.Required)
		if open[pointer] || part && lacks && pointer == "" {
			continue
		}
		faults = append(faults, faultsOf(leaf, at+pointer)...)
	}
	slices.SortFunc(faults, func(a, b errs.Field) int { return strings.Compare(a.Pointer+a.Detail, b.Pointer+b.Detail) })
	return slices.Compact(faults)
}

// leaves returns the errors that have no further cause.
func leaves(e *jsonschema.ValidationError) (found []*jsonschema.ValidationError) {
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	for _, cause := range e.Causes {
		found = append(found, leaves(cause)...)
	}
	return found
}

// faultsOf says what is wrong at a place: of keys that are missing or too many, at the
// keys.
func faultsOf(e *jsonschema.ValidationError, at string) (faults []errs.Field) {
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			faults = append(faults, errs.Field{Pointer: at + "/" + token(name), Detail: "this is missing"})
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			faults = append(faults, errs.Field{Pointer: at + "/" + token(name), Detail: "the plugin does not know this key"})
		}
	case *kind.Type:
		faults = append(faults, errs.Field{Pointer: at, Detail: fmt.Sprintf("this is %s; want %s", k.Got, strings.Join(k.Want, " or "))})
	case *kind.Enum:
		faults = append(faults, errs.Field{Pointer: at, Detail: fmt.Sprintf("this is none of %v", k.Want)})
	default: // the value is not shown: it may be a secret
		faults = append(faults, errs.Field{Pointer: at, Detail: "this does not fit the plugin's schema: " + strings.Join(k.KeywordPath(), "/")})
	}
	return faults
}

// find calls yield with every value of a document.
func find(value any, at string, yield func(pointer string, value any)) {
	yield(at, value)
	switch v := value.(type) {
	case map[string]any:
		for name, of := range v {
			find(of, at+"/"+token(name), yield)
		}
	case []any:
		for i, of := range v {
			find(of, at+"/"+strconv.Itoa(i), yield)
		}
	}
}

func pointerOf(path []string) string {
	var b strings.Builder
	for _, name := range path {
		b.WriteString("/" + token(name))
	}
	return b.String()
}

// token writes a name as a part of a JSON pointer (RFC 6901).
func token(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }
