package cli_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/heimdall-run/heimdall/host/internal/cli"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// outcome is what a run of the program left.
type outcome struct {
	code           int
	stdout, stderr string
}

// run runs the program with arguments against a server.
func run(t *testing.T, server string, args ...string) outcome {
	t.Helper()
	return runProgram(t.Context(), cli.Program{Args: args, Env: []string{"HEIMDALL_SERVER=" + server, "HEIMDALL_USER=etl"}})
}

func runProgram(ctx context.Context, p cli.Program) outcome {
	var stdout, stderr bytes.Buffer
	p.Stdout, p.Stderr, p.Version = &stdout, &stderr, "1.2.3"
	if p.Stdin == nil {
		p.Stdin = strings.NewReader("")
	}
	code := cli.Run(ctx, p)
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	return outcome{code, stdout.String(), stderr.String()}
}

// host is a server with a script: what it answers to "METHOD path?query".
type host struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string // "METHOD path?query body"
}

func script(t *testing.T, answers map[string]http.HandlerFunc) *host {
	t.Helper()
	h := &host{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		h.requests = append(h.requests, r.Method+" "+r.URL.RequestURI()+" "+string(body))
		h.mu.Unlock()
		if r.Header.Get("X-Heimdall-User") == "" {
			says(401, `{"error":"no user is named"}`)(w, r)
			return
		}
		answer := answers[r.Method+" "+strings.TrimPrefix(r.URL.RequestURI(), "/api/v1")]
		if answer == nil {
			says(404, `{"error":"no such job"}`)(w, r)
			return
		}
		answer(w, r)
	}))
	t.Cleanup(h.Close)
	return h
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if status >= 400 {
			w.Header().Set("Content-Type", "application/problem+json")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, body)
	}
}

