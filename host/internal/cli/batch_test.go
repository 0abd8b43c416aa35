package cli_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/cli"
)

func TestSubmitBatch(t *testing.T) {
	const good = `{"index":0,"status":202,"id":"7"}`
	const bad = `{"index":1,"status":422,"error":"no pair"}`
	answer := good + "\n"
	h := script(t, map[string]http.HandlerFunc{"POST /jobs": func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Content-Type"); got != "application/x-ndjson" {
			t.Errorf("Content-Type = %s, want lines", got)
		}
		w.WriteHeader(200)
		_, _ = io.WriteString(w, answer)
	}})
	const lines = `{"command_criteria":["a"]}` + "\n" + `{"command_criteria":["b"]}` + "\n"
	file := filepath.Join(t.TempDir(), "jobs")
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args   []string
		answer string
		want   outcome
	}{
		"a file":      {[]string{file}, good + "\n", outcome{0, "1\t202\t7\t\n", ""}},
		"stdin":       {[]string{"-"}, good + "\n", outcome{0, "1\t202\t7\t\n", ""}},
		"a refusal":   {[]string{file}, good + "\n" + bad + "\n", outcome{1, "1\t202\t7\t\n2\t422\t\tno pair\n", "error: 1 of 2 jobs were refused\n"}},
		"the answer":  {[]string{file, "-o", "json"}, good + "\n" + bad + "\n", outcome{1, good + "\n" + bad + "\n", "error: 1 of 2 jobs were refused\n"}},
		"half of one": {[]string{file}, good + "\n" + `{"index":`, outcome{125, "1\t202\t7\t\n", "error: the answer to a batch of jobs is cut off or not what a host sends: unexpected EOF\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			answer = c.answer
			got := runProgram(t.Context(), cli.Program{
				Args:  append([]string{"job", "submit", "--server", h.URL, "--user", "u", "--batch"}, c.args...),
				Stdin: strings.NewReader(lines),
			})
			got.stderr, _, _ = strings.Cut(got.stderr, "hint: ")
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if last := h.requests[len(h.requests)-1]; last != "POST /api/v1/jobs "+lines {
				t.Errorf("request = %q, want the lines as they are", last)
			}
		})
	}
}
