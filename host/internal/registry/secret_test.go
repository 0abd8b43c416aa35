package registry_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
)

// What a file has written out in a place that is marked is a secret as what references
// stand for is.
func TestSplit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, c := range map[string]struct {
		plugin, settings, rest string
		secrets, want          map[string][]byte
	}{
		"marked":            {"sql", `{"url":"` + canary + `","port":5432}`, `{"port":5432}`, nil, map[string][]byte{"/url": []byte(canary)}},
		"beside references": {"sql", `{"url":"u","port":12345678901234567890}`, `{"port":12345678901234567890}`, map[string][]byte{"/x": []byte("r")}, map[string][]byte{"/url": []byte("u"), "/x": []byte("r")}},
		"nothing of it":     {"sql", `{ "port":1}`, `{ "port":1}`, nil, nil},
		"of a wrong type":   {"sql", `{"url":1}`, `{"url":1}`, nil, nil},
		"no schema":         {"free", `{"url":"u"}`, `{"url":"u"}`, nil, nil},
		"no plugin":         {"none", `{"url":"u"}`, `{"url":"u"}`, nil, nil},
		"no JSON":           {"sql", `{`, `{`, nil, nil},
	} {
		rest, secrets := f.Split(&catalog.Command{Plugin: c.plugin}, json.RawMessage(c.settings), c.secrets)
		if string(rest) != c.rest {
			t.Errorf("%s: settings = %s, want %s", name, rest, c.rest)
		}
		if diff := cmp.Diff(c.want, secrets); diff != "" {
			t.Errorf("%s: secrets differ (-want +got):\n%s", name, diff)
		}
	}
}

// They are told in lists and objects, where null keeps a place.
func TestSplitDeep(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	rest, secrets := f.Split(&catalog.Command{Plugin: "deep"}, json.RawMessage(`{"keys":["a","b"],"of":{"a/b":{"key":"c","n":1}}}`), nil)
	if want := `{"keys":[null,null],"of":{"a/b":{"n":1}}}`; string(rest) != want {
		t.Errorf("settings = %s, want %s", rest, want)
	}
	want := map[string][]byte{"/keys/0": []byte("a"), "/keys/1": []byte("b"), "/of/a~1b/key": []byte("c")}
	if diff := cmp.Diff(want, secrets); diff != "" {
		t.Errorf("secrets differ (-want +got):\n%s", diff)
	}
}
