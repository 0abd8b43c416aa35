package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// Rest is the type of a field of a settings or input struct that takes the keys
// which no other field has. Without such a field they are an error.
type Rest map[string]json.RawMessage

// decode reads a JSON object into target, a pointer, after it was checked
// against the shape: unknown keys, missing ones and wrong types are errors that
// name the place.
func (s *shape) decode(data []byte, secrets []*pluginpb.Secret, target any) error {
	tree, err := parse(data)
	if err != nil {
		return err
	}
	for _, secret := range secrets {
		if tree, err = s.insert(tree, secret); err != nil {
			return err
		}
	}
	if err := s.check("", tree); err != nil {
		return err
	}
	if len(secrets) > 0 {
		if data, err = json.Marshal(tree); err != nil {
			return fmt.Errorf("put in the secrets: %w", err)
		}
	}
	if len(data) == 0 {
		return nil
	}

	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(target); err != nil {
		return tidy(err)
	}
	return s.rest(tree, target)
}

func parse(data []byte) (any, error) {
	if len(data) == 0 {
		return map[string]any{}, nil
	}

	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not JSON: there is more behind the object")
	}
	return tree, nil
}

// tidy makes the decoder's errors readable for people who do not write Go.
func tidy(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return fmt.Errorf("/%s does not fit: got a %s, want %s", strings.ReplaceAll(wrong.Field, ".", "/"), wrong.Value, wrong.Type)
	}
	return err
}

func (s *shape) check(at string, value any) error {
	if value == nil && s.nullable {
		return nil
	}

	got := kindOf(value)
	if s.kind != "" && s.kind != got && !(s.kind == "number" && got == "integer") {
		return fmt.Errorf("%s must be %s, got %s", place(at), article(s.kind), article(got))
	}

	switch value := value.(type) {
	case []any:
		if s.elem == nil {
			return nil
		}
		for i, item := range value {
			if err := s.elem.check(at+"/"+strconv.Itoa(i), item); err != nil {
				return err
			}
		}
	case map[string]any:
		return s.checkObject(at, value)
	}
	return nil
}

func (s *shape) checkObject(at string, object map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		inner := s.elem
		if f := s.byName[name]; f != nil {
			inner = f.shape
		}
		switch {
		case inner != nil:
			if err := inner.check(at+"/"+escape(name), object[name]); err != nil {
				return err
			}
		case !s.open:
			return fmt.Errorf("unknown key %q%s%s", name, within(at), s.known())
		}
	}

	for _, f := range s.fields {
		if _, ok := object[f.name]; f.required && !ok {
			return fmt.Errorf("key %q is missing%s", f.name, within(at))
		}
	}
	return nil
}

func (s *shape) known() string {
	if len(s.fields) == 0 {
		return "; none is known"
	}

	names := make([]string, len(s.fields))
	for i, f := range s.fields {
		names[i] = f.name
	}
	return "; known: " + strings.Join(names, ", ")
}

// insert puts a secret at its JSON pointer. A place that reads a string gets one,
// any other place the JSON that the secret holds.
func (s *shape) insert(tree any, secret *pluginpb.Secret) (any, error) {
	names := strings.Split(secret.GetPointer(), "/")
	if len(names) < 2 || names[0] != "" {
		return nil, fmt.Errorf("the pointer %q of a secret does not begin with /", secret.GetPointer())
	}
	return s.put(tree, names[1:], secret)
}

func (s *shape) put(tree any, names []string, secret *pluginpb.Secret) (any, error) {
	if len(names) == 0 {
		if s != nil && s.kind != "" && s.kind != "string" {
			value, err := parse(secret.GetValue())
			if err != nil {
				return nil, fmt.Errorf("the secret at %s is not JSON", secret.GetPointer())
			}
			return value, nil
		}
		return string(secret.GetValue()), nil
	}

	name := strings.NewReplacer("~1", "/", "~0", "~").Replace(names[0])
	if list, ok := tree.([]any); ok {
		i, err := strconv.Atoi(name)
		if err != nil || i < 0 || i >= len(list) {
			return nil, fmt.Errorf("there is no place %s for a secret", secret.GetPointer())
		}
		list[i], err = s.inner(name).put(list[i], names[1:], secret)
		return list, err
	}

	object, ok := tree.(map[string]any)
	if tree != nil && !ok {
		return nil, fmt.Errorf("there is no place %s for a secret", secret.GetPointer())
	}
	if object == nil {
		object = map[string]any{}
	}
	var err error
	object[name], err = s.inner(name).put(object[name], names[1:], secret)
	return object, err
}

func (s *shape) inner(name string) *shape {
	if s == nil {
		return nil
	}
	if f := s.byName[name]; f != nil {
		return f.shape
	}
	return s.elem
}

// rest fills the fields of type Rest of the outermost struct.
func (s *shape) rest(tree, target any) error {
	object, ok := tree.(map[string]any)
	value := reflect.Indirect(reflect.ValueOf(target))
	if !s.open || !ok || value.Kind() != reflect.Struct {
		return nil
	}

	for i := range value.NumField() {
		if value.Type().Field(i).Type != reflect.TypeFor[Rest]() {
			continue
		}
		rest := Rest{}
		for name, inner := range object {
			if s.byName[name] != nil {
				continue
			}
			text, err := json.Marshal(inner)
			if err != nil {
				return fmt.Errorf("key %q: %w", name, err)
			}
			rest[name] = text
		}
		value.Field(i).Set(reflect.ValueOf(rest))
	}
	return nil
}

func kindOf(value any) string {
	switch value := value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case json.Number:
		if strings.ContainsAny(value.String(), ".eE") {
			return "number"
		}
		return "integer"
	case []any:
		return "array"
	default:
		return "object"
	}
}

func article(kind string) string {
	switch kind {
	case "null":
		return kind
	case "array", "object", "integer":
		return "an " + kind
	default:
		return "a " + kind
	}
}

func place(at string) string {
	if at == "" {
		return "the whole"
	}
	return at
}

func within(at string) string {
	if at == "" {
		return ""
	}
	return " in " + at
}

func escape(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }
