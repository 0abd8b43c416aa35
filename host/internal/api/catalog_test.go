package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heimdall-run/heimdall/host/internal/api"
	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/registry"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// shelf is a registry that has every object but "nope", and remembers what was asked
// of it last.
type shelf struct {
	filter     registry.Filter
	next       *registry.Cursor
	definition registry.Definition
	when       registry.Condition
	status     *catalog.Status
	lease      *registry.Lease
	renewed    time.Duration // since the first lease
	checks     []registry.Check
	err        error
}

func object(kind catalog.Kind, id string) *catalog.Entry {
	e := &catalog.Entry{
		Kind: kind, Owner: catalog.ByFile, Source: "h:/etc/heimdall.toml", Override: catalog.Inactive, Revision: 7,
		CreatedAt: clock, UpdatedAt: clock.Add(time.Minute), UpdatedBy: "ann",
	}
	o := catalog.Object{ID: id, Name: "N", Version: "1", Status: catalog.Active, Tags: tag.New("type:x")}
	if kind == catalog.ClusterKind {
		e.Cluster = &catalog.Cluster{Object: o, MaxRunning: 3}
		return e
	}
	e.Command = &catalog.Command{
		Object: o, Plugin: "ping", Sync: true, ClusterTags: []tag.Set{tag.New("a", "b")}, Timeout: time.Minute,
		Retry: &job.Retry{Attempts: 2}, Limits: catalog.Limits{CPUSeconds: 60}, Detach: true,
	}
	return e
}

func (s *shelf) Get(kind catalog.Kind, id string) (*catalog.Entry, error) {
	if id == "nope" {
		return nil, errs.Errorf(errs.NotFound, "there is no such object")
	}
	return object(kind, id), nil
}

func (s *shelf) List(kind catalog.Kind, f registry.Filter) registry.Page {
	s.filter = f
	return registry.Page{Entries: []*catalog.Entry{object(kind, "a")}, Next: s.next}
}

func (s *shelf) Public(*catalog.Entry) []byte { return []byte(`{"password":{"set":true}}`) }

func (s *shelf) Put(_ context.Context, _ string, kind catalog.Kind, id string, d registry.Definition, when registry.Condition) (*catalog.Entry, error) {
	s.definition, s.when = d, when
	return object(kind, id), s.err
}

func (s *shelf) SetStatus(_ context.Context, _ string, kind catalog.Kind, id string, status catalog.Status, when registry.Condition) (*catalog.Entry, error) {
	s.status, s.when = &status, when
	return object(kind, id), s.err
}

func (s *shelf) Lease(_ context.Context, _, id string, l registry.Lease) (*catalog.Entry, error) {
	s.lease = &l
	return s.LeaseOf(context.Background(), id)
}

func (s *shelf) LeaseOf(_ context.Context, id string) (*catalog.Entry, error) {
	e := object(catalog.ClusterKind, id)
	e.Owner, e.Source, e.LeaseTTL, e.LeaseUntil = catalog.ByLease, "", 30*time.Second, clock.Add(30*time.Second+s.renewed)
	return e, s.err
}

func (s *shelf) Health(context.Context) []registry.Check { return s.checks }

func (s *shelf) HealthOf(context.Context, string) (registry.Check, error) {
	return registry.Check{Cluster: object(catalog.ClusterKind, "k").Cluster, Status: registry.Unchecked}, s.err
}

// withShelf serves a registry.
func withShelf(t *testing.T) (*shelf, *server) {
	t.Helper()
	registered := &shelf{}
	return registered, serve(t, newFake(), func(c *api.Config) { c.Registry = registered })
}

