package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// defect is a fault of the code that the checker must find: in one file of the
// host one text is replaced by another.
type defect struct {
	file     string // below the module of the host
	old, new string
	provoke  func(ctx context.Context, r *rig) error // does what makes it show
	finds    string                                  // a rule
}

var defects = map[string]defect{
	"no give-back": {
		file:    "internal/queue/doubt.go",
		old:     "if !q.withdraw(ctx) || len(orphans) == 0 {",
		new:     "if !q.withdraw(ctx) || len(orphans) >= 0 {",
		provoke: loseClaim,
		finds:   lost,
	},
}

// The checker finds each defect, and nothing where the code is as it is: it is
// not what is done to the hosts that breaks the promise.
func TestDefects(t *testing.T) {
	t.Parallel()
	faulty := buildFaulty(t)
	for name, d := range defects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var both sync.WaitGroup // beside each other: they mostly wait
			for what, heimdall := range map[string]string{"seeded": d.build(t), "not seeded": shipped(t)} {
				p := testPlan(t, "postgres", heimdall, faulty)
				p.hosts, p.settle = 2, 10*time.Second
				both.Go(func() {
					rep, err := try(t.Context(), p, d.provoke)
					if err != nil {
						t.Errorf("%s: %v; what is left of the run is in %s", what, err, keep(t, p))
						return
					}
					found := map[string]bool{}
					for _, v := range rep.violations {
						found[v.rule] = true
					}
					if seeded := what == "seeded"; seeded && !found[d.finds] || !seeded && len(found) > 0 {
						t.Errorf("%s: violations = %v, want %q only where the defect is seeded\n%s", what, found, d.finds, table(rep))
					}
				})
			}
			both.Wait()
		})
	}
}

// build builds the host with the defect. It fails when the text that is to be
// replaced is not there, once, any more.
func (d defect) build(t *testing.T) string {
	t.Helper()
	source, err := filepath.Abs(filepath.Join(moduleRoot, d.file))
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(content), d.old); n != 1 {
		t.Fatalf("%s has the text %q %d times, want once: say where the defect is to be seeded now", d.file, d.old, n)
	}
	folder := t.TempDir()
	replaced, overlay := filepath.Join(folder, "defect.go"), filepath.Join(folder, "overlay.json")
	replacements, err := json.Marshal(map[string]any{"Replace": map[string]string{source: replaced}})
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		replaced: strings.Replace(string(content), d.old, d.new, 1),
		overlay:  string(replacements),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(folder, "heimdall")
	build(t, moduleRoot, file, "-overlay", overlay, "./cmd/heimdall")
	return file
}

// jobs submits jobs of a kind to a host, one after the other.
func (r *rig) jobs(ctx context.Context, h *host, n int, w work) (ids []string, err error) {
	for range n {
		id, acked := r.submitTo(ctx, h, w)
		if !acked {
			return nil, fmt.Errorf("host %s took %d jobs of %d", h.name, len(ids), n)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// loseClaim loses the answer to a claim of jobs that wait for a slot.
func loseClaim(ctx context.Context, r *rig) error {
	h := r.hosts[0]
	if err := r.hosts[1].stop(); err != nil { // it would take them
		return err
	}
	if _, err := r.jobs(ctx, h, slots+8, work{command: plain, input: map[string]any{"sleep": "1s"}}); err != nil {
		return err
	}
	wrote, err := r.proxies[0].cut(ctx, true, "FROM job_ready", cutTime)
	r.fault("the answer to a claim was lost: %.60q", wrote)
	if err != nil {
		return err
	}
	return r.hosts[1].start(ctx)
}
