package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// Catalog is what a database keeps of the catalog.
type Catalog interface {
	Store
	CatalogState(ctx context.Context) (store.CatalogState, error)
	CatalogSince(ctx context.Context, version int64) ([]*catalog.Entry, error)
	CatalogEntry(ctx context.Context, kind catalog.Kind, id string) (*catalog.Entry, error)
	ChangeCatalog(ctx context.Context, kind catalog.Kind, id, by string,
		change func(*catalog.Entry) (*catalog.Entry, error)) (*catalog.Entry, error)
	RenewLease(ctx context.Context, e *catalog.Entry) (bool, error)
	EndLeases(ctx context.Context) error
	Declare(ctx context.Context, d store.Declaration) (store.Declared, error)
	LapseDeclarations(ctx context.Context) error
	SetLackedClusters(ctx context.Context, host string, clusters []string) error
	SetPlugins(ctx context.Context, host, revision string, plugins map[string][]string) error
	ForgetRevisions(ctx context.Context, inForce string) (int64, error)
	ForgetClusters(ctx context.Context) (int64, error)
	CatalogHistory(ctx context.Context, kind catalog.Kind, id string, before int64, most int) ([]*catalog.Entry, error)
}

// RunCatalog runs the part of the suite that is about the catalog.
func RunCatalog(t *testing.T, open func(t *testing.T) Catalog) {
	for name, test := range map[string]func(*testing.T, Catalog){
		"what is changed is read by its version":     testCatalogChange,
		"a change that is refused changes nothing":   testCatalogRefused,
		"a file's objects live as long as it":        testDeclare,
		"the last change of a file wins":             testDeclareWins,
		"a file takes what the API has":              testDeclareTakes,
		"what a host declared that is away is gone":  testLapse,
		"a lease ends by the clock of the database":  testLease,
		"a cluster of long ago is forgotten":         testForgetClusters,
		"leases are renewed without another version": testRenew,
		"a cluster that a host lacks is for others":  testLackedCluster,
		"a revision is kept for as long as its jobs": testForgetRevisions,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func commandEntry(id, description string) *catalog.Entry {
	return &catalog.Entry{Kind: catalog.CommandKind, Owner: catalog.ByAPI, Command: &catalog.Command{
		Object: catalog.Object{
			ID: id, Name: "name of " + id, Version: "1.0", Description: description, Status: catalog.Active,
			Tags: tag.New("type:x", "_id:"+id), Context: json.RawMessage(`{"a":[1,"${env:B}"]}`),
		},
		Plugin: "ping", Sync: true, ClusterTags: []tag.Set{tag.New("a"), tag.New("b", "c")}, Timeout: time.Minute,
	}}
}

func clusterEntry(id string) *catalog.Entry {
	return &catalog.Entry{Kind: catalog.ClusterKind, Owner: catalog.ByAPI, Cluster: &catalog.Cluster{
		Object: catalog.Object{ID: id, Name: id, Status: catalog.Active, Tags: tag.New("type:y")}, MaxRunning: 3,
	}}
}

// put makes an object what e says.
func put(t *testing.T, db Catalog, e *catalog.Entry, by string) *catalog.Entry {
	t.Helper()
	now, err := db.ChangeCatalog(t.Context(), e.Kind, e.Object().ID, by, func(is *catalog.Entry) (*catalog.Entry, error) {
		next := *e
		if is != nil {
			next.Revision = is.Revision
		}
		return &next, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return now
}

func entry(t *testing.T, db Catalog, kind catalog.Kind, id string) *catalog.Entry {
	t.Helper()
	e, err := db.CatalogEntry(t.Context(), kind, id)
	if err != nil || e == nil {
		t.Fatalf("%s %s = %v, %v, want it", kind, id, e, err)
	}
	return e
}

func version(t *testing.T, db Catalog) int64 {
	t.Helper()
	s, err := db.CatalogState(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Version
}

func since(t *testing.T, db Catalog, v int64) (ids []string) {
	t.Helper()
	entries, err := db.CatalogSince(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		ids = append(ids, e.Object().ID)
	}
	slices.Sort(ids)
	return ids
}

func testCatalogChange(t *testing.T, db Catalog) {
	wantSame(t, "version of an empty catalog", version(t, db), int64(0))
	if e, err := db.CatalogEntry(t.Context(), catalog.CommandKind, "c"); e != nil || err != nil {
		t.Fatalf("an object that never was = %v, %v, want none", e, err)
	}
	first := put(t, db, commandEntry("c", "first"), "ann")
	wantSame(t, "who", first.UpdatedBy, "ann")
	wantSame(t, "revision and version", []int64{first.Revision, first.Version}, []int64{1, 1})
	want := commandEntry("c", "first").Command
	want.Tags = tag.New("type:x")
	wantSame(t, "definition", first.Command, want)
	put(t, db, clusterEntry("c"), "ann") // the other side has ids of its own
	second := put(t, db, commandEntry("c", "second"), "bob")
	wantSame(t, "revision and version of the second", []int64{second.Revision, second.Version}, []int64{2, 3})
	if !second.CreatedAt.Equal(first.CreatedAt) || second.UpdatedAt.Before(first.UpdatedAt) {
		t.Errorf("second was made at %v and changed at %v, want %v and later", second.CreatedAt, second.UpdatedAt, first.CreatedAt)
	}
	wantSame(t, "version", version(t, db), int64(3))
	wantSame(t, "changed since the first", since(t, db, 1), []string{"c", "c"})
	wantSame(t, "changed since the second", since(t, db, 2), []string{"c"})
	wantSame(t, "changed since the last", since(t, db, 3), []string(nil))
	wantSame(t, "stored", entry(t, db, catalog.CommandKind, "c"), second)
	overridden := *second
	overridden.Override = catalog.Inactive
	wantSame(t, "status in force", put(t, db, &overridden, "ann").Status(), catalog.Inactive)
}

func testCatalogRefused(t *testing.T, db Catalog) {
	put(t, db, commandEntry("c", "first"), "ann")
	refusal := errors.New("no")
	for name, answer := range map[string]error{"an error": refusal, "no change": nil} {
		got, err := db.ChangeCatalog(t.Context(), catalog.CommandKind, "c", "bob", func(is *catalog.Entry) (*catalog.Entry, error) {
			is.Command.Description = "other"
			return nil, answer
		})
		if !errors.Is(err, answer) || answer == nil && got == nil {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, answer)
		}
	}
	wantSame(t, "version", version(t, db), int64(1))
	wantSame(t, "description", entry(t, db, catalog.CommandKind, "c").Command.Description, "first")
}

// declare has the file of a host declare objects.
func (h host) declare(t *testing.T, entries ...*catalog.Entry) store.Declared {
	t.Helper()
	done, err := h.db.(Catalog).Declare(t.Context(), store.Declaration{
		Host: h.id, Epoch: h.epoch, Source: h.id + ":/etc/heimdall.toml", Entries: entries,
	})
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func testDeclare(t *testing.T, db Catalog) {
	a, b := register(t, db, "a"), register(t, db, "b")
	a.declare(t, commandEntry("c", ""), clusterEntry("k"), commandEntry("mine", ""))
	b.declare(t, commandEntry("c", ""), clusterEntry("k"))
	wantSame(t, "version once the second host says the same", version(t, db), int64(1))
	e := entry(t, db, catalog.CommandKind, "c")
	wantSame(t, "owner, source, who", []string{string(e.Owner), e.Source, e.UpdatedBy}, []string{"file", "a:/etc/heimdall.toml", "a:/etc/heimdall.toml"})
	a.declare(t, clusterEntry("k"))
	wantSame(t, "what the other host declares is there", entry(t, db, catalog.CommandKind, "c").Status(), catalog.Active)
	wantSame(t, "what nobody declares", entry(t, db, catalog.CommandKind, "mine").Status(), catalog.Deleted)
	b.declare(t, clusterEntry("k"))
	wantSame(t, "what nobody declares any more", entry(t, db, catalog.CommandKind, "c").Status(), catalog.Deleted)
	wantSame(t, "what both declare", entry(t, db, catalog.ClusterKind, "k").Status(), catalog.Active)
	before := version(t, db)
	b.declare(t, clusterEntry("k"))
	wantSame(t, "version when nothing has changed", version(t, db), before)
	b.declare(t, clusterEntry("k"), commandEntry("c", ""))
	wantSame(t, "what is declared again", entry(t, db, catalog.CommandKind, "c").Status(), catalog.Active)

	register(t, db, "a")
	_, err := db.Declare(t.Context(), store.Declaration{Host: "a", Epoch: a.epoch})
	if !errors.Is(err, store.ErrFenced) {
		t.Errorf("declare with an epoch that is over = %v, want %v", err, store.ErrFenced)
	}
}

func testDeclareWins(t *testing.T, db Catalog) {
	a, b := register(t, db, "a"), register(t, db, "b")
	description := func() string { return entry(t, db, catalog.CommandKind, "c").Command.Description }
	a.declare(t, commandEntry("c", "old"))
	b.declare(t, commandEntry("c", "old"))
	a.declare(t, commandEntry("c", "new"))
	wantSame(t, "after one file has changed", description(), "new")
	b.declare(t, commandEntry("c", "old"))
	wantSame(t, "after the other was read again", description(), "new")
	b.declare(t, commandEntry("c", "newest"))
	wantSame(t, "after the other has changed", description(), "newest")

	e := entry(t, db, catalog.CommandKind, "c")
	e.Override = catalog.Inactive
	put(t, db, e, "ann")
	a.declare(t, commandEntry("c", "last"))
	wantSame(t, "an override stays", entry(t, db, catalog.CommandKind, "c").Status(), catalog.Inactive)
	wantSame(t, "under it", description(), "last")
}

func testDeclareTakes(t *testing.T, db Catalog) {
	a := register(t, db, "a")
	put(t, db, commandEntry("c", "of the API"), "ann")
	done := a.declare(t, commandEntry("c", "of the file"))
	if len(done.Taken) != 1 || done.Taken[0].Command.Description != "of the API" {
		t.Errorf("taken = %v, want the command of the API", done.Taken)
	}
	e := entry(t, db, catalog.CommandKind, "c")
	wantSame(t, "owner, description", []string{string(e.Owner), e.Command.Description}, []string{"file", "of the file"})
	wantSame(t, "revision", e.Revision, int64(2))

	// Gone with the file, it may become the API's, and the file's once more when that
	// is back, although nothing in it has changed.
	a.lapse(t)
	if err := db.LapseDeclarations(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, db, commandEntry("c", "of the API"), "ann")
	a.beat(t, time.Hour, store.Live)
	a.declare(t, commandEntry("c", "of the file"))
	wantSame(t, "owner", entry(t, db, catalog.CommandKind, "c").Owner, catalog.ByFile)
}

func testLapse(t *testing.T, db Catalog) {
	a, b := register(t, db, "a"), register(t, db, "b")
	a.declare(t, commandEntry("both", ""), commandEntry("c", "old"))
	b.declare(t, commandEntry("both", ""))
	put(t, db, clusterEntry("k"), "ann")
	lapsed := func() bool {
		s, err := db.CatalogState(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.Lapsed
	}
	wantSame(t, "lapsed while all live", lapsed(), false)
	a.lapse(t)
	wantSame(t, "lapsed", lapsed(), true)
	if err := db.LapseDeclarations(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantSame(t, "lapsed, once that is settled", lapsed(), false)
	wantSame(t, "of the lost host", entry(t, db, catalog.CommandKind, "c").Status(), catalog.Deleted)
	wantSame(t, "of both", entry(t, db, catalog.CommandKind, "both").Status(), catalog.Active)
	wantSame(t, "of the API", entry(t, db, catalog.ClusterKind, "k").Status(), catalog.Active)

	b.declare(t, commandEntry("both", ""), commandEntry("c", "new"))
	a.beat(t, time.Hour, store.Live)
	a.declare(t, commandEntry("both", ""), commandEntry("c", "old"))
	wantSame(t, "what was changed meanwhile", entry(t, db, catalog.CommandKind, "c").Command.Description, "new")
	b.declare(t, commandEntry("both", ""))
	wantSame(t, "of the host that is back", entry(t, db, catalog.CommandKind, "c").Status(), catalog.Active)
	a.beat(t, time.Hour, store.Stopped)
	wantSame(t, "lapsed when a host has stopped", lapsed(), true)
}

func leased(id string, ttl time.Duration) *catalog.Entry {
	e := clusterEntry(id)
	e.Owner, e.LeaseTTL = catalog.ByLease, ttl
	return e
}

// SQLite has one host, whose claims need not look.
func testLackedCluster(t *testing.T, db Catalog) {
	if k, ok := db.(interface{ Kind() string }); ok && k.Kind() == "sqlite" {
		if err := db.SetLackedClusters(t.Context(), "a", []string{"k"}); err != nil {
			t.Error(err)
		}
		return
	}
	for name, lanes := range map[string]bool{"plainly": false, "by lanes": true} {
		a, b := register(t, db, "a"), register(t, db, "b")
		a.lanes, b.lanes = lanes, lanes
		foreign, common := newJob(0), newJob(1)
		foreign.Pair.ClusterID = "k"
		a.submit(t, foreign, false)
		a.submit(t, common, false)
		if err := db.SetLackedClusters(t.Context(), "a", []string{"k", "other"}); err != nil {
			t.Fatal(err)
		}
		if must, err := db.MustUseLanes(t.Context(), "a"); !must || err != nil {
			t.Errorf("%s: must use lanes = %t, %v, want true", name, must, err)
		}
		wantSame(t, name+": claimed by the host that lacks it", claimedIDs(a.claim(t, 10)), []job.ID{common.ID})
		wantSame(t, name+": claimed by the other", claimedIDs(b.claim(t, 10)), []job.ID{foreign.ID})
		more := newJob(2)
		more.Pair.ClusterID = "k"
		a.submit(t, more, false)
		b.lapse(t)
		w, err := db.Waiting(t.Context(), more.ID)
		if err != nil || w == nil || w.Reason != job.NoPlugin {
			t.Errorf("%s: it waits for %+v, %v, want %s", name, w, err, job.NoPlugin)
		}
		if err := db.SetLackedClusters(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		wantSame(t, name+": claimed once it has it", claimedIDs(a.claim(t, 10)), []job.ID{more.ID})
	}
}

func testForgetRevisions(t *testing.T, db Catalog) {
	all := []string{"old", "of another host", "in force"}
	for _, revision := range all {
		if err := db.SaveRevision(t.Context(), revision, []byte(revision)); err != nil {
			t.Fatal(err)
		}
	}
	a := register(t, db, "a")
	if err := db.SetPlugins(t.Context(), "a", "of another host", nil); err != nil {
		t.Fatal(err)
	}
	forget := func(what string, want ...string) {
		t.Helper()
		if _, err := db.ForgetRevisions(t.Context(), "in force"); err != nil {
			t.Fatal(err)
		}
		var kept []string
		for _, revision := range all {
			if _, err := db.Revision(t.Context(), revision); err == nil {
				kept = append(kept, revision)
			} else if !errs.Is(err, errs.NotFound) {
				t.Fatal(err)
			}
		}
		wantSame(t, what, kept, want)
	}
	var ids []job.ID
	submit := func(at time.Time) {
		j := newJob(0)
		j.ID, j.CreatedAt = idAt(at), at
		if err := db.End(t.Context(), ended(a.lease(t, j), job.Succeeded)); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, j.ID)
	}
	forget("without jobs, of those just saved", all...)
	submit(time.Now().Add(-time.Hour))
	submit(time.Now().Add(24 * time.Hour))
	forget("while there is a job of their time", all...)
	if _, err := db.Remove(t.Context(), ids[:1]); err != nil {
		t.Fatal(err)
	}
	forget("once all jobs are newer", "of another host", "in force")
}
