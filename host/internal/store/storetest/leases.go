package storetest

import (
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

func testLease(t *testing.T, db Catalog) {
	clock, err := db.Clock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := put(t, db, leased("k", time.Hour), "k")
	if left := e.LeaseUntil.Sub(clock); left < 55*time.Minute || left > 65*time.Minute {
		t.Errorf("the lease of an hour ends in %v", left)
	}
	put(t, db, leased("over", -time.Second), "k")
	s, err := db.CatalogState(t.Context())
	if err != nil || !s.Leases {
		t.Errorf("state = %+v, %v, want leases that are over", s, err)
	}
	if err := db.EndLeases(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantSame(t, "status of the lease that is over", entry(t, db, catalog.ClusterKind, "over").Status(), catalog.Inactive)
	wantSame(t, "status of the other", entry(t, db, catalog.ClusterKind, "k").Status(), catalog.Active)
	if s, err = db.CatalogState(t.Context()); err != nil || s.Leases {
		t.Errorf("state = %+v, %v, want nothing to do", s, err)
	}
	wantSame(t, "status of one that is back", put(t, db, leased("over", time.Hour), "k").Status(), catalog.Active)
	owned := put(t, db, clusterEntry("over"), "ann")
	if !owned.LeaseUntil.IsZero() || owned.LeaseTTL != 0 {
		t.Errorf("the API's cluster has a lease until %v, want none", owned.LeaseUntil)
	}
	put(t, db, leased("old", -2*store.Forgotten), "k")
	if err := db.EndLeases(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantSame(t, "what is over for long", entry(t, db, catalog.ClusterKind, "old").Gone, true)

	// Nothing else is to be said of leases when the time of one comes that is over.
	forgotten := leased("forgotten", -2*store.Forgotten)
	forgotten.LeaseOver = true
	put(t, db, forgotten, "k")
	if s, err = db.CatalogState(t.Context()); err != nil || !s.Leases {
		t.Errorf("state = %+v, %v, want a lease that is over for long", s, err)
	}
	if err := db.EndLeases(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantSame(t, "what was over for long", entry(t, db, catalog.ClusterKind, "forgotten").Gone, true)
	if s, err = db.CatalogState(t.Context()); err != nil || s.Leases {
		t.Errorf("state = %+v, %v, want nothing to do any more", s, err)
	}
}

func testRenew(t *testing.T, db Catalog) {
	put(t, db, leased("k", time.Minute), "k")
	before := version(t, db)
	other := leased("k", time.Hour)
	other.Cluster.MaxRunning = 99
	over := leased("over", -time.Second)
	put(t, db, over, "k")
	for name, c := range map[string]struct {
		entry *catalog.Entry
		want  bool
	}{
		"the same":         {leased("k", time.Hour), true},
		"another one":      {other, false},
		"one that is over": {leased("over", time.Hour), false},
		"an unknown one":   {leased("none", time.Hour), false},
	} {
		if got, err := db.RenewLease(t.Context(), c.entry); got != c.want || err != nil {
			t.Errorf("renew %s = %v, %v, want %v", name, got, err, c.want)
		}
	}
	e := entry(t, db, catalog.ClusterKind, "k")
	wantSame(t, "version", e.Version, before)
	wantSame(t, "ttl", e.LeaseTTL, time.Hour)
}

func testForgetClusters(t *testing.T, db Catalog) {
	put(t, db, leased("k", time.Hour), "k")
	put(t, db, leased("days ago", -2*store.Forgotten), "k")
	put(t, db, leased("long ago", -2*store.Removed), "k")
	deleted := leased("deleted", -2*store.Removed)
	deleted.Override = catalog.Deleted
	put(t, db, deleted, "ann")
	if err := db.EndLeases(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := version(t, db)
	n, err := db.ForgetClusters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "forgotten", n, int64(1))
	wantSame(t, "version", version(t, db), before)
	for _, id := range []string{"k", "days ago", "deleted"} {
		if e, err := db.CatalogEntry(t.Context(), catalog.ClusterKind, id); err != nil || e == nil {
			t.Errorf("cluster %q = %v, %v, want it to stay", id, e, err)
		}
	}
	if e, err := db.CatalogEntry(t.Context(), catalog.ClusterKind, "long ago"); err != nil || e != nil {
		t.Errorf("the cluster of long ago = %v, %v, want none", e, err)
	}
	if of, err := db.CatalogHistory(t.Context(), catalog.ClusterKind, "long ago", 0, 10); err != nil || len(of) != 0 {
		t.Errorf("its history = %v, %v, want none", of, err)
	}
	back := put(t, db, leased("long ago", time.Hour), "k")
	wantSame(t, "status of one that comes back", back.Status(), catalog.Active)
	wantSame(t, "its revision", back.Revision, int64(1))
}
