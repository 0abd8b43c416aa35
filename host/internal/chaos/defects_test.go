package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// defect is a fault of the code that the checker must find: in one file texts are
// replaced by others.
type defect struct {
	file    string                                  // below the repository: of the host, or of the sdk that the plugin is built with
	texts   []string                                // the old, the new, and so on
	provoke func(ctx context.Context, r *rig) error // does what makes it show
	finds   string                                  // a rule
}

var defects = map[string]defect{
	"no give-back": {
		file:    "host/internal/queue/doubt.go",
		texts:   []string{"if !q.withdraw(ctx) || len(orphans) == 0 {", "if !q.withdraw(ctx) || len(orphans) >= 0 {"},
		provoke: loseClaim,
		finds:   lost,
	},
	"no fence": {
		file: "host/internal/store/postgres_end.go",
		texts: []string{
			"WHERE l.job_id = i.job_id AND l.attempt = i.attempt AND l.host_id = i.host_id AND l.epoch = i.epoch", "WHERE l.job_id = i.job_id",
			// The key of the attempts is a fence as well.
			"COALESCE(started_at, marked_at), ended_at\n\t\tFROM gone\n", "COALESCE(started_at, marked_at), ended_at\n\t\tFROM gone\n\t\tON CONFLICT DO NOTHING\n",
		},
		provoke: endLate,
		finds:   wentOn,
	},
	"no self-fence": {
		file:    "sdk/lease.go",
		texts:   []string{"if expired && (a.request.GetRetryable() ||", "if expired && (false ||"},
		provoke: func(ctx context.Context, r *rig) error { return r.takenOver(ctx, retried) },
		finds:   overlap,
	},
	"requeue everything": {
		file:    "host/internal/store/reap.go",
		texts:   []string{"elsewhere := o.retry.RunsElsewhere(o.retries)", "elsewhere := true"},
		provoke: func(ctx context.Context, r *rig) error { return r.takenOver(ctx, plain) },
		finds:   double,
	},
	"no spool": {
		file:    "host/internal/queue/keeper.go",
		texts:   []string{"if k.held || k.queue.Spool == nil {", "if k.held || k.queue.Spool != nil {"},
		provoke: loseStore,
		finds:   forgotten,
	},
	"claim without lock": {
		file:    "host/internal/store/postgres_lanes.go",
		texts:   []string{`"SELECT pg_advisory_xact_lock(hashtextextended('heimdall caps', 0))"`, `"SELECT 1"`},
		provoke: crowd,
		finds:   overCap,
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
			seeded, with := d.build(t, faulty)
			for what, p := range map[string]plan{
				"seeded":     testPlan(t, "postgres", seeded, with),
				"not seeded": testPlan(t, "postgres", shipped(t), faulty),
			} {
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

// build builds the host, or the plugin, with the defect, and returns both. It fails
// when the text that is to be replaced is not there, once, any more.
func (d defect) build(t *testing.T, good string) (heimdall, faulty string) {
	t.Helper()
	source, err := filepath.Abs(filepath.Join(repository, d.file))
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for pair := range slices.Chunk(d.texts, 2) {
		if n := strings.Count(text, pair[0]); n != 1 {
			t.Fatalf("%s has the text %q %d times, want once: say where the defect is to be seeded now", d.file, pair[0], n)
		}
		text = strings.Replace(text, pair[0], pair[1], 1)
	}
	folder := t.TempDir()
	replaced, overlay := filepath.Join(folder, "defect.go"), filepath.Join(folder, "overlay.json")
	replacements, err := json.Marshal(map[string]any{"Replace": map[string]string{source: replaced}})
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{replaced: text, overlay: string(replacements)} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if strings.HasPrefix(d.file, "sdk/") {
		faulty = filepath.Join(folder, filepath.Base(good))
		build(t, filepath.Join(repository, "plugins", "faulty"), faulty, "-overlay", overlay, ".")
		return shipped(t), faulty
	}
	heimdall = filepath.Join(folder, "heimdall")
	build(t, filepath.Join(repository, "host"), heimdall, "-overlay", overlay, "./cmd/heimdall")
	return heimdall, good
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
	ids, err := r.jobs(ctx, h, slots+8, work{command: plain, input: map[string]any{"until": r.gate()}})
	if err != nil {
		return err
	}
	if err := r.wrote(ctx, "start", ids[:slots]); err != nil {
		return err
	}
	wish := r.proxies[0].wish(true, "FROM job_ready")
	if err := os.WriteFile(r.gate(), nil, 0o600); err != nil {
		return err
	}
	wrote, err := r.proxies[0].wait(ctx, wish, cutTime)
	r.fault("the answer to a claim was lost: %.60q", wrote)
	if err != nil {
		return err
	}
	return r.hosts[1].start(ctx)
}

// gate is the file that some jobs wait for.
func (r *rig) gate() string { return filepath.Join(r.scratch, "gate") }

// crowd has two hosts claim jobs of a command with a cap in the same moment, a few
// times: until both are about to, neither can.
func crowd(ctx context.Context, r *rig) error {
	conn, err := pgx.Connect(ctx, r.postgres.url(r.postgres.address.String()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	// Whoever is first has not committed yet when the other counts.
	for _, slow := range []string{
		"CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.1); RETURN NULL; END $$",
		"CREATE TRIGGER linger AFTER INSERT ON job_lease FOR EACH STATEMENT EXECUTE FUNCTION linger()",
	} {
		if _, err := conn.Exec(ctx, slow); err != nil {
			return err
		}
	}
	for range 5 {
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "LOCK TABLE job_lease IN SHARE MODE"); err != nil {
			return err
		}
		var submits errgroup.Group
		for n := range 2 * caps[capped] {
			submits.Go(func() error {
				_, err := r.jobs(ctx, r.hosts[n%2], 1, work{command: capped, input: map[string]any{"sleep": "300ms"}})
				return err
			})
		}
		if err := until(ctx, "both hosts wait for the lock", func() (bool, error) {
			// A transaction goes on to see the activity that it has seen first.
			if _, err := tx.Exec(ctx, "SELECT pg_stat_clear_snapshot()"); err != nil {
				return false, err
			}
			var waiting int
			err := tx.QueryRow(ctx, `
				SELECT count(*)
				FROM pg_stat_activity
				WHERE wait_event_type = 'Lock' AND query !~ 'UPDATE job_lease'`).Scan(&waiting)
			return waiting >= 2, err
		}); err != nil {
			return err
		}
		if err := tx.Rollback(ctx); err != nil {
			return err
		}
		if err := submits.Wait(); err != nil {
			return err
		}
		if err := r.finish(ctx); err != nil {
			return err
		}
	}
	return nil
}

// loseStore takes the database away while jobs end, and then the host and its
// plugin, so that only what the host has written down is left of their ends.
func loseStore(ctx context.Context, r *rig) error {
	h := r.hosts[0]
	ids, err := r.jobs(ctx, h, 5, work{command: plain, input: map[string]any{"sleep": "1s"}})
	if err != nil {
		return err
	}
	if err := r.wrote(ctx, "start", ids); err != nil {
		return err
	}
	if err := r.postgres.end(syscall.SIGQUIT); err != nil {
		return err
	}
	if err := r.wrote(ctx, "end", ids); err != nil {
		return err
	}
	// The checker asks a host no more than that.
	if err := pause(ctx, wellBefore+wellBefore/2); err != nil {
		return err
	}
	if err := errors.Join(h.kill(), r.killPlugin(ctx, h, fault{})); err != nil {
		return err
	}
	return errors.Join(r.postgres.start(ctx), h.start(ctx))
}

// wrote waits until the ledger has an entry of each job.
func (r *rig) wrote(ctx context.Context, what string, ids []string) error {
	return until(ctx, fmt.Sprintf("the ledger has an entry %q of each of %d jobs", what, len(ids)), func() (bool, error) {
		content, err := os.ReadFile(r.ledger)
		if err != nil && !os.IsNotExist(err) {
			return false, err
		}
		for _, id := range ids {
			if !strings.Contains(string(content), what+" "+id) {
				return false, nil
			}
		}
		return true, nil
	})
}

// takenOver freezes a host for so long that another one takes what it may of its
// jobs, while one of a command runs there.
func (r *rig) takenOver(ctx context.Context, command string) error {
	return r.whileFrozen(ctx, command, func(ids []string, gate string) error {
		var err error
		if attempts[command] > 1 {
			err = r.ran(ctx, ids[0], 2) // however busy the machine is
		} else {
			err = pause(ctx, 4*r.lease) // nobody may take it: it would have been taken by then
		}
		if err != nil {
			return err
		}
		return os.WriteFile(gate, nil, 0o600)
	})
}

// endLate lets the job of a frozen host end, and the host say so once another one
// runs the job again.
func endLate(ctx context.Context, r *rig) error {
	return errors.Join(
		r.whileFrozen(ctx, retried, func(ids []string, gate string) error {
			if err := os.WriteFile(gate, nil, 0o600); err != nil {
				return err
			}
			if err := r.wrote(ctx, "end", ids); err != nil {
				return err
			}
			if err := os.Remove(gate); err != nil {
				return err
			}
			return r.ran(ctx, ids[0], 2)
		}),
		r.lookFor(ctx, 3*r.lease),
		os.WriteFile(r.gate(), nil, 0o600),
	)
}

// whileFrozen does something while a host is frozen that runs a job of a command,
// which ends when a file is there.
func (r *rig) whileFrozen(ctx context.Context, command string, do func(ids []string, gate string) error) error {
	ids, err := r.jobs(ctx, r.hosts[0], 1, work{command: command, input: map[string]any{"until": r.gate()}})
	if err != nil {
		return err
	}
	if err := r.wrote(ctx, "start", ids); err != nil {
		return err
	}
	h, err := r.runner(ids[0])
	if err != nil {
		return err
	}
	r.fault("host %s is frozen", h.name)
	if err := h.freeze(ctx); err != nil {
		return errors.Join(err, h.thaw())
	}
	err = do(ids, r.gate())
	r.fault("host %s is thawed", h.name)
	return errors.Join(err, h.thaw())
}

// runner is the host that runs a job: another may have claimed it than was given it.
func (r *rig) runner(id string) (*host, error) {
	content, err := os.ReadFile(r.ledger)
	if err != nil {
		return nil, err
	}
	_, entry, _ := strings.Cut(string(content), "start "+id+" ")
	var attempt, pid int
	if _, err := fmt.Sscan(entry, &attempt, &pid); err != nil {
		return nil, fmt.Errorf("read the ledger's entry of job %s: %w", id, err)
	}
	for _, h := range r.hosts {
		pids, err := pluginsOf(h.folder)
		if err != nil {
			return nil, err
		}
		if slices.Contains(pids, pid) {
			return h, nil
		}
	}
	return nil, fmt.Errorf("job %s runs in process %d, which no host has", id, pid)
}

// ran waits until an attempt of a job has started.
func (r *rig) ran(ctx context.Context, id string, attempt int) error {
	return r.wrote(ctx, "start", []string{fmt.Sprintf("%s %d ", id, attempt)})
}

// lookFor looks at all jobs for a while.
func (r *rig) lookFor(ctx context.Context, length time.Duration) error {
	for end := time.Now().Add(length); time.Now().Before(end); {
		for _, id := range r.pending() {
			r.look(ctx, r.hosts[1], id)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
