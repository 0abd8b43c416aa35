package scaffold_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/checkreport"
	"github.com/heimdall-run/heimdall/host/internal/conformance"
	"github.com/heimdall-run/heimdall/host/internal/scaffold"
)

// hostRole makes the test binary a host that the check can kill.
const hostRole = "HEIMDALL_TEST_HOST"

func TestMain(m *testing.M) {
	if os.Getenv(hostRole) == "" {
		os.Exit(m.Run())
	}
	if err := conformance.Host(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const sdk = "../../../sdk"

// What is written builds, is formatted, passes its own tests and the check,
// without anything to be looked up.
func TestNewStandsAlone(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "spark-submit")
	if err := scaffold.New("spark-submit", folder, sdk); err != nil {
		t.Fatal(err)
	}
	for _, arguments := range [][]string{{"vet", "./..."}, {"test", "./..."}, {"build", "-o", "heimdall-plugin-spark-submit", "."}} {
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
	passes(t, filepath.Join(folder, "heimdall-plugin-spark-submit"))
}

// Any name that a host accepts makes a module that compiles.
func TestNewTakesAnyName(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "2_my--view")
	if err := scaffold.New("2_my--view", folder, sdk); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("go", "vet", "./...")
	c.Dir = folder
	c.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly", "GOPROXY=off")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
}

// passes checks the binary of a plugin.
func passes(t *testing.T, binary string) {
	t.Helper()
	report, err := conformance.Check(t.Context(), conformance.Config{
		Binary: binary, Host: []string{"/usr/bin/env", hostRole + "=1", os.Args[0]},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range report.Cases {
		if c.Result == checkreport.Failed {
			t.Errorf("%s = %s, want passed\n%s", c.ID, c.Result, c.Detail)
		}
		if c.ID == "logs" && c.Result != checkreport.Passed {
			t.Errorf("logs = %s, want an example for it", c.Result)
		}
	}
	if !report.Passed || report.Counts.Passed < 70 {
		t.Errorf("passed = %t with %+v, want at least 70 cases that passed", report.Passed, report.Counts)
	}
}

func TestNewRefuses(t *testing.T) {
	there, workspace := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(workspace, "go.work"), []byte("go 1.26\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ name, folder, sdk, want string }{
		"a bad name":         {"Bad_Name", filepath.Join(t.TempDir(), "x"), sdk, "is no name for a plugin"},
		"a path as the name": {"../x", filepath.Join(t.TempDir(), "x"), sdk, "is no name for a plugin"},
		"the file's name":    {"heimdall-plugin-csv", filepath.Join(t.TempDir(), "x"), sdk, "leave heimdall-plugin- out and call it csv"},
		"below a go.work":    {"good", filepath.Join(workspace, "x"), sdk, "go to a folder outside of " + workspace},
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
