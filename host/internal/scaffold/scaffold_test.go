package scaffold_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/scaffold"
)

const sdk = "../../../sdk"

// What is written builds, is formatted, and passes its own tests, without
// anything to be looked up.
func TestNewStandsAlone(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "spark-submit")
	if err := scaffold.New("spark-submit", folder, sdk); err != nil {
		t.Fatal(err)
	}
	for _, arguments := range [][]string{{"vet", "./..."}, {"test", "./..."}} {
		c := exec.Command("go", arguments...)
		c.Dir = folder
		c.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly", "GOPROXY=off")
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("go %s: %v\n%s", strings.Join(arguments, " "), err, out)
		}
	}
	if out, err := exec.Command("gofmt", "-l", folder).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("gofmt -l = %s, %v, want nothing", out, err)
	}
}

func TestNewRefuses(t *testing.T) {
	there := t.TempDir()
	for name, tt := range map[string]struct{ name, folder, sdk, want string }{
		"a bad name":         {"Bad_Name", filepath.Join(t.TempDir(), "x"), sdk, "cannot be the name"},
		"a path as the name": {"../x", filepath.Join(t.TempDir(), "x"), sdk, "cannot be the name"},
		"a folder in use":    {"good", there, sdk, "is there already"},
		"no sdk":             {"good", filepath.Join(t.TempDir(), "x"), t.TempDir(), "is not the sdk"},
	} {
		t.Run(name, func(t *testing.T) {
			err := scaffold.New(tt.name, tt.folder, tt.sdk)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New = %v, want an error with %q", err, tt.want)
			}
			if tt.folder == there {
				return
			}
			if _, err := os.Stat(tt.folder); err == nil {
				t.Error("a folder was left")
			}
		})
	}
}
