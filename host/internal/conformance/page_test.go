package conformance_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/conformance"
)

var update = flag.Bool("update", false, "write the list of the cases into the page")

// The page lists the cases as they are.
func TestPageListsTheCases(t *testing.T) {
	const page, head = "../../../docs/conformance.md", "## Cases\n\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, got, ok := strings.Cut(string(text), head)
	if !ok {
		t.Fatalf("%s has no heading %q", page, head)
	}
	var want strings.Builder
	want.WriteString("| case | what must hold | needs an example of kind |\n|---|---|---|\n")
	for _, c := range conformance.Cases() {
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", c.ID, c.Title, strings.Join(c.Needs, " or "))
	}
	if *update {
		if err := os.WriteFile(page, []byte(before+head+want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want.String() {
		t.Errorf("%s does not list the cases as they are; go test -run %s -update mends it", page, t.Name())
	}
}
