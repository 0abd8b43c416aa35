package cli_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/cli"
)

// completed asks for what follows some words, as the scripts of the shells do.
func completed(t *testing.T, server string, words ...string) string {
	t.Helper()
	got := run(t, server, append([]string{"__complete"}, words...)...)
	if got.code != 0 {
		t.Fatalf("got %+v, want 0", got)
	}
	text, _, _ := strings.Cut(got.stdout, "\n:")
	if strings.HasPrefix(got.stdout, ":") {
		text = ""
	}
	return text
}

func TestCompletion(t *testing.T) {
	h := script(t, map[string]http.HandlerFunc{
		"GET /jobs?limit=100":                 says(200, `{"data":[{"id":"017","status":"NEW","name":"a\tb"},{"id":"018","status":"FAILED"}]}`),
		"GET /jobs?id=01%25&limit=100":        says(200, `{"data":[{"id":"017","status":"NEW"}]}`),
		"GET /commands?limit=100":             says(200, `{"data":[{"id":"ping","tags":["type:ping","x"],"description":"greets"},{"id":"sh","tags":["type:sh","x"]}]}`),
		`GET /clusters?id=a%5C_%25&limit=100`: says(200, `{"data":[{"id":"a_1"},{"id":"ab"}]}`),
		"GET /clusters?limit=100":             says(200, `{"data":[{"id":"a_1","tags":["type:l"]}]}`),
		"GET /plugins":                        says(200, `{"data":[{"name":"ping"},{"name":"shell"}]}`),
		"GET /commands?id=none%25&limit=100":  says(500, `{"error":"no"}`),
	})
	for words, want := range map[string]string{
		"job get ":                       "017\tNEW a b\n018\tFAILED",
		"job result 01":                  "017\tNEW",
		"job get 017 ":                   "",
		"command get ":                   "ping\tgreets\nsh",
		"command get none":               "",
		"cluster status a_":              "a_1",
		"cluster status a_1 ":            "active\ninactive\ndeleted",
		"job submit --command-criteria ": "type:ping\ntype:sh\nx",
		"job submit --command-criteria type:ping,type": "type:ping,type:ping\ntype:ping,type:sh",
		"resolve --cluster-criteria ":                  "type:l",
		"job list --status KIL":                        "KILLED",
		"job list -o ":                                 "table\ntsv\njson\nyaml",
		"command list --plugin s":                      "shell",
		"comp":                                         "completion\tGenerate the autocompletion script for the specified shell",
		"job submit --name ":                           "",
	} {
		if got := completed(t, h.URL, strings.Split(words, " ")...); got != want {
			t.Errorf("%q: got %q, want %q", words, got, want)
		}
	}
	if got := completed(t, "http://127.0.0.1:1", "job", "get", ""); got != "" {
		t.Errorf("without a server: got %q, want nothing", got)
	}
	got := runProgram(t.Context(), cli.Program{
		Args: []string{"__complete", "hosts", "--profile", ""},
		Env:  []string{profiles(t, "[profile.prod]\n[profile.dev]\n")},
	})
	if !strings.HasPrefix(got.stdout, "dev\nprod\n") {
		t.Errorf("profiles: got %+v, want both", got)
	}
}

// The script for bash is one that bash runs, and it asks the program.
func TestCompletionInBash(t *testing.T) {
	script := run(t, "", "completion", "bash")
	if script.code != 0 {
		t.Fatalf("got %+v, want a script", script)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"completion.bash": script.stdout,
		"heimdall":        "#!/bin/sh\n[ \"$*\" = '__complete job get 0' ] || exit 3\nprintf '017\\tNEW\\n018\\tFAILED\\n:4\\n'\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("bash", "--norc", "-c", `set -e
_get_comp_words_by_ref() { while [ $# -gt 0 ]; do case "$1" in -n) shift;; cur) cur=${COMP_WORDS[COMP_CWORD]};; prev) prev=${COMP_WORDS[COMP_CWORD-1]};; words) words=("${COMP_WORDS[@]}");; cword) cword=$COMP_CWORD;; esac; shift; done; }
_init_completion() { _get_comp_words_by_ref cur prev words cword; }
__ltrim_colon_completions() { :; }
compopt() { :; }
. ./completion.bash
COMP_WORDS=(heimdall job get 0) COMP_CWORD=3 COMP_LINE='heimdall job get 0' COMP_POINT=18 COMP_TYPE=9
COMPREPLY=()
__start_heimdall
printf '%s\n' "${COMPREPLY[@]%% *}"
`)
	c.Dir, c.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := c.CombinedOutput()
	if err != nil || string(out) != "017\n018\n" {
		t.Errorf("bash: %v: %q, want both ids", err, out)
	}
	for _, shell := range []string{"zsh", "fish", "powershell"} {
		if got := run(t, "", "completion", shell); got.code != 0 || !strings.Contains(got.stdout, "__complete") {
			t.Errorf("%s: got %+v, want a script", shell, got)
		}
	}
}
