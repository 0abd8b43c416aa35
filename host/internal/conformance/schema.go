package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// schema is a JSON Schema of the plugin.
type schema struct {
	document any
	compiled *jsonschema.Schema // nil: the plugin has none, anything will do
	relaxed  *jsonschema.Schema // the same, but secrets may be left out
}

// draft is the dialect that schemas are written in.
const draft = "https://json-schema.org/draft/2020-12/schema"

// schemaURL is what a schema is called where nothing is looked up.
const schemaURL = "plugin:///schema.json"

// readSchema compiles a schema that stands alone. An empty text is no schema.
func readSchema(text string) (*schema, error) {
	if text == "" {
		return &schema{}, nil
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("it is not JSON: %w", err)
	}
	if object, ok := document.(map[string]any); ok {
		if dialect, ok := object["$schema"]; ok && dialect != draft {
			return nil, fmt.Errorf("it is written in %v, not in %s", dialect, draft)
		}
	}
	s := &schema{document: document}
	if s.compiled, err = compile(document); err != nil {
		return nil, err
	}
	// A second copy, because relaxing changes it.
	if document, err = jsonschema.UnmarshalJSON(strings.NewReader(text)); err == nil {
		relax(document)
		s.relaxed, err = compile(document)
	}
	return s, err
}

func compile(document any) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(nowhere{})
	if err := c.AddResource(schemaURL, document); err != nil {
		return nil, err
	}
	return c.Compile(schemaURL)
}

// nowhere refuses what schemas refer to elsewhere.
type nowhere struct{}

// Load implements jsonschema.URLLoader.
func (nowhere) Load(url string) (any, error) {
	return nil, errors.New("a schema must stand alone, and this one refers to " + url)
}

// relax takes secrets out of what objects require.
func relax(document any) {
	switch node := document.(type) {
	case map[string]any:
		properties, _ := node["properties"].(map[string]any)
		if required, ok := node["required"].([]any); ok {
			node["required"] = slices.DeleteFunc(required, func(name any) bool {
				key, _ := name.(string)
				return secret(properties[key])
			})
		}
		for _, child := range node {
			relax(child)
		}
	case []any:
		for _, child := range node {
			relax(child)
		}
	}
}

func secret(property any) bool {
	node, _ := property.(map[string]any)
	marked, _ := node["x-heimdall-secret"].(bool)
	return marked
}

// secrets returns the JSON pointers of the properties that are secret, sorted.
func (s *schema) secrets() []string {
	var out []string
	var walk func(node any, at string)
	walk = func(node any, at string) {
		object, _ := node.(map[string]any)
		properties, _ := object["properties"].(map[string]any)
		for name, property := range properties {
			pointer := at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
			if secret(property) {
				out = append(out, pointer)
				continue
			}
			walk(property, pointer)
		}
	}
	walk(s.document, "")
	slices.Sort(out)
	return out
}

// split takes the secrets out of a JSON object.
func (s *schema) split(text json.RawMessage) (rest []byte, secrets []*pluginpb.Secret, err error) {
	pointers := s.secrets()
	if len(pointers) == 0 {
		return text, nil, nil
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, nil, err
	}
	for _, pointer := range pointers {
		if value, ok := take(document, pointer); ok {
			secrets = append(secrets, &pluginpb.Secret{Pointer: pointer, Value: bare(value)})
		}
	}
	rest, err = json.Marshal(document)
	return rest, secrets, err
}

// take removes the value that a pointer names from a document.
func take(document any, pointer string) (value any, ok bool) {
	parts := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, part := range parts {
		object, _ := document.(map[string]any)
		name := strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		if document, ok = object[name]; !ok {
			return nil, false
		}
		if i == len(parts)-1 {
			delete(object, name)
		}
	}
	return document, true
}

// bare is a secret as it travels: text without quotes, anything else as JSON.
func bare(value any) []byte {
	if text, ok := value.(string); ok {
		return []byte(text)
	}
	text, _ := json.Marshal(value) // it came from JSON
	return text
}

// fits returns why a JSON text does not fit the schema; secrets may be missing.
func (s *schema) fits(text []byte) error {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("it is not JSON: %w", err)
	}
	if _, ok := document.(map[string]any); !ok {
		return errors.New("it is not a JSON object")
	}
	if s.relaxed == nil {
		return nil
	}
	return s.relaxed.Validate(document)
}

// refuses reports whether a text does not fit the schema. An empty text may stand
// for an empty object, and one that takes any object need not look at it.
func (s *schema) refuses(text string) bool {
	if s.relaxed == nil || s.fits([]byte(`{"`+unknownKey+`": 1}`)) == nil {
		return false
	}
	return text != "" && text != "null" && s.fits([]byte(text)) != nil
}

// wrong is a JSON object that does not fit a schema.
type wrong struct {
	how  string
	text []byte
}

// unknownKey is the name of a key that no schema has.
const unknownKey = "heimdall_check_unknown"

// wrongs returns objects that are near to one that fits and do not fit, in three
// kinds: with a key too many, with a value of another type, without a key.
func (s *schema) wrongs(text []byte) (unknown, mistyped, lacking []wrong) {
	if s.compiled == nil {
		return nil, nil, nil
	}
	try := func(how string, change func(map[string]any)) []wrong {
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		object, ok := document.(map[string]any)
		if err != nil || !ok {
			return nil
		}
		change(object)
		if s.relaxed.Validate(object) == nil {
			return nil
		}
		changed, err := json.Marshal(object)
		if err != nil {
			return nil
		}
		return []wrong{{how, changed}}
	}
	unknown = try("the unknown key "+unknownKey, func(o map[string]any) { o[unknownKey] = 1 })
	root, _ := s.document.(map[string]any)
	properties, _ := root["properties"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		if secret(properties[key]) {
			continue
		}
		for _, value := range []any{map[string]any{unknownKey: []any{}}, "heimdall", json.Number("0.5")} {
			text, _ := json.Marshal(value) // made of what JSON is made of
			if found := try(fmt.Sprintf("%q: %s", key, text), func(o map[string]any) { o[key] = value }); found != nil {
				mistyped = append(mistyped, found...)
				break
			}
		}
		lacking = append(lacking, try(fmt.Sprintf("no key %q", key), func(o map[string]any) { delete(o, key) })...)
	}
	return unknown, mistyped, lacking
}
