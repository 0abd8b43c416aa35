package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"github.com/heimdall-run/heimdall/sdk/sdktest"
)

type keys = map[string]any

func script(text string) keys {
	return keys{"command": []string{"sh", "-c", text, "sh"}}
}

func TestArgumentsAreAppended(t *testing.T) {
	t.Parallel()
	got := sdktest.Run(t, create, keys{"command": []string{"printf", "[%s]"}}, keys{"arguments": []string{"a b", "", "$HOME", "ü"}})
	if want := "[a b][][$HOME][ü]"; got.Stdout != want || got.Err != nil {
		t.Errorf("stdout = %q (%v), want %q", got.Stdout, got.Err, want)
	}
	if got.ContentType != "" {
		t.Errorf("result of type %q, want none", got.ContentType)
	}
}

func TestSurroundingsOfTheProgram(t *testing.T) {
	t.Setenv("SECRET_OF_THE_HOST", "hidden")
	settings := script("pwd; ls; env; cat; echo oops >&2")
	settings["environment"] = keys{"COLOR": "blue", "HEIMDALL_USER": "someone"}
	got := sdktest.Run(t, create, settings, nil, sdktest.User("ann"))
	if got.Err != nil {
		t.Fatal(got.Err)
	}
	for _, want := range []string{
		got.Dir + "\n", "context.json\n", "COLOR=blue\n", "HEIMDALL_USER=someone\n", "HEIMDALL_ATTEMPT=1\n",
		"HEIMDALL_JOB_ID=00000000-0000-4000-8000-000000000001\n", "PATH=",
	} {
		if !strings.Contains(got.Stdout, want) {
			t.Errorf("stdout = %q, want %q in it", got.Stdout, want)
		}
	}
	if strings.Contains(got.Stdout, "SECRET") {
		t.Errorf("stdout = %q, want nothing of the host's environment", got.Stdout)
	}
	if want := "oops\n"; got.Stderr != want {
		t.Errorf("stderr = %q, want %q", got.Stderr, want)
	}
}

func TestInputOnStdin(t *testing.T) {
	t.Parallel()
	settings := script(`cat; echo; echo "$@"`)
	settings["stdin"] = "input"
	got := sdktest.Run(t, create, settings, json.RawMessage(`{"query": "select 1", "big": 12345678901234567890, "arguments": ["x"]}`))
	want := `{"query": "select 1", "big": 12345678901234567890, "arguments": ["x"]}` + "\nx\n"
	if got.Err != nil || got.Stdout != want {
		t.Errorf("stdout = %q (%v), want %q", got.Stdout, got.Err, want)
	}
}

func TestContextFile(t *testing.T) {
	t.Parallel()
	got := sdktest.Run(t, create, script("cat context.json"), keys{"arguments": []string{"x"}}, sdktest.User("ann"),
		sdktest.Request(func(r *pluginpb.StartRequest) {
			r.Job.Tags = []string{"team:data"}
			r.Cluster.Context = []byte(`{"password":"hidden"}`)
		}))
	var file keys
	if err := json.Unmarshal([]byte(got.Stdout), &file); err != nil {
		t.Fatalf("context.json: %v", err)
	}
	want := keys{
		"job": keys{
			"id": "00000000-0000-4000-8000-000000000001", "name": "test", "version": "0.0.1", "user": "ann",
			"tags": []any{"team:data"}, "context": keys{"arguments": []any{"x"}},
		},
		"command": keys{"id": "command", "name": "command", "version": "0.0.1", "tags": []any{}},
		"cluster": keys{"id": "cluster", "name": "cluster", "version": "0.0.1", "tags": []any{}},
	}
	if !reflect.DeepEqual(file, want) {
		t.Errorf("context.json = %v, want %v", file, want)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	code := func(n int) *int { return &n }
	for name, test := range map[string]struct {
		settings, input any
		class           sdk.Class
		message         string
		code            *int
		signal          string
	}{
		"exit status":         {settings: script("exit 3"), class: sdk.Failed, message: "exit status 3", code: code(3)},
		"signal":              {settings: script("kill -KILL $$"), class: sdk.Failed, message: "signal: killed", signal: "SIGKILL"},
		"a result despite it": {settings: script("echo nonsense >result.json; exit 4"), class: sdk.Failed, message: "exit status 4", code: code(4)},
		"no such program":     {settings: keys{"command": []string{"no-such-program"}}, class: sdk.Internal, message: "start no-such-program: no such program in PATH"},
		"no program":          {settings: keys{"command": []string{}}, class: sdk.Internal, message: "names no program"},
		"no setting":          {settings: keys{}, class: "", message: `"command" is missing`},
		"unknown setting":     {settings: keys{"command": []string{"true"}, "comand": 1}, class: "", message: `unknown key "comand"`},
		"unknown stdin":       {settings: keys{"command": []string{"true"}, "stdin": "tty"}, class: "", message: `stdin is "tty"`},
		"unknown key":         {settings: script("true"), input: keys{"argument": 1}, class: sdk.Invalid, message: `unknown key "argument"`},
		"wrong type":          {settings: script("true"), input: keys{"arguments": "x"}, class: sdk.Invalid, message: "/arguments must be an array, got a string"},
		"NUL":                 {settings: script("true"), input: keys{"arguments": []string{"a", "b\x00"}}, class: sdk.Invalid, message: "arguments[1] holds a NUL"},
		"too long":            {settings: script("true"), input: keys{"arguments": []string{strings.Repeat("x", 1<<20)}}, class: sdk.Invalid, message: "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := sdktest.Run(t, create, test.settings, test.input)
			if got.Err == nil {
				t.Fatal("Err = nil, want one")
			}
			if test.class != "" && got.Err.Class != test.class || !strings.Contains(got.Err.Message, test.message) {
				t.Errorf("Err = %s: %q, want %s: %q", got.Err.Class, got.Err.Message, test.class, test.message)
			}
			if !reflect.DeepEqual(got.Err.ExitCode, test.code) || got.Err.Signal != test.signal {
				t.Errorf("exit code %v, signal %q; want %v, %q", got.Err.ExitCode, got.Err.Signal, test.code, test.signal)
			}
			if got.ContentType != "" {
				t.Errorf("result of type %q, want none", got.ContentType)
			}
		})
	}
}

