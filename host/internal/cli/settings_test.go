package cli_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/cli"
)

// profiles writes the configuration of the command line and returns the variable
// that names its folder.
func profiles(t *testing.T, text string) string {
	t.Helper()
	folder := t.TempDir()
	file := filepath.Join(folder, "heimdall", "cli.toml")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "XDG_CONFIG_HOME=" + folder
}

// Each setting comes from its flag, else from a profile that is named by a flag,
// else from its variable, else from the profile of a variable or of the file.
func TestSettings(t *testing.T) {
	answer := func(name string) *host {
		return script(t, map[string]http.HandlerFunc{"GET /hosts": func(w http.ResponseWriter, r *http.Request) {
			says(200, `{"data":[{"name":"`+name+`","id":"`+r.Header.Get("X-Heimdall-User")+`"}]}`)(w, r)
		}})
	}
	a, b, c := answer("a"), answer("b"), answer("c")
	config := profiles(t, `default = "a"
[profile.a]
server = "`+a.URL+`"
user = "ann"
[profile.b]
server = "`+b.URL+`"
user = "bob"
output = "json"
`)
	const rest = "\t\tno\t\t\t0/0\t\t\n"
	for name, test := range map[string]struct {
		args, env []string
		want      string
	}{
		"the default profile":           {nil, nil, "ann\ta" + rest},
		"a profile of a flag":           {[]string{"--profile", "b"}, nil, `{"data":[{"name":"b","id":"bob"}]}` + "\n"},
		"a profile of a variable":       {nil, []string{"HEIMDALL_PROFILE=b"}, `{"data":[{"name":"b","id":"bob"}]}` + "\n"},
		"variables over the default":    {nil, []string{"HEIMDALL_SERVER=" + c.URL, "HEIMDALL_USER=cid"}, "cid\tc" + rest},
		"a profile of a flag over them": {[]string{"--profile", "a"}, []string{"HEIMDALL_SERVER=" + c.URL, "HEIMDALL_USER=cid"}, "ann\ta" + rest},
		"flags over all":                {[]string{"--profile", "b", "--server", c.URL, "--user", "fay", "-o", "tsv"}, nil, "fay\tc" + rest},
		"an output of a variable":       {nil, []string{"HEIMDALL_OUTPUT=yaml"}, "data:\n  - name: a\n    id: ann\n"},
		"part of a profile":             {nil, []string{"HEIMDALL_USER=cid"}, "cid\ta" + rest},
	} {
		t.Run(name, func(t *testing.T) {
			got := runProgram(t.Context(), cli.Program{Args: append([]string{"hosts"}, test.args...), Env: append(test.env, config)})
			if got != (outcome{0, test.want, ""}) {
				t.Errorf("got %+v, want %q", got, test.want)
			}
		})
	}
}

func TestFaultyProfiles(t *testing.T) {
	for text, want := range map[string]string{
		"[profile.a]\nservr = \"x\"":               "unknown key profile.a.servr",
		"[profile.a":                               "cli.toml: line 1:",
		"default = \"b\"\n[profile.a]\nuser=\"x\"": `there is no profile "b" in `,
		"[profile.a]\nuser = 7":                    "cli.toml",
	} {
		got := runProgram(t.Context(), cli.Program{Args: []string{"hosts"}, Env: []string{profiles(t, text)}})
		if got.code != cli.ExitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("%q: got %+v, want code 2 and %q", text, got, want)
		}
	}
}

// YAML is the answer in another notation: the same keys in the same order, the
// same numbers, and texts that stay texts.
func TestYAML(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{"GET /job/7": says(200, `{"id":"7","z":[{"b":12345678901234567890,"a":1.50}],"e":{},"l":[],"n":null,"t":true,`+
		`"texts":["true","12","a: b","two\nlines","","😀","~"],"status":"NEW"}`)})
	want := `id: "7"
z:
  - b: 12345678901234567890
    a: 1.50
e: {}
l: []
n: null
t: true
texts:
  - "true"
  - "12"
  - 'a: b'
  - |-
    two
    lines
  - ""
  - "\U0001F600"
  - "~"
status: NEW
`
	if got := run(t, h.URL, "job", "get", "7", "-o", "yaml"); got != (outcome{0, want, ""}) {
		t.Errorf("got %s, want %s", got.stdout, want)
	}
}