func TestUsage(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
		want string // in stderr
	}{
		"an unknown command":         {[]string{"bogus"}, 2, `unknown command "bogus"`},
		"an unknown flag":            {[]string{"job", "list", "--bogus"}, 2, "--bogus"},
		"an unknown shell":           {[]string{"completion", "foo"}, 2, `unknown command "foo" for "heimdall completion"`},
		"no number":                  {[]string{"job", "submit", "--retry", "x"}, 2, "error: --retry x: want a whole number\n"},
		"no duration":                {[]string{"plugin", "run", "a", "--timeout", "x"}, 2, "want a duration such as 90s or 5m\n"},
		"a page of nothing":          {[]string{"job", "list", "--limit", "0"}, 2, "error: --limit 0: want a whole number, 1 or more\n"},
		"a missing argument":         {[]string{"job", "get"}, 2, "name the job: heimdall job get ID\n"},
		"a missing file":             {[]string{"config", "check"}, 2, "name the file: heimdall config check FILE\n"},
		"a missing plugin":           {[]string{"plugin", "new"}, 2, "name the plugin: heimdall plugin new NAME\n"},
		"no binary to check":         {[]string{"plugin", "check"}, 2, "name the binary: heimdall plugin check BINARY\n"},
		"a binary beside the list":   {[]string{"plugin", "check", "--list", "x"}, 2, "plugin check takes no arguments\n"},
		"a check in a strange form":  {[]string{"plugin", "check", "x", "-o", "xml"}, 2, "text, json"},
		"no examples":                {[]string{"plugin", "check", "x", "--examples", "/nowhere"}, 2, "/nowhere"},
		"a file that is no plugin":   {[]string{"plugin", "check", "/etc/hosts"}, 2, "heimdall-plugin-NAME"},
		"a plugin that is not there": {[]string{"plugin", "check", "/nowhere/heimdall-plugin-x"}, 2, "no such file"},
		"a group with a secret":      {[]string{"plugin"}, 2, "say what to do: check, list, new, run\n"},
		"an argument too many":       {[]string{"version", "x"}, 2, "version takes no arguments\n"},
		"an id too many":             {[]string{"job", "cancel", "1", "2"}, 2, "job cancel takes one argument\n"},
		"a wait beside its flag":     {[]string{"job", "submit", "--wait", "30s"}, 2, "job submit takes no arguments; write --wait=30s\n"},
		"a wait behind an id":        {[]string{"job", "result", "1", "--wait", "30s"}, 2, "job result takes one argument; write --wait=30s\n"},
		"a group alone":              {[]string{"job"}, 2, "submit"},
		"an unknown format":          {[]string{"job", "list", "-o", "xml"}, 2, "table, tsv, json, yaml"},
		"no server":                  {[]string{"job", "list", "--server", "nowhere"}, 2, "not a URL"},
		"a wait that is none":        {[]string{"job", "result", "1", "--wait=soon"}, 2, "duration"},
		"wait and follow":            {[]string{"job", "submit", "--command-criteria", "a", "--wait=30s", "--follow"}, 2, "--follow waits as long as it takes; leave out =30s of --wait"},
		"a context that is no JSON":  {[]string{"job", "submit", "--context", "{"}, 2, "not JSON"},
		"a file that is not there":   {[]string{"job", "submit", "--context", "@/nowhere"}, 2, "/nowhere"},
		"a set without a value":      {[]string{"job", "submit", "--set", "a"}, 2, "path=value"},
		"a set of no file":           {[]string{"job", "submit", "--set-file", "a=/nowhere"}, 2, "/nowhere"},
		"a retry of nothing":         {[]string{"job", "submit", "--retry", "0"}, 2, "at least 1"},
		"a backoff of nothing":       {[]string{"job", "submit", "--retry-backoff", "1s"}, 2, "are for --retry"},
		"a time that moves":          {[]string{"job", "submit", "--deadline", "1h", "--idempotency-key", "k"}, 2, "give the time itself, such as 20"},
		"a start that moves":         {[]string{"job", "submit", "--start-after", "1h", "--idempotency-key", "k"}, 2, "--start-after from now on"},
		"criteria and preferences":   {[]string{"job", "submit", "--cluster-criteria", "a", "--cluster-preference", "b"}, 2, "exclude"},
		"a batch and a name":         {[]string{"job", "submit", "--batch", "-", "--name", "x"}, 2, "--batch and --name exclude each other"},
		"a batch from nowhere":       {[]string{"job", "submit", "--batch", "/nowhere"}, 2, "/nowhere"},
		"a profile that is none":     {[]string{"hosts", "--profile", "x"}, 2, `no profile "x"`},
		"nothing to apply":           {[]string{"command", "apply"}, 2, "name a file: heimdall command apply FILE\n"},
		"a command without a name":   {[]string{"command", "status"}, 2, "name the command: heimdall command status ID"},
		"a status and its opposite":  {[]string{"cluster", "status", "x", "active", "--clear"}, 2, "--clear takes no status"},
		"two clusters to check":      {[]string{"cluster", "health", "x", "y"}, 2, "at most one"},
		"a set into a text":          {[]string{"job", "submit", "--context", `{"a":"x"}`, "--set", "a.b=1"}, 2, "a is not an object"},
		"a set into a list":          {[]string{"job", "submit", "--context", `[]`, "--set", "b=1"}, 2, "not a JSON object"},
		"nobody there":               {[]string{"job", "list", "--server", "http://127.0.0.1:1"}, 125, "does a host answer"},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, "http://127.0.0.1:1", c.args...)
			if got.code != c.code || !strings.Contains(got.stderr, c.want) || got.stdout != "" {
				t.Errorf("got %+v, want code %d and %q in stderr only", got, c.code, c.want)
			}
			if !strings.HasPrefix(got.stderr, "error: ") {
				t.Errorf("stderr = %q, want it to begin with error:", got.stderr)
			}
		})
	}
}

func TestVersionAndHelp(t *testing.T) {
	for _, way := range []string{"version", "--version"} {
		if got := run(t, "", way); got != (outcome{0, "heimdall 1.2.3\n", ""}) {
			t.Errorf("%s: %+v", way, got)
		}
	}
	for want, args := range map[string][]string{
		"CANCELED, CANCELING, FAILED": {"job", "list", "--help"},
		"124  the time of --wait":     {"job", "submit", "--help"},
	} {
		if got := run(t, "", args...); got.code != 0 || !strings.Contains(got.stdout, want) {
			t.Errorf("%v: got %+v, want %q in it", args, got, want)
		}
	}
	if got := run(t, "", "--help"); got.code != 0 || !strings.Contains(got.stdout, "server") || got.stderr != "" {
		t.Errorf("help: %+v", got)
	}
}

func TestServerGetsItsFlags(t *testing.T) {
	var flags cli.ServerFlags
	var fails error
	p := cli.Program{
		Args:   []string{"server", "--config", "c.toml", "--listen", ":1", "--store", "sqlite", "--data-dir", "d", "--plugin-dir", "p"},
		Server: func(_ context.Context, f cli.ServerFlags) error { flags = f; return fails },
	}
	if got := runProgram(t.Context(), p); got.code != 0 {
		t.Errorf("server: %+v, want 0", got)
	}
	if want := (cli.ServerFlags{Config: "c.toml", Listen: ":1", Store: "sqlite", DataDir: "d", PluginDir: "p"}); flags != want {
		t.Errorf("flags = %+v, want %+v", flags, want)
	}
	fails = errors.Join(errors.New("a.toml:1: x: bad"), errors.New("a.toml:2: y: bad"))
	if got := runProgram(t.Context(), p); got.code != 1 || got.stderr != "error: a.toml:1: x: bad\na.toml:2: y: bad\n" {
		t.Errorf("server: %+v, want 1 and every fault on its line", got)
	}
}

