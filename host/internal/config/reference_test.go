package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heimdall-run/heimdall/host/internal/config"
)

func getenv(name string) (string, bool) {
	value, ok := map[string]string{"USER_1": "ann", "PASSWORD": `p${A}"$$`, "EMPTY": ""}[name]
	return value, ok
}

func readFile(path string) ([]byte, error) {
	switch path {
	case "/run/secret":
		return []byte("line\r\n"), nil
	case "lines":
		return []byte("a\n\n"), nil
	}
	return nil, fmt.Errorf("open %s: %w", path, errors.ErrUnsupported)
}

func TestResolve(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		context string
		want    string
		secrets map[string]string
	}{
		"nothing to do":               {`{"a": 1}`, `{"a": 1}`, nil},
		"a variable":                  {`{"a":"${env:PASSWORD}","b":1}`, `{"b":1}`, map[string]string{"/a": `p${A}"$$`}},
		"the short form":              {`{"a":"${PASSWORD}"}`, `{}`, map[string]string{"/a": `p${A}"$$`}},
		"an empty variable":           {`{"a":"${EMPTY}"}`, `{}`, map[string]string{"/a": ""}},
		"a file":                      {`{"a":"${file:/run/secret}"}`, `{}`, map[string]string{"/a": "line"}},
		"only one newline is cut":     {`{"a":"${file:lines}"}`, `{}`, map[string]string{"/a": "a\n"}},
		"text around":                 {`{"a":"db://${USER_1}:${PASSWORD}@$$${EMPTY}$h"}`, `{}`, map[string]string{"/a": `db://ann:p${A}"$$@$$h`}},
		"dollars alone":               {`{"a":"$$ $x $$$${y} 5$"}`, `{"a":"$ $x $${y} 5$"}`, nil},
		"an escaped dollar of JSON":   {`{"a":"\u0024{USER_1}"}`, `{}`, map[string]string{"/a": "ann"}},
		"deep, with odd names":        {`{"a/b":{"~c":{"":"${USER_1}"}}}`, `{"a/b":{"~c":{}}}`, map[string]string{"/a~1b/~0c/": "ann"}},
		"a list keeps its places":     {`{"a":["x","${USER_1}",["${EMPTY}"],"y"]}`, `{"a":["x",null,[null],"y"]}`, map[string]string{"/a/1": "ann", "/a/2/0": ""}},
		"names are not looked at":     {`{"${USER_1}":"<&>$$"}`, `{"${USER_1}":"<&>$"}`, nil},
		"numbers keep their digits":   {`{"n":9007199254740993.10,"s":"$$"}`, `{"n":9007199254740993.10,"s":"$"}`, nil},
		"a value is not looked at":    {`{"a":"${PASSWORD}","b":"${USER_1}"}`, `{}`, map[string]string{"/a": `p${A}"$$`, "/b": "ann"}},
		"a document that is a string": {`"${USER_1}"`, `null`, map[string]string{"": "ann"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resolved, secrets, err := config.Resolve(json.RawMessage(test.context), getenv, readFile)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for pointer, value := range secrets {
				got[pointer] = string(value)
			}
			if test.secrets == nil {
				test.secrets = map[string]string{}
			}
			if diff := cmp.Diff(test.secrets, got); diff != "" {
				t.Errorf("secrets (-want +got):\n%s", diff)
			}
			if string(resolved) != test.want {
				t.Errorf("resolved = %s, want %s", resolved, test.want)
			}
		})
	}
}

func TestResolveNamesEveryFault(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ context, want string }{
		"all at once": {
			`{"a":"${NOWHERE}${USER_1}","b":["${PASSWORD}","${file:/missing}"],"c":"${","d":"${vault:x}"}`,
			`/a: ${NOWHERE}: the host's environment has no NOWHERE; /b/1: ${file:/missing}: open /missing: unsupported operation; /c: a reference that begins with ${ has no }; write $$ for a dollar; /d: ${vault:x} is not a reference; write ${NAME}, ${env:NAME} or ${file:path}, or $$ for a dollar`,
		},
		"no JSON": {`{"a":$}`, "read a context: invalid character '$' looking for beginning of value"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resolved, secrets, err := config.Resolve(json.RawMessage(test.context), getenv, readFile)
			if err == nil || err.Error() != test.want {
				t.Errorf("Resolve: got\n%v\nwant\n%s", err, test.want)
			}
			if resolved != nil || secrets != nil {
				t.Errorf("Resolve = %s, %v; want nothing beside an error", resolved, secrets)
			}
		})
	}
}

// FuzzResolve: no secret stays in the document, and what is left reads the same
// when it is resolved into a string again.
func FuzzResolve(f *testing.F) {
	f.Add("${env:SECRET}")
	f.Add("x$$${SECRET}${file:f}")
	f.Add("$${SECRET}")
	f.Fuzz(func(t *testing.T, text string) {
		const value = "s3cr3t-value"
		if strings.Contains(text, value) {
			return
		}
		context, err := json.Marshal(map[string]any{"a": text, "list": []string{text}, "plain": "text"})
		if err != nil {
			t.Fatal(err)
		}
		resolved, secrets, err := config.Resolve(context,
			func(string) (string, bool) { return value, true },
			func(string) ([]byte, error) { return []byte(value), nil })
		if err != nil {
			if strings.Contains(err.Error(), value) {
				t.Errorf("the error has the value: %v", err)
			}
			return
		}
		if strings.Contains(string(resolved), value) {
			t.Errorf("resolved = %s, want no secret in it", resolved)
		}
		var document struct {
			A     *string
			List  []*string
			Plain string
		}
		if err := json.Unmarshal(resolved, &document); err != nil {
			t.Fatalf("resolved = %s: %v", resolved, err)
		}
		_, secret := secrets["/a"]
		if document.Plain != "text" || len(document.List) != 1 || (document.A == nil) != secret || (document.List[0] == nil) != secret {
			t.Errorf("resolved = %s with secrets %v; want each string there or a secret", resolved, secrets)
		}
	})
}
