package conformance

import (
	"slices"
	"strings"
	"testing"
)

const exampleSchema = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":false,
	"required":["host","password"],"properties":{
		"host":{"type":"string"},
		"port":{"type":"integer"},
		"password":{"type":"string","x-heimdall-secret":true},
		"proxy":{"type":"object","required":["key"],"properties":{"key":{"type":"string","x-heimdall-secret":true},"a/b":{"type":"string","x-heimdall-secret":true}}}}}`

func TestReadSchemaRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"{":                       "not JSON",
		`{"type":"objekt"}`:       "/type",
		`{"properties":[]}`:       "properties",
		`{"$ref":"http://x/y"}`:   "stand alone",
		`{"$ref":"other.json"}`:   "stand alone",
		`{"$schema":"draft-07"}`:  "draft-07",
		`{"pattern":"(unclosed"}`: "pattern",
	} {
		if _, err := readSchema(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("readSchema(%s) = %v, want an error with %q", text, err, want)
		}
	}
}

func TestSecretsOfASchema(t *testing.T) {
	s, err := readSchema(exampleSchema)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.secrets(), []string{"/password", "/proxy/a~1b", "/proxy/key"}; !slices.Equal(got, want) {
		t.Errorf("secrets = %v, want %v", got, want)
	}
	rest, secrets, err := s.split([]byte(`{"host":"db","password":"hidden","proxy":{"a/b":"too","port":1}}`))
	if err != nil || string(rest) != `{"host":"db","proxy":{"port":1}}` {
		t.Errorf("split = %s, %v; want it without secrets", rest, err)
	}
	var got []string
	for _, secret := range secrets {
		got = append(got, secret.GetPointer()+"="+string(secret.GetValue()))
	}
	if want := []string{"/password=hidden", "/proxy/a~1b=too"}; !slices.Equal(got, want) {
		t.Errorf("secrets = %v, want %v", got, want)
	}
	if err := s.fits(rest); err != nil {
		t.Errorf("without its secrets the object does not fit: %v", err)
	}
}

func TestWrongs(t *testing.T) {
	s, err := readSchema(exampleSchema)
	if err != nil {
		t.Fatal(err)
	}
	good := []byte(`{"host":"db","port":1}`)
	unknown, mistyped, lacking := s.wrongs(good)
	if len(unknown) != 1 || len(mistyped) != 3 || len(lacking) != 1 {
		t.Errorf("got %v, %v and %v; want a key too many, three of a wrong type, and no host", unknown, mistyped, lacking)
	}
	for _, w := range slices.Concat(unknown, mistyped, lacking) {
		if s.fits(w.text) == nil {
			t.Errorf("%s fits: %s, want that it does not", w.how, w.text)
		}
	}
	if err := s.fits(good); err != nil {
		t.Errorf("the good one does not fit: %v", err)
	}
	open, err := readSchema(`{"type":"object"}`)
	if err != nil {
		t.Fatal(err)
	}
	if a, b, c := open.wrongs(good); len(a)+len(b)+len(c) > 0 {
		t.Errorf("got %v %v %v, want none: the schema accepts anything", a, b, c)
	}
}
