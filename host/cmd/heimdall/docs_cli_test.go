package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The sessions of the page about the command line go as it shows them: what
// stands behind $ and > is run, in one folder, and prints what stands below it, as
// on a terminal; … is any text, and alone on a line any lines. <!-- exit 3 -->
// behind a session is the exit code of its last command, if that is not 0. $ID is
// the id that was printed last.
func TestCommandLineSessions(t *testing.T) {
	const page = "docs/cli.md"
	address, folder, id := startDocHost(t, "configs/heimdall.toml"), t.TempDir(), ""
	bin, err := filepath.Abs(checkout + "bin")
	if err != nil {
		t.Fatal(err)
	}
	blocks := blocksOf(t, page, "console")
	if len(blocks) < 10 {
		t.Fatalf("%s has %d sessions, want more", page, len(blocks))
	}
	uuid := regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	for _, b := range blocks {
		var script, want strings.Builder
		for line := range strings.Lines(b.text) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				script.WriteString(command)
			} else if command, ok := strings.CutPrefix(line, "> "); ok {
				script.WriteString(command)
			} else {
				want.WriteString(line)
			}
		}
		c := exec.Command("sh", "-c", script.String())
		c.Dir = folder
		c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HEIMDALL_SERVER="+address, "HEIMDALL_USER=ann",
			"HEIMDALL_OUTPUT=table", "HEIMDALL_PROFILE=", "XDG_CONFIG_HOME="+folder, "ID="+id)
		out, err := c.CombinedOutput()
		if c.ProcessState == nil {
			t.Fatal(err)
		}
		code := 0
		if text, ok := strings.CutPrefix(b.note, "exit "); ok {
			code, _ = strconv.Atoi(text)
		}
		if got := c.ProcessState.ExitCode(); got != code {
			t.Errorf("%s:%d: got exit code %d, want %d:\n%s", page, b.line, got, code, out)
		}
		if got := trimLines(string(out)); !shown(want.String()).MatchString(got) {
			t.Errorf("%s:%d: got\n%s\nwant\n%s", page, b.line, got, want.String())
		}
		if ids := uuid.FindAllString(string(out), -1); ids != nil {
			id = ids[len(ids)-1]
		}
	}
}

// shown returns what text of a page stands for.
func shown(text string) *regexp.Regexp {
	pattern := regexp.QuoteMeta(trimLines(text))
	pattern = regexp.MustCompile(`(?m)^…\n`).ReplaceAllString(pattern, "(.*\n)*")
	return regexp.MustCompile("^" + strings.ReplaceAll(pattern, "…", ".*") + "$")
}

// trimLines cuts the space behind lines: that of the last column, and what editors
// take away.
func trimLines(text string) string {
	return regexp.MustCompile(`(?m)[ \t\r]+$`).ReplaceAllString(text, "")
}
