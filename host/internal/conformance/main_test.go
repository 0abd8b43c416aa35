package conformance_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/heimdall-run/heimdall/host/internal/conformance"
)

// hostRole makes the test binary a host that the check can kill.
const hostRole = "HEIMDALL_TEST_HOST"

func TestMain(m *testing.M) {
	if os.Getenv(hostRole) != "" {
		if err := conformance.Host(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(zoo.folder)
		os.Exit(code)
	}))
}

// host is the command line of such a host.
func host() []string {
	return []string{"/usr/bin/env", hostRole + "=1", os.Args[0]}
}

// zoo is the plugin of all breeds, built once.
var zoo struct {
	once   sync.Once
	folder string
	err    error
}

// animal returns the binary of a breed.
func animal(t testing.TB, breed string) string {
	t.Helper()
	zoo.once.Do(func() {
		if zoo.folder, zoo.err = os.MkdirTemp("", "zoo"); zoo.err != nil {
			return
		}
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(zoo.folder, "zoo"), "../zoo")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			zoo.err = fmt.Errorf("build the zoo: %w\n%s", err, out)
		}
	})
	if zoo.err != nil {
		t.Fatal(zoo.err)
	}
	file := filepath.Join(zoo.folder, "heimdall-plugin-"+breed)
	if err := os.Link(filepath.Join(zoo.folder, "zoo"), file); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	return file
}
