package sdk

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// A shape says what JSON a Go type reads. Schemas are written and values are
// checked from it; it is made once, when the plugin starts.
type shape struct {
	kind     string // JSON type; empty: anything
	format   string // of strings
	pattern  string // of strings
	base64   bool   // strings that hold bytes
	unsigned bool
	nullable bool
	secret   bool              // never shown or stored
	fields   []*field          // of a struct, in order
	byName   map[string]*field // the same
	elem     *shape            // of arrays, and of the values of maps
	open     bool              // unknown keys are accepted
}

// A field is one key of a struct. Its tags are
//
//	json:"name"          the key
//	doc:"…"              a sentence for the schema
//	required:"true"      the key must be there
//	secret:"true"        the value is never shown or stored
//	placement:"command"  or "cluster": only that side may hold it
type field struct {
	name      string
	doc       string
	required  bool
	placement string
	fallback  any // shown as default; nil: none
	*shape
}

const durationPattern = `^[-+]?([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$|^0$`

// shapeOf returns the shape of what value holds; its own fields that are not
// zero become defaults.
func shapeOf(value reflect.Value) (*shape, error) {
	for value.Kind() == reflect.Pointer && !value.IsNil() {
		value = value.Elem()
	}

	root, err := newShape(value.Type(), value, nil)
	if err != nil {
		return nil, err
	}
	if root.kind != "object" && root.kind != "" {
		return nil, fmt.Errorf("%s is read from a JSON %s: use a struct", value.Type(), root.kind)
	}
	root.kind = "object"
	root.nullable = false
	return root, nil
}

func newShape(t reflect.Type, value reflect.Value, above []reflect.Type) (*shape, error) {
	if s := knownShape(t); s != nil {
		return s, nil
	}

	switch t.Kind() {
	case reflect.Bool:
		return &shape{kind: "boolean"}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return &shape{kind: "integer"}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return &shape{kind: "integer", unsigned: true}, nil
	case reflect.Float32, reflect.Float64:
		return &shape{kind: "number"}, nil
	case reflect.String:
		return &shape{kind: "string"}, nil
	case reflect.Interface:
		return &shape{nullable: true, open: true}, nil
	case reflect.Pointer:
		return pointerShape(t, value, above)
	case reflect.Slice, reflect.Array:
		elem, err := newShape(t.Elem(), reflect.Value{}, above)
		return &shape{kind: "array", elem: elem}, err
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return nil, fmt.Errorf("%s: keys of maps must be strings", t)
		}
		elem, err := newShape(t.Elem(), reflect.Value{}, above)
		return &shape{kind: "object", elem: elem}, err
	case reflect.Struct:
		return structShape(t, value, above)
	default:
		return nil, fmt.Errorf(`%s cannot be read from JSON: use another type or the tag json:"-"`, t)
	}
}

// knownShape returns the shape of types that read JSON in a way of their own.
func knownShape(t reflect.Type) *shape {
	switch t {
	case reflect.TypeFor[Duration]():
		return &shape{kind: "string", pattern: durationPattern}
	case reflect.TypeFor[Secret]():
		return &shape{kind: "string", secret: true}
	case reflect.TypeFor[time.Time]():
		return &shape{kind: "string", format: "date-time"}
	case reflect.TypeFor[json.Number]():
		return &shape{kind: "number"}
	case reflect.TypeFor[[]byte]():
		return &shape{kind: "string", base64: true}
	case reflect.TypeFor[None]():
		return &shape{kind: "object", open: true}
	}

	pointer := reflect.PointerTo(t)
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return nil
	}
	if pointer.Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return &shape{nullable: true, open: true}
	}
	if pointer.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return &shape{kind: "string"}
	}
	return nil
}

func pointerShape(t reflect.Type, value reflect.Value, above []reflect.Type) (*shape, error) {
	if value.IsValid() {
		value = value.Elem()
	}

	s, err := newShape(t.Elem(), value, above)
	if err != nil {
		return nil, err
	}
	s.nullable = true
	return s, nil
}

func structShape(t reflect.Type, value reflect.Value, above []reflect.Type) (*shape, error) {
	for _, outer := range above {
		if outer == t {
			return nil, fmt.Errorf("%s contains itself: use json.RawMessage for the inner one", t)
		}
	}

	s := &shape{kind: "object", byName: map[string]*field{}}
	if err := s.addFields(t, value, append(above, t)); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *shape) addFields(t reflect.Type, value reflect.Value, above []reflect.Type) error {
	for i := range t.NumField() {
		sf := t.Field(i)
		var inner reflect.Value
		if value.IsValid() {
			inner = value.Field(i)
		}

		tag, hasTag := sf.Tag.Lookup("json")
		name, flags, _ := strings.Cut(tag, ",")
		embedded := sf.Type
		if embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		switch {
		case sf.Type == reflect.TypeFor[Rest]():
			s.open = true
			continue
		case tag == "-":
			continue
		case sf.Anonymous && name == "" && embedded.Kind() == reflect.Struct && knownShape(embedded) == nil:
			if inner.IsValid() && inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if err := s.addFields(embedded, inner, above); err != nil {
				return err
			}
			continue
		case !sf.IsExported():
			continue
		case name == "" && !hasTag:
			name = sf.Name
		case name == "":
			name = sf.Name
		}

		f, err := newField(name, flags, sf, inner, above)
		if err != nil {
			return fmt.Errorf("%s.%s: %w", t, sf.Name, err)
		}
		if s.byName[name] == nil {
			s.fields = append(s.fields, f)
			s.byName[name] = f
		}
	}
	return nil
}

func newField(name, flags string, sf reflect.StructField, value reflect.Value, above []reflect.Type) (*field, error) {
	if sf.Type == reflect.TypeFor[time.Duration]() {
		return nil, fmt.Errorf("use sdk.Duration, which is read from strings such as \"30s\"")
	}

	inner, err := newShape(sf.Type, value, above)
	if err != nil {
		return nil, err
	}
	if flags == "string" {
		inner = &shape{kind: "string"}
	}
	if sf.Tag.Get("secret") == "true" {
		inner.secret = true
	}

	f := &field{
		name:      name,
		doc:       sf.Tag.Get("doc"),
		required:  sf.Tag.Get("required") == "true",
		placement: sf.Tag.Get("placement"),
		shape:     inner,
	}
	if f.placement != "" && f.placement != "command" && f.placement != "cluster" {
		return nil, fmt.Errorf("placement is %q, want \"command\" or \"cluster\"", f.placement)
	}
	if value.IsValid() && value.CanInterface() && !value.IsZero() && !f.secret && inner.byName == nil {
		f.fallback = value.Interface()
	}
	return f, nil
}