func TestStopTakesTheWholeTree(t *testing.T) {
	t.Parallel()
	const deaf = `
(setsid sh -c 'trap "" TERM; while :; do echo alive >>"$0/alive"; sleep 0.01; done' "$PWD" &)
trap "" TERM
touch up
while :; do sleep 0.1; done`
	for name, test := range map[string]struct {
		opts  []sdktest.Option
		stop  func(*sdktest.Attempt)
		class sdk.Class
	}{
		"canceled":    {stop: func(a *sdktest.Attempt) { a.Cancel(time.Hour) }, class: sdk.Canceled},
		"killed":      {stop: (*sdktest.Attempt).Kill, class: sdk.Canceled},
		"out of time": {opts: []sdktest.Option{sdktest.Deadline(500 * time.Millisecond)}, class: sdk.Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := script(deaf)
			settings["grace"] = "50ms"
			a := sdktest.Start(t, create, settings, nil, test.opts...)
			waitFor(t, filepath.Join(a.Dir(), "up"))
			waitFor(t, filepath.Join(a.Dir(), "alive"))
			if test.stop != nil {
				test.stop(a)
			}
			got := a.Wait()
			if got.Err == nil || got.Err.Class != test.class || got.Err.Signal != "SIGKILL" {
				t.Errorf("Err = %+v, want %s by SIGKILL", got.Err, test.class)
			}
			if left := inFolder(t, got.Dir); len(left) > 0 {
				t.Errorf("left = %v, want none", left)
			}
		})
	}
}

func TestProgramMayEndInAnOrderlyWay(t *testing.T) {
	t.Parallel()
	a := sdktest.Start(t, create, script(`trap 'echo bye; exit 0' TERM; touch up; while :; do sleep 0.01; done`), nil)
	waitFor(t, filepath.Join(a.Dir(), "up"))
	a.Cancel(time.Hour)
	got := a.Wait()
	if want := "bye\n"; got.Stdout != want {
		t.Errorf("stdout = %q, want %q", got.Stdout, want)
	}
	if got.Err == nil || got.Err.Class != sdk.Canceled {
		t.Errorf("Err = %+v, want %s", got.Err, sdk.Canceled)
	}
}

// waitFor waits until another process has made a file.
func waitFor(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s within 20s", path)
		}
	}
}

// inFolder lists the processes whose current folder is dir.
func inFolder(t *testing.T, dir string) (found []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == dir {
			found = append(found, link)
		}
	}
	return found
}

func TestExamplesDoWhatTheySay(t *testing.T) {
	t.Parallel()
	for _, example := range examples() {
		t.Run(example.Title, func(t *testing.T) {
			t.Parallel()
			a := sdktest.Start(t, create, example.Settings, example.Input, sdktest.Plugin(sdk.Docs(docs)))
			if example.Kind == sdk.Long {
				a.Until(func(e *pluginpb.Event) bool { return e.GetStarted() != nil })
				a.Cancel(time.Minute)
			}
			got := a.Wait()
			switch example.Kind {
			case sdk.Long, sdk.Fails:
				if got.Err == nil {
					t.Error("Err = nil, want one")
				}
				return
			case sdk.Logs:
				if got.Stdout == "" || got.Stderr == "" {
					t.Error("a log is empty")
				}
			case sdk.Rows:
				if len(got.Rows) < 2 || len(got.Columns) < 2 {
					t.Errorf("%d rows, %d columns; want several", len(got.Rows), len(got.Columns))
				}
			case sdk.Big:
				if len(got.Rows) != 100_000 {
					t.Errorf("%d rows, want 100000", len(got.Rows))
				}
			}
			if got.Err != nil {
				t.Errorf("Err = %v, want none", got.Err)
			}
		})
	}
}
