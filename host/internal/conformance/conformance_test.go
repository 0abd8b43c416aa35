package conformance_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/checkreport"
	"github.com/heimdall-run/heimdall/host/internal/conformance"
)

func TestCasesMakeSense(t *testing.T) {
	cases := conformance.Cases()
	if len(cases) < 40 {
		t.Errorf("there are %d cases, want at least 40", len(cases))
	}
	groups, last := []string{}, ""
	seen := map[string]bool{}
	for _, c := range cases {
		if seen[c.ID] || c.ID == "" || c.Title == "" || strings.ContainsAny(c.ID+c.Title, "\n|") {
			t.Errorf("case %+v, want an id of its own and a title of one line", c)
		}
		seen[c.ID] = true
		if c.Group != last && slices.Contains(groups, c.Group) {
			t.Errorf("group %s is in pieces, want it together", c.Group)
		}
		if c.Group != last {
			groups, last = append(groups, c.Group), c.Group
		}
	}
}

func TestCheckRefusesArguments(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	good := write("heimdall-plugin-good", 0o755)
	for name, test := range map[string]struct {
		binary, only, want string
	}{
		"another name":   {write("good", 0o755), "", "heimdall-plugin-NAME"},
		"no such file":   {filepath.Join(dir, "heimdall-plugin-none"), "", "no such file"},
		"a folder":       {filepath.Dir(dir) + "/.", "", "heimdall-plugin-NAME"},
		"not executable": {write("heimdall-plugin-plain", 0o644), "", "chmod +x"},
		"an unknown id":  {good, "handshake-lime", `no case "handshake-lime"`},
	} {
		t.Run(name, func(t *testing.T) {
			config := conformance.Config{Binary: test.binary}
			if test.only != "" {
				config.Only = []string{test.only}
			}
			_, err := conformance.Check(t.Context(), config)
			if _, ok := errors.AsType[*conformance.ArgumentError](err); !ok || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Check = %v, want an error of the arguments with %q", err, test.want)
			}
		})
	}
}

// What never was a plugin fails the first case, and the others say nothing.
func TestStrangerFailsTheFirstCase(t *testing.T) {
	dir := t.TempDir()
	for name, script := range map[string]string{
		"talks":  "#!/bin/sh\necho hello\nsleep 60\n",
		"exits":  "#!/bin/sh\necho no licence >&2\nexit 3\n",
		"none":   "no program at all",
		"silent": "#!/bin/sh\nsleep 60\n",
		"drowns": "#!/bin/sh\nwhile :; do cat /dev/zero >&2; done\n",
		"floods": "#!/bin/sh\nhead -c 100000 /dev/zero\nsleep 60\n",
	} {
		t.Run(name, func(t *testing.T) {
			binary := filepath.Join(dir, "heimdall-plugin-"+name)
			if err := os.WriteFile(binary, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			report := check(t, conformance.Config{Binary: binary, StartTimeout: time.Second})
			if report.Passed || report.Counts.Failed != 1 || report.Counts.Passed != 0 {
				t.Errorf("passed = %t with %+v, want one failed case", report.Passed, report.Counts)
			}
			if first := report.Cases[0]; first.Result != checkreport.Failed || !strings.Contains(first.Detail, "saw: ") {
				t.Errorf("%s = %s (%s), want failed, and what was seen", first.ID, first.Result, first.Detail)
			}
		})
	}
}

func TestExamplesOfAFile(t *testing.T) {
	examples, err := conformance.ReadExamples([]byte(`[
		{"kind": "quick", "title": "Greets", "input": {"text": "file"}},
		{"kind": "table", "title": "Elsewhere", "needs": ["env:HEIMDALL_TEST_NOT_SET"], "input": {"rows": 2}}
	]`))
	if err != nil {
		t.Fatal(err)
	}
	report := check(t, conformance.Config{
		Binary: animal(t, "healthy"), Examples: examples, Only: []string{"events-end", "result-table", "cancel-graceful"},
	})
	if !report.Partial {
		t.Error("Partial = false, want true: not all cases were asked for")
	}
	got := map[string]checkreport.Case{}
	for _, c := range report.Cases {
		got[c.ID] = c
	}
	if c := got["events-end"]; c.Result != checkreport.Passed {
		t.Errorf("events-end = %s, %s; want passed", c.Result, c.Detail)
	}
	if c := got["result-table"]; c.Result != checkreport.NotExercised || !strings.Contains(c.Detail, "env:HEIMDALL_TEST_NOT_SET") {
		t.Errorf("result-table = %s, %q; want not exercised, and what it needs", c.Result, c.Detail)
	}
	if c := got["cancel-graceful"]; c.Result != checkreport.NotExercised || c.Detail != "no example of kind long" {
		t.Errorf("cancel-graceful = %s, %q; want not exercised: no example of kind long", c.Result, c.Detail)
	}
}

func TestReadExamplesRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "JSON array",
		"{}":                             "JSON array",
		`[{"kind": "slow"}]`:             `kind "slow"`,
		`[{"kind": "quick", "args": 1}]`: "unknown field",
		`[] []`:                          "more behind",
	} {
		if _, err := conformance.ReadExamples([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ReadExamples(%q) = %v, want an error with %q", text, err, want)
		}
	}
}

func TestCheckIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := conformance.Check(ctx, conformance.Config{
		Binary: animal(t, "healthy"), Only: []string{"examples-long"}, Host: host(),
		Ended: func(c checkreport.Case) {
			if c.ID == "describe-answers" {
				cancel()
			}
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Check = %v, want that it was interrupted", err)
	}
}