func TestConfigCheck(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.toml", "[[commands]]\nname = \"a\"\nplugin = \"ping\"\n")
	bad := write("bad.toml", "[server]\nlistne = \"x\"\n[[commands]]\nplugin = \"ping\"\n")
	if got := run(t, "", "config", "check", good); got.code != 0 || got.stdout != "ok\n" {
		t.Errorf("good: %+v, want ok", got)
	}
	got := run(t, "", "config", "check", bad)
	if got.code != 1 || !strings.Contains(got.stderr, "bad.toml:2") || !strings.Contains(got.stderr, "commands[0]") || got.stdout != "" {
		t.Errorf("bad: %+v, want 1 and all faults", got)
	}
	if got := run(t, "", "config", "check", filepath.Join(dir, "none")); got.code != 1 || !strings.HasPrefix(got.stderr, "error: ") || !strings.Contains(got.stderr, "none") {
		t.Errorf("none: %+v, want 1", got)
	}
}

func TestExitCodesOfAnswers(t *testing.T) {
	for status, code := range map[int]int{
		400: 2, 401: 4, 403: 4, 404: 5, 409: 1, 413: 2, 415: 2, 422: 2, 429: 125, 500: 125, 502: 125, 503: 125,
	} {
		h := script(t, map[string]http.HandlerFunc{"GET /job/7": says(status, `{"error":"the\u001b[31m sentence"}`)})
		got := run(t, h.URL, "job", "get", "7")
		if got.code != code || !strings.HasPrefix(got.stderr, "error: the\uFFFD[31m sentence\n") || got.stdout != "" {
			t.Errorf("%d: %+v, want code %d and the sentence, harmless", status, got, code)
		}
	}
}

func TestWithoutUser(t *testing.T) {
	h := script(t, nil)
	got := runProgram(t.Context(), cli.Program{Args: []string{"job", "list", "--server", h.URL}})
	if want := "error: no user is named\nhint: --user or HEIMDALL_USER says who you are\n"; got.code != 4 || got.stderr != want {
		t.Errorf("got %+v, want code 4 and %q", got, want)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := script(t, map[string]http.HandlerFunc{
		"POST /job":            says(202, `{"id":"7","status":"NEW"}`),
		"GET /job/7?wait=1m0s": func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() },
	})
	got := runProgram(ctx, cli.Program{Args: []string{"job", "submit", "--command-criteria", "a", "--wait", "--server", h.URL, "--user", "u"}})
	want := "job 7\nthe job goes on: heimdall job logs --follow 7\nerror: interrupted\n"
	if got.code != 130 || got.stderr != want || got.stdout != "" {
		t.Errorf("got %+v, want code 130 and %q", got, want)
	}
}

func TestImport(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{
		"good.yaml": "server: {addr: 127.0.0.1:80}\ncommands:\n- {name: a, plugin: ping, user: me}\n",
		"bad.yaml":  "server: {addr: 127.0.0.1:80}\ncommands:\n- {name: a}\n",
		"no.yaml":   "[",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const server = "[server]\nlisten = \"127.0.0.1:80\"\n"
	if got, want := run(t, "", "import", "good.yaml"), (outcome{
		0, server + "\n[[commands]]\nname = \"a\"\nplugin = \"ping\"\n",
		"good.yaml:3: commands[0].user: left out: objects have no owner\ngood.yaml: it needs these plugins in plugins.directory: ping\n",
	}); got != want {
		t.Errorf("good: got %+v, want %+v", got, want)
	}
	got := run(t, "", "import", "bad.yaml")
	if got.code != 1 || got.stdout != server+"\n[[commands]]\nname = \"a\"\n" || !strings.Contains(got.stderr, "error: what was made has faults: ") || !strings.Contains(got.stderr, "commands[0].plugin: this is missing") {
		t.Errorf("bad: got %+v, want what was made and its fault", got)
	}
	if got := run(t, "", "import", "no.yaml"); got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "no.yaml: this is not YAML") {
		t.Errorf("no YAML: got %+v, want an error", got)
	}
	if got := run(t, "", "import", "none.yaml"); got.code != 1 || !strings.Contains(got.stderr, "none.yaml") {
		t.Errorf("no file: got %+v, want an error", got)
	}
	if got := runProgram(t.Context(), cli.Program{Args: []string{"import", "-"}, Stdin: strings.NewReader("server: {addr: 127.0.0.1:80}")}); got.code != 0 || got.stdout != server {
		t.Errorf("stdin: got %+v, want %q", got, server)
	}
}
