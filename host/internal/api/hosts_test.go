package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Hosts returns the hosts of the fake.
func (f *fake) Hosts(context.Context) ([]store.Host, time.Time, error) { return f.hosts, clock, f.err }

func TestHosts(t *testing.T) {
	f := newFake()
	f.hosts = []store.Host{
		{
			ID: "h-1", Name: "one", Address: "10.0.0.1:9090", Version: "1.2.3", Slots: 64, State: store.Live, Revision: "r1", Running: 3,
			Plugins: map[string][]string{"ping": {"0.1.0"}}, StartedAt: started, LeaseUntil: clock.Add(8 * time.Second),
		},
		{ID: "h-2", Name: "two", State: store.Lost, Revision: "r2", LeaseUntil: clock.Add(-time.Minute), LostAt: clock, Running: 1},
		{ID: "h-3", Name: "two", State: store.Stopped, LeaseUntil: clock},
	}
	s := serve(t, f)
	a := s.do(t, "GET", "/api/v1/hosts", "")
	if a.StatusCode != http.StatusOK {
		t.Fatalf("GET /hosts = %d: %s", a.StatusCode, a.text)
	}
	var got, want any
	const answer = `{"data": [
		{"id": "h-1", "name": "one", "address": "10.0.0.1:9090", "version": "1.2.3", "state": "live", "this": true, "slots": 64, "running": 3,
			"plugins": {"ping": ["0.1.0"]}, "catalog_revision": "r1", "started_time": "2026-11-23T07:00:00Z",
			"lease_until": "2026-11-23T07:32:11.93409Z", "lease_seconds": 8},
		{"id": "h-2", "name": "two", "address": "", "version": "", "state": "lost", "this": false, "slots": 0, "running": 1,
			"plugins": {}, "catalog_revision": "r2", "lease_until": "2026-11-23T07:31:03.93409Z", "lease_seconds": -60, "lost_time": "2026-11-23T07:32:03.93409Z"},
		{"id": "h-3", "name": "two", "address": "", "version": "", "state": "stopped", "this": false, "slots": 0, "running": 0,
			"plugins": {}, "catalog_revision": "", "lease_until": "2026-11-23T07:32:03.93409Z", "lease_seconds": 0}
	], "catalogs_differ": false}`
	if err := json.Unmarshal([]byte(a.text), &got); err != nil {
		t.Fatalf("the answer is no JSON: %v: %s", err, a.text)
	}
	if err := json.Unmarshal([]byte(answer), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("GET /hosts (-want +got):\n%s", diff)
	}

	for name, tt := range map[string]struct {
		state    store.HostState
		revision string
		want     bool
	}{
		"a live host has another one": {store.Live, "r2", true},
		"all have the same":           {store.Live, "r1", false},
		"a host has just started":     {store.Live, "", false},
		"it is only left behind":      {store.Lost, "r2", false},
	} {
		f.hosts[1].State, f.hosts[1].Revision = tt.state, tt.revision
		var page struct {
			CatalogsDiffer bool `json:"catalogs_differ"`
		}
		if err := json.Unmarshal([]byte(s.do(t, "GET", "/api/v1/hosts", "").text), &page); err != nil || page.CatalogsDiffer != tt.want {
			t.Errorf("%s: catalogs_differ = %t, error %v; want %t", name, page.CatalogsDiffer, err, tt.want)
		}
	}

	f.err = errs.Errorf(errs.Unavailable, "the store is not available")
	if a := s.do(t, "GET", "/api/v1/hosts", ""); a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("while the store is away: %d: %s, want 503", a.StatusCode, a.text)
	}
}
