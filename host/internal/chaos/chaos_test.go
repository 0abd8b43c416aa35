package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// repository is where all sources lie, seen from here.
const repository = "../../.."

// shortTime is the most that the short form may take.
const shortTime = 90 * time.Second

// Sixty faults of every kind, and nothing is lost and nothing is done twice.
func TestShortForm(t *testing.T) {
	t.Parallel()
	faulty := buildFaulty(t)
	for _, store := range []string{"postgres", "sqlite"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			p := testPlan(t, store, shipped(t), faulty)
			p.seed, p.counts = 1, share(60, store)
			rep, err := run(t.Context(), p, func(int, int) {})
			if err != nil {
				t.Fatalf("%v; what is left of the run is in %s", err, keep(t, p))
			}
			t.Log(table(rep))
			for kind, n := range rep.counts {
				if n == 0 && kind.of(store) {
					t.Errorf("%s = 0 times, want every kind of fault", kind)
				}
			}
			if n := rep.sum().acked; n < 200 {
				t.Errorf("jobs acknowledged = %d, want at least 200: less shows little", n)
			}
			if len(rep.violations) > 0 {
				t.Errorf("violations = %d, want none; what is left of the run is in %s", len(rep.violations), keep(t, p))
			}
			if rep.took > shortTime {
				t.Errorf("it took %v, want at most %v", rep.took, shortTime)
			}
		})
	}
}

// testPlan is a plan for three hosts on PostgreSQL, or one on SQLite.
func testPlan(t *testing.T, store, heimdall, faulty string) plan {
	t.Helper()
	p := plan{
		heimdall: heimdall, faulty: faulty, store: store,
		hosts: 3, lease: time.Second, clients: 32, rate: 80, settle: time.Minute,
	}
	if store == "sqlite" { // one host: faults wait for each other
		p.hosts, p.clients, p.lease = 1, 8, time.Second/2
	}
	var err error
	if p.scratch, err = os.MkdirTemp("", "chaos"); err != nil { // short: sockets lie below it
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := os.Stat(kept(p)); err != nil {
			_ = os.RemoveAll(p.scratch)
		}
	})
	return p
}

// keep lets the folder of a run stay.
func keep(t *testing.T, p plan) string {
	t.Helper()
	if err := os.WriteFile(kept(p), nil, 0o600); err != nil {
		t.Error(err)
	}
	return p.scratch
}

func kept(p plan) string { return filepath.Join(p.scratch, "kept") }

func table(rep *report) string {
	var text bytes.Buffer
	text.WriteByte('\n')
	rep.print(&text)
	return text.String()
}

// shipped returns the binary of the host that make build has made.
func shipped(t *testing.T) string {
	t.Helper()
	file, err := filepath.Abs(filepath.Join(repository, "bin", "heimdall"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("the faults need the shipped binary: %v; run make build", err)
	}
	return file
}

func buildFaulty(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "heimdall-plugin-faulty")
	build(t, filepath.Join(repository, "plugins", "faulty"), file, ".")
	return file
}

// build builds a program. Without cgo, as what is shipped.
func build(t *testing.T, folder, file string, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", append([]string{"build", "-buildvcs=false", "-trimpath", "-o", file}, args...)...)
	c.Dir = folder
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build in %s: %v\n%s", folder, err, out)
	}
}