func checkBody(t *testing.T, a answer, want string) {
	t.Helper()
	var got, wanted any
	if err := json.Unmarshal([]byte(a.text), &got); err != nil {
		t.Fatalf("body = %.300q, want JSON: %v", a.text, err)
	}
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestObjectsAsClientsKnowThem(t *testing.T) {
	_, s := withShelf(t)
	a := s.do(t, "GET", "/api/v1/command/a%20b", "")
	checkBody(t, a, `{
		"id": "a b", "name": "N", "version": "1", "status": "INACTIVE", "tags": ["_id:a b", "_name:N", "_version:1", "type:x"],
		"context": {"password": {"set": true}}, "created_at": 1795419123, "updated_at": 1795419183,
		"managed_by": "file", "revision": 7, "updated_by": "ann", "status_override": "INACTIVE", "file": "h:/etc/heimdall.toml",
		"plugin": "ping", "is_sync": true, "cluster_tags": ["a", "b"], "timeout": "1m0s", "retry": {"attempts": 2, "backoff": "0s", "on": []},
		"on_shutdown": "detach", "limits": {"cpu": "1m0s"}
	}`)
	if got := a.Header.Get("ETag"); got != `"7"` {
		t.Errorf("ETag = %s, want %q", got, `"7"`)
	}
	checkBody(t, s.do(t, "GET", "/api/v1/command/a/status", ""),
		`{"updated_at": 1795419183, "status": "INACTIVE", "status_override": "INACTIVE", "revision": 7}`)
	checkBody(t, s.do(t, "PUT", "/api/v1/cluster/k/lease", `{"ttl": "30s"}`), `{
		"id": "k", "name": "N", "version": "1", "status": "INACTIVE", "tags": ["_id:k", "_name:N", "_version:1", "type:x"],
		"context": {"password": {"set": true}}, "max_running": 3, "created_at": 1795419123, "updated_at": 1795419183,
		"managed_by": "lease", "revision": 7, "updated_by": "ann", "status_override": "INACTIVE",
		"lease": {"ttl": "30s", "until": "2026-11-23T07:32:33.93409Z", "over": false}
	}`)
	checkProblem(t, s.do(t, "GET", "/api/v1/cluster/nope", ""), http.StatusNotFound, "no such object")
	for _, path := range []string{"/api/v1/command/statuses", "/api/v1/cluster/statuses"} {
		if got := s.do(t, "GET", path, "").text; got != `["ACTIVE","DELETED","INACTIVE"]`+"\n" {
			t.Errorf("%s = %s, want the three", path, got)
		}
	}
}

// A renewed lease has the revision that it had, and ends later: who knows the object
// by its tag is told, and may still change what has this revision.
func TestTagOfALease(t *testing.T) {
	registered, s := withShelf(t)
	tag := func() string { return s.do(t, "PUT", "/api/v1/cluster/k/lease", `{"ttl": "30s"}`).Header.Get("ETag") }
	first := tag()
	registered.renewed = time.Second
	if second := tag(); second == first || first == "" {
		t.Errorf("tag of the lease = %s, renewed %s, want another one", first, second)
	}
	if a := s.do(t, "PUT", "/api/v1/cluster/k/status", `{"status": "inactive"}`, "If-Match: "+first); a.StatusCode != http.StatusOK {
		t.Errorf("change by the tag of a lease: status = %d, want 200", a.StatusCode)
	}
	if want := (registry.Condition{Revisions: []int64{7}}); !reflect.DeepEqual(registered.when, want) {
		t.Errorf("condition = %+v, want %+v", registered.when, want)
	}
}

func TestListsOfObjects(t *testing.T) {
	registered, s := withShelf(t)
	registered.next = &registry.Cursor{ID: "a", Time: clock}
	const query = "/api/v1/commands?id=a%25&name=n&version=1&plugin=p&status=active,deleted&tags=a,b&tags=c&limit=1000&order_by=updated_at&direction=desc"
	page := s.do(t, "GET", query, "").json(t)
	if page["has_more"] != true {
		t.Errorf("page = %v, want one with more behind it", page)
	}
	want := registry.Filter{
		ID: "a%", Name: "n", Version: "1", Plugin: "p", Statuses: []catalog.Status{catalog.Active, catalog.Deleted},
		Tags: tag.New("a", "b", "c"), Order: registry.ByUpdatedAt, Descending: true, Limit: 100,
	}
	if diff := cmp.Diff(want, registered.filter); diff != "" {
		t.Errorf("filter (-want +got):\n%s", diff)
	}
	s.do(t, "GET", query+"&cursor="+page["next_cursor"].(string), "")
	want.After = registered.next
	if diff := cmp.Diff(want, registered.filter); diff != "" {
		t.Errorf("filter of the next page (-want +got):\n%s", diff)
	}
	checkProblem(t, s.do(t, "GET", "/api/v1/commands?cursor="+page["next_cursor"].(string), ""), http.StatusBadRequest, "another order")
	registered.next = nil
	checkBody(t, s.do(t, "GET", "/api/v1/clusters?order_by=id", ""), `{"has_more": false, "data": [{
		"id": "a", "name": "N", "version": "1", "status": "INACTIVE", "tags": ["_id:a", "_name:N", "_version:1", "type:x"],
		"context": {"password": {"set": true}}, "max_running": 3, "created_at": 1795419123, "updated_at": 1795419183,
		"managed_by": "file", "revision": 7, "updated_by": "ann", "status_override": "INACTIVE", "file": "h:/etc/heimdall.toml"
	}]}`)
	for _, query := range []string{
		"limit=0", "limit=x", "order_by=name", "direction=up", "status=on", "cursor=x", "cursor=e30", "id=%00", "name=a%5C", "plugin=%ff", "tags=%01", "%zz",
	} {
		checkProblem(t, s.do(t, "GET", "/api/v1/clusters?"+query, ""), http.StatusBadRequest, "parameter")
	}
}

func TestOnlyOperatorsChangeTheCatalog(t *testing.T) {
	_, s := withShelf(t)
	for _, e := range api.Endpoints() {
		method, path, _ := strings.Cut(e, " ")
		if !strings.Contains(path, "/command") && !strings.Contains(path, "/cluster") {
			continue
		}
		a := s.do(t, method, strings.ReplaceAll(path, "{id}", "a"), "", "X-Heimdall-User: reader")
		if method == "GET" {
			if a.StatusCode != http.StatusOK {
				t.Errorf("%s: status = %d, want 200", e, a.StatusCode)
			}
			continue
		}
		checkProblem(t, a, http.StatusForbidden, "operator")
	}
}

func TestChangesOfObjects(t *testing.T) {
	registered, s := withShelf(t)
	for name, c := range map[string]struct {
		method, path, body, header string
		status                     int
		sentence                   string
		when                       registry.Condition
		says                       bool
	}{
		"a definition":           {"PUT", "command/a", `{"name": "a"}`, "", 200, "", registry.Condition{}, false},
		"with a status":          {"PUT", "cluster/a", `{"status": "active"}`, "", 200, "", registry.Condition{}, true},
		"at some revisions":      {"PUT", "command/a", `{}`, `If-Match: "7", W/"8", "x"`, 200, "", registry.Condition{Revisions: []int64{7, 8, -1}}, false},
		"when it is there":       {"PUT", "command/a", `{}`, `If-Match: *`, 200, "", registry.Condition{Exists: true}, false},
		"when it is not":         {"PUT", "command/a", `{}`, `If-None-Match: *`, 200, "", registry.Condition{Absent: true}, false},
		"a status on condition":  {"PUT", "command/a/status", `{"status": "inactive"}`, `If-Match: "7"`, 200, "", registry.Condition{Revisions: []int64{7}}, false},
		"a bad If-Match":         {"PUT", "command/a", `{}`, `If-Match: 7`, 400, "If-Match", registry.Condition{}, false},
		"a bad If-None-Match":    {"PUT", "command/a", `{}`, `If-None-Match: "7"`, 400, "If-None-Match", registry.Condition{}, false},
		"no object":              {"PUT", "command/a", `[]`, "", 400, "not a JSON object", registry.Condition{}, false},
		"nothing":                {"PUT", "command/a", ``, "", 400, "empty", registry.Condition{}, false},
		"no status":              {"PUT", "command/a/status", `{}`, "", 422, "ACTIVE", registry.Condition{}, false},
		"an empty status":        {"PUT", "command/a/status", `{"status": ""}`, "", 422, "ACTIVE", registry.Condition{}, false},
		"a number for a status":  {"PUT", "command/a/status", `{"status": 1}`, "", 422, "ACTIVE", registry.Condition{}, false},
		"an unknown status":      {"PUT", "command/a/status", `{"status": "on"}`, "", 422, "ACTIVE", registry.Condition{}, false},
		"a lease without a time": {"PUT", "cluster/a/lease", `{}`, "", 422, "ttl", registry.Condition{}, false},
		"a lease of odd types":   {"PUT", "cluster/a/lease", `{"ttl": "1m", "tags": "a", "capacity": "x"}`, "", 400, "tags", registry.Condition{}, false},
		"a command's lease":      {"PUT", "command/a/lease", `{"ttl": "1m"}`, "", 404, "nothing", registry.Condition{}, false},
	} {
		*registered = shelf{}
		a := s.do(t, c.method, "/api/v1/"+c.path, c.body, orNone(c.header))
		if c.status != 200 {
			checkProblem(t, a, c.status, c.sentence)
			if registered.definition.Body != nil || registered.status != nil || registered.lease != nil {
				t.Errorf("%s: the registry was asked", name)
			}
			continue
		}
		if a.StatusCode != 200 || a.Header.Get("ETag") != `"7"` {
			t.Errorf("%s: status = %d, ETag = %s, want 200 and %q", name, a.StatusCode, a.Header.Get("ETag"), `"7"`)
		}
		if !reflect.DeepEqual(registered.when, c.when) || registered.definition.Status != c.says {
			t.Errorf("%s: condition = %+v, says its status = %t, want %+v, %t", name, registered.when, registered.definition.Status, c.when, c.says)
		}
	}
	for header, strict := range map[string]bool{"Prefer: handling=strict": true, "Prefer: wait=1, Handling=\"strict\"": true, "Prefer: handling=lenient": false, "": false} {
		a := s.do(t, "PUT", "/api/v1/command/a", `{}`, orNone(header))
		if registered.definition.Strict != strict || (a.Header.Get("Preference-Applied") == "handling=strict") != strict {
			t.Errorf("%s: strict = %t, Preference-Applied = %q, want %t", header, registered.definition.Strict, a.Header.Get("Preference-Applied"), strict)
		}
	}
	s.do(t, "DELETE", "/api/v1/cluster/a/status", "")
	if registered.status == nil || *registered.status != "" {
		t.Errorf("status = %v, want that it is taken back", registered.status)
	}
	s.do(t, "PUT", "/api/v1/cluster/a/lease", `{"ttl": "1m", "tags": ["b", "a"], "capacity": 5, "context": {"x": 1}, "name": "A"}`)
	want := &registry.Lease{TTL: time.Minute, Name: "A", Tags: []string{"b", "a"}, Capacity: 5, Context: json.RawMessage(`{"x": 1}`)}
	if diff := cmp.Diff(want, registered.lease); diff != "" {
		t.Errorf("lease (-want +got):\n%s", diff)
	}
	registered.err = &registry.ErrCondition{}
	checkProblem(t, s.do(t, "PUT", "/api/v1/command/a", `{}`, `If-Match: "7"`), http.StatusPreconditionFailed, "condition")
}

// orNone returns a header that means nothing where there is none.
func orNone(header string) string {
	if header == "" {
		return "X-None: none"
	}
	return header
}

func TestHealthOfClusters(t *testing.T) {
	registered, s := withShelf(t)
	checkBody(t, s.do(t, "GET", "/api/v1/clusters/health", ""), `{"healthy": true, "checks": []}`)
	k := object(catalog.ClusterKind, "k").Cluster
	registered.checks = []registry.Check{
		{Cluster: k, Plugin: "ping", Status: registry.Well, Took: 3600 * time.Microsecond},
		{Cluster: k, Plugin: "sql", Status: registry.Ill, Took: time.Second, Error: "it is away"},
	}
	a := s.do(t, "GET", "/api/v1/clusters/health", "")
	checkBody(t, a, `{"healthy": false, "checks": [
		{"cluster_id": "k", "cluster_name": "N", "plugin": "ping", "status": "ok", "latency_ms": 3},
		{"cluster_id": "k", "cluster_name": "N", "plugin": "sql", "status": "error", "latency_ms": 1000, "error": "it is away"}]}`)
	if a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status = %d, want 503", a.StatusCode)
	}
	a = s.do(t, "GET", "/api/v1/cluster/k/health", "")
	checkBody(t, a, `{"healthy": true, "checks": [{"cluster_id": "k", "cluster_name": "N", "plugin": "", "status": "unchecked", "latency_ms": 0}]}`)
}

