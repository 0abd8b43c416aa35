package retention_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/heimdall-run/heimdall/host/internal/artifacts"
	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pgtest"
	"github.com/heimdall-run/heimdall/host/internal/retention"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSQLite(t *testing.T) {
	t.Parallel()
	testRetention(t, store.Config{URL: "sqlite", Dir: t.TempDir()})
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	testRetention(t, store.Config{URL: pgtest.URL(t)})
}

// kept is a catalog: jobs of "short" are kept for an hour, those of "long" for a
// month.
type kept struct{ snapshot *catalog.Snapshot }

func (k kept) Snapshot() *catalog.Snapshot { return k.snapshot }

func newKept(t *testing.T) kept {
	t.Helper()
	command := func(id string, keep time.Duration) *catalog.Command {
		return &catalog.Command{Object: catalog.Object{ID: id, Name: id, Status: catalog.Active}, Plugin: "p", Keep: keep}
	}
	s, err := catalog.NewSnapshot([]*catalog.Command{command("short", time.Hour), command("long", 30*24*time.Hour), command("other", 0)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return kept{s}
}

// fixture is a store with jobs of two hosts.
type fixture struct {
	*testing.T
	db        *store.DB
	artifacts *artifacts.Store
	folder    string // of the artifacts
	epochs    map[string]int64
}

// job makes a job of a command that a host ran, and that ended so long ago; 0: it
// runs still.
func (f *fixture) job(host, command string, ago time.Duration) job.ID {
	f.Helper()
	j := &job.Job{
		ID: job.NewID(), User: "ann", CreatedAt: time.Now().Add(-90 * 24 * time.Hour),
		Pair: job.Pair{CommandID: command, CommandName: command, ClusterID: "k", ClusterName: "k"},
	}
	lease, err := f.db.Submit(f.Context(), store.Submission{Job: j, Host: host, Epoch: f.epochs[host], Claim: true})
	if err != nil || lease == nil {
		f.Fatalf("submit: lease %v, error %v", lease, err)
	}
	if ago == 0 {
		return j.ID
	}
	o := job.Outcome{Status: job.Succeeded, EndedAt: time.Now().Add(-ago)}
	if o.Logs.Stdout, o.Logs.StdoutBytes, err = f.artifacts.Keep(f.Context(), j.ID, 1, "stdout", strings.NewReader("hello")); err != nil {
		f.Fatal(err)
	}
	if _, _, err := f.artifacts.Keep(f.Context(), j.ID, 2, "stdout", strings.NewReader("of a host that was killed")); err != nil {
		f.Fatal(err)
	}
	key, size, err := f.artifacts.Keep(f.Context(), j.ID, 1, "result", strings.NewReader("[1]"))
	if err != nil {
		f.Fatal(err)
	}
	o.Result = &job.Result{ContentType: "application/json", Bytes: size, Object: key}
	if err := f.db.End(f.Context(), job.End{Lease: *lease, Outcome: o}); err != nil {
		f.Fatal(err)
	}
	return j.ID
}

func testRetention(t *testing.T, c store.Config) {
	db, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	dir := t.TempDir()
	kept, err := artifacts.Open("file", dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = kept.Close() }()
	f := &fixture{T: t, db: db, artifacts: kept, folder: filepath.Join(dir, "artifacts"), epochs: map[string]int64{}}
	for _, host := range []string{"here", "peer", "gone"} {
		if f.epochs[host], err = db.RegisterHost(t.Context(), store.Host{ID: host, Name: host}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}

	const day = 24 * time.Hour
	goes := map[string]job.ID{
		"a short one":             f.job("here", "short", 2*time.Hour),
		"an old one":              f.job("here", "other", 8*day),
		"one of no command":       f.job("here", "forgotten", 8*day),
		"a very old long one":     f.job("here", "long", 40*day),
		"one of a host that left": f.job("gone", "short", 3*time.Hour),
	}
	stays := map[string]job.ID{
		"a fresh short one":       f.job("here", "short", time.Minute),
		"a long one":              f.job("here", "long", 8*day),
		"a fresh one":             f.job("here", "other", 2*day),
		"one of a host that runs": f.job("peer", "short", 2*time.Hour),
		"one that runs":           f.job("here", "short", 0),
	}
	for range 210 { // more than one step
		goes["one of many"] = f.job("here", "short", 5*time.Hour)
	}
	f.serve(goes)

	for what, id := range goes {
		if _, err := db.Job(t.Context(), id); !errs.Is(err, errs.NotFound) {
			t.Errorf("%s: got error %v, want that it is not there", what, err)
		}
	}
	left := f.objects()
	for what, id := range stays {
		j, err := db.Job(t.Context(), id)
		if err != nil {
			t.Errorf("%s: got error %v, want that it is there", what, err)
			continue
		}
		if want := j.Status.Final(); left[string(id)] != want {
			t.Errorf("%s: its artifacts are there: got %t, want %t", what, left[string(id)], want)
		}
		delete(left, string(id))
	}
	if len(left) > 0 {
		t.Errorf("%d folders of artifacts are left of jobs that are gone, such as %v", len(left), left)
	}
}

// serve runs retention until the jobs are gone.
func (f *fixture) serve(goes map[string]job.ID) {
	ctx, stop := context.WithTimeout(f.Context(), 30*time.Second)
	defer stop()
	if _, err := f.db.Heartbeat(ctx, "gone", f.epochs["gone"], time.Microsecond, store.Live); err != nil {
		f.Fatal(err)
	}
	for gone, err := f.db.Away(ctx, []string{"gone"}); !gone["gone"]; gone, err = f.db.Away(ctx, []string{"gone"}) {
		if err != nil {
			f.Fatalf("the host's right has not run out: %v", err)
		}
	}
	serving, end := context.WithCancel(ctx)
	served := make(chan error)
	go func() {
		served <- retention.New(retention.Config{
			Store: f.db, Artifacts: f.artifacts, Catalog: newKept(f.T), Keep: 7 * 24 * time.Hour, Host: "here", Log: hclog.NewNullLogger(),
		}).Serve(serving)
	}()
	for there := true; there && ctx.Err() == nil; {
		there = false
		for _, id := range goes {
			if _, err := f.db.Job(ctx, id); !errs.Is(err, errs.NotFound) {
				there = true
			}
		}
	}
	end()
	if err := <-served; err != nil {
		f.Errorf("Serve: %v", err)
	}
}

// objects returns the ids of jobs that have artifacts.
func (f *fixture) objects() map[string]bool {
	ids := map[string]bool{}
	folders, err := fs.ReadDir(os.DirFS(f.folder), "jobs")
	if err != nil {
		f.Fatal(err)
	}
	for _, folder := range folders {
		ids[folder.Name()] = true
	}
	return ids
}
