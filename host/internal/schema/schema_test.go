package schema_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/schema"
)

const settings = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"type": "object", "additionalProperties": false, "required": ["url", "port"],
	"properties": {
		"url": {"type": "string", "x-heimdall-secret": true},
		"port": {"type": "integer", "x-heimdall-placement": "cluster"},
		"mode": {"enum": ["a", "b"]},
		"headers": {"type": "object", "additionalProperties": {"$ref": "#/$defs/secret"}},
		"users": {"type": "array", "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "key": {"allOf": [{"$ref": "#/$defs/secret"}]}}}}
	},
	"$defs": {"secret": {"type": "string", "minLength": 3, "x-heimdall-secret": true}}
}`

func read(t *testing.T, text string) *schema.Schema {
	t.Helper()
	s, err := schema.Read(json.RawMessage(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func reference(s string) bool { return strings.HasPrefix(s, "${") }

func TestFaults(t *testing.T) {
	t.Parallel()
	s := read(t, settings)
	for name, c := range map[string]struct {
		document, part, whole string // the pointers of the faults
	}{
		"all is well":                    {`{"url": "x", "port": 1}`, "", ""},
		"what lacks may stand elsewhere": {`{"port": 1}`, "", "/url"},
		"nothing":                        {``, "", "/port /url"},
		"unknown keys":                   {`{"url": "x", "port": 1, "prot": 2}`, "/prot", "/prot"},
		"a wrong type":                   {`{"url": 1, "port": "x"}`, "/port /url", "/port /url"},
		"a reference for a number":       {`{"url": "x", "port": "${env:P}"}`, "", "/port"},
		"a short reference":              {`{"url": "x", "port": 1, "headers": {"a/b": "${", "c": "${x}"}}`, "", "/headers/a~1b"},
		"deep inside":                    {`{"url": "x", "port": 1, "users": [{}, {"name": 1}]}`, "/users/0/name /users/1/name", "/users/0/name /users/1/name"},
		"none of some":                   {`{"url": "x", "port": 1, "mode": "c"}`, "/mode", "/mode"},
	} {
		for what, want := range map[string]string{"part": c.part, "whole": c.whole} {
			faults := s.Input(json.RawMessage(c.document), "")
			if what == "part" {
				faults = s.Part(json.RawMessage(c.document), "", reference)
			}
			var got []string
			for _, f := range faults {
				got = append(got, f.Pointer)
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s, as %s: faults at %q, want %q: %v", name, what, got, want, faults)
			}
		}
	}
	if faults := read(t, "").Input(json.RawMessage(`{"a": 1}`), ""); faults != nil {
		t.Errorf("without a schema: %v, want no faults", faults)
	}
}

// What does not fit may be a secret: it is not repeated.
func TestFaultsShowNoValue(t *testing.T) {
	t.Parallel()
	s := read(t, `{"properties": {"a": {"pattern": "^x"}, "b": {"const": 1}, "c": {"format": "uuid", "maxLength": 3}, "d": {"not": {}}, "e": {"oneOf": [{"type": "integer"}, {"minLength": 30}]}}}`)
	const canary = "canary-7f3a"
	faults := s.Input(json.RawMessage(`{"a": "`+canary+`", "b": "`+canary+`", "c": "`+canary+`", "d": "`+canary+`", "e": "`+canary+`"}`), "/context")
	if len(faults) < 4 {
		t.Errorf("faults = %v, want one at each key but perhaps c", faults)
	}
	for _, f := range faults {
		if strings.Contains(f.Detail, canary) || !strings.HasPrefix(f.Pointer, "/context/") {
			t.Errorf("fault %+v, want one below /context without the value", f)
		}
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	root := schema.Roots(read(t, settings), nil)
	for name, c := range map[string]struct {
		place         schema.Place
		secret, known bool
	}{
		"marked":                    {root.Field("url"), true, true},
		"not marked":                {root.Field("mode"), false, true},
		"by reference, of any name": {root.Field("headers").Field("Authorization"), true, true},
		"in a list":                 {root.Field("users").Element(3).Field("key"), true, true},
		"beside it":                 {root.Field("users").Element(3).Field("name"), false, true},
		"unknown":                   {root.Field("nope"), false, false},
	} {
		if c.place.Secret() != c.secret || c.place.Known() != c.known {
			t.Errorf("%s: secret = %t, known = %t, want %t, %t", name, c.place.Secret(), c.place.Known(), c.secret, c.known)
		}
	}
	odd := schema.Roots(read(t, `{
		"patternProperties": {"^key_": {"x-heimdall-secret": true}, "^p": {"type": "object", "unevaluatedProperties": {"x-heimdall-secret": true}}},
		"properties": {
			"key_a": {"type": "string"}, "anchored": {"$ref": "#hidden"}, "open": {"$ref": "#/$defs/open"},
			"list": {"unevaluatedItems": {"x-heimdall-secret": true}}, "some": {"contains": {"x-heimdall-secret": true}}
		},
		"dependentSchemas": {"open": {"properties": {"then": {"x-heimdall-secret": true}}}},
		"$defs": {"h": {"$anchor": "hidden", "x-heimdall-secret": true}, "open": {"type": "string"}}
	}`))
	for name, c := range map[string]struct {
		place  schema.Place
		secret bool
	}{
		"of a pattern":               {odd.Field("key_b"), true},
		"named, and of a pattern":    {odd.Field("key_a"), true},
		"below a pattern":            {odd.Field("pairs").Field("x"), true},
		"of no pattern":              {odd.Field("other"), false},
		"by a reference with a name": {odd.Field("anchored"), true},
		"by a plain reference":       {odd.Field("open"), false},
		"one of a list":              {odd.Field("list").Element(0), true},
		"perhaps one of a list":      {odd.Field("some").Element(1), true},
		"where another field is":     {odd.Field("then"), true},
	} {
		if c.place.Secret() != c.secret {
			t.Errorf("%s: secret = %t, want %t", name, c.place.Secret(), c.secret)
		}
	}
	if got := root.Field("port").Side(); got != "cluster" {
		t.Errorf("side of port = %q, want cluster", got)
	}
	loop := schema.Roots(read(t, `{"properties": {"a": {"$ref": "#/properties/a"}, "b": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"allOf": [{"$ref": "#/$defs/b"}]}}}`))
	if loop.Field("a").Secret() {
		t.Error("a schema that refers to itself has no secret")
	}
}

func TestBadSchemas(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{`, `{"type": 3}`, `{"$ref": "https://example.com/schema"}`} {
		if _, err := schema.Read(json.RawMessage(text)); err == nil {
			t.Errorf("%s is read, want an error", text)
		}
	}
}
