package importer_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heimdall-run/heimdall/host/internal/config"
	"github.com/heimdall-run/heimdall/host/internal/importer"
)

var update = flag.Bool("update", false, "write the golden files")

// What is made of each file, and what is said of it, are kept beside it.
func TestConvert(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("got %v, %v, want files", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			toml, notes, err := importer.Convert(text)
			if err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			for _, n := range notes {
				said.WriteString(n.In(filepath.Base(file)) + "\n")
			}
			name := strings.TrimSuffix(file, ".yaml")
			golden(t, name+".toml", toml)
			golden(t, name+".notes", said.String())
			load(t, toml)
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// load returns a configuration, which must be one.
func load(t *testing.T, toml string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "heimdall.toml")
	if err := os.WriteFile(file, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file, nil)
	if err == nil {
		_, err = c.Catalog()
	}
	if err != nil {
		t.Fatalf("what was made is no configuration: %v\n%s", err, toml)
	}
	return c
}

// Every text means what it has meant: quotes, lines, and dollars, which are the
// beginning of a reference here.
func TestTextsMeanWhatTheyHaveMeant(t *testing.T) {
	const key = `$k ${x}."`
	texts := []any{
		"", "plain", `a "b" \ c`, "it's", "'''", "a\nb", "a\n'''\nb", "a\nb'", "tab\there", "\r\nx", "é ☃ 😀", "\u2028",
		"$", "$$", "$$$", "${", "${}", "${HOME}", "$${x}", "a$1b", "${env:X} ${file:/y}", "x$", "two\n${lines}\n$$",
	}
	given := map[string]any{"commands": []any{map[string]any{
		"name": "n", "plugin": "p", "description": "d", "context": map[string]any{"texts": texts, key: map[string]any{"a.b": "c"}},
	}}}
	yaml, err := json.Marshal(given) // which is YAML
	if err != nil {
		t.Fatal(err)
	}
	toml, _, err := importer.Convert(yaml)
	if err != nil {
		t.Fatal(err)
	}
	resolved, secrets, err := config.Resolve(load(t, toml).Commands[0].Context, nil, nil)
	if err != nil || len(secrets) > 0 {
		t.Fatalf("the context has references: %v, %v\n%s", secrets, err, toml)
	}
	want := map[string]any{"texts": texts, key: map[string]any{"a.b": "c"}}
	var got any
	if err := json.Unmarshal(resolved, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(any(want), got); diff != "" {
		t.Errorf("context (-want +got):\n%s\nin\n%s", diff, toml)
	}
}

func TestConvertRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"nothing":           {"", "empty"},
		"a comment":         {"# nothing\n", "empty"},
		"a list":            {"- a\n", "not a configuration"},
		"what is no YAML":   {"a: [", "not YAML"},
		"a mapping of none": {"{}", ""},
	} {
		toml, notes, err := importer.Convert([]byte(c.text))
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: error = %v, want none", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || toml != "" || notes != nil {
			t.Errorf("%s: got %q, %v, %v, want an error with %q", name, toml, notes, err, c.want)
		}
	}
}

// What nests without an end, or nearly, is not followed for ever.
func TestConvertRefusesWhatNestsWithoutEnd(t *testing.T) {
	laugh := "commands:\n- name: a\n  plugin: p\n  context:\n    a0: &a0 [x]\n"
	for i := range 30 {
		laugh += fmt.Sprintf("    a%d: &a%d [*a%d, *a%d, *a%d]\n", i+1, i+1, i, i, i)
	}
	for name, text := range map[string]string{
		"a list of itself":       "commands:\n- name: a\n  plugin: p\n  context: {x: &x [*x]}\n",
		"a mapping of itself":    "commands:\n- name: a\n  plugin: p\n  context: &x {x: *x}\n",
		"a merge of itself":      "commands:\n- name: a\n  plugin: p\n  context: &x {<<: *x, y: 1}\n",
		"a laugh of a billion":   laugh,
		"a root of its own kind": "&x\na: *x\n",
	} {
		if toml, _, err := importer.Convert([]byte(text)); err == nil {
			t.Errorf("%s: got %d bytes, want an error", name, len(toml))
		}
	}
	deep := "commands:\n- name: a\n  plugin: p\n  context: {x: " + strings.Repeat("[", 90) + strings.Repeat("]", 90) + "}\n"
	toml, notes, err := importer.Convert([]byte(deep))
	if err != nil || len(notes) < 2 || !strings.Contains(notes[0].Text, "too deep") {
		t.Fatalf("got %v, %v, want to be told that it is too deep", notes, err)
	}
	load(t, toml)
}