func (s *shelf) History(_ context.Context, kind catalog.Kind, id string, before int64, most int) (entries []*catalog.Entry, err error) {
	if id == "nope" {
		return nil, errs.Errorf(errs.NotFound, "there is no such object")
	}
	if before == 0 {
		before = 4
	}
	for revision := before - 1; revision > 0 && len(entries) < most; revision-- {
		e := object(kind, id)
		e.Revision = revision
		if revision < 3 {
			e.Override = ""
		}
		if revision < 2 {
			e.Object().Description, e.UpdatedBy = "first", "bob"
		}
		entries = append(entries, e)
	}
	return entries, s.err
}

func TestHistory(t *testing.T) {
	_, s := withShelf(t)
	for _, kind := range []string{"command", "cluster"} {
		path := "/api/v1/" + kind + "/a/history"
		all := s.do(t, "GET", path, "").json(t)
		wantChanges(t, all, "3 ann [status status_override]", "2 ann [description]", "1 bob []")
		if all["has_more"] != false {
			t.Errorf("has_more = %v, want false", all["has_more"])
		}
		page := s.do(t, "GET", path+"?limit=2", "").json(t)
		wantChanges(t, page, "3 ann [status status_override]", "2 ann [description]")
		cursor, _ := page["next_cursor"].(string)
		if page["has_more"] != true || cursor == "" {
			t.Fatalf("page = %v, want more", page)
		}
		wantChanges(t, s.do(t, "GET", path+"?limit=2&cursor="+cursor, "").json(t), "1 bob []")
		for _, query := range []string{"cursor=x", "cursor=e30", "limit=0", "limit=x"} {
			if a := s.do(t, "GET", path+"?"+query, ""); a.StatusCode != 400 {
				t.Errorf("%s: status = %d, want 400", query, a.StatusCode)
			}
		}
		if a := s.do(t, "GET", "/api/v1/"+kind+"/nope/history", ""); a.StatusCode != 404 {
			t.Errorf("status of what is not there = %d, want 404", a.StatusCode)
		}
	}
}

func wantChanges(t *testing.T, page map[string]any, want ...string) {
	t.Helper()
	var got []string
	data, _ := page["data"].([]any)
	for _, of := range data {
		r, _ := of.(map[string]any)
		if r["created_at"] != nil || r["context"] == nil {
			t.Errorf("revision = %v, want the object without created_at", r)
		}
		got = append(got, fmt.Sprint(r["revision"], " ", r["updated_by"], " ", r["changed"]))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}
