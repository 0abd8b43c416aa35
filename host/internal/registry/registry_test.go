package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const report = `{"name": "Report", "plugin": "sql", "tags": ["type:report"], "context": {"dialect": "x"}}`

func TestPutIsInForceAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	e := f.put(t, catalog.CommandKind, "report", report)
	if e.Owner != catalog.ByAPI || e.Revision != 1 || e.UpdatedBy != "ann" || f.changed != 1 {
		t.Errorf("entry = %+v, changed %d times, want the API's first revision, once", e, f.changed)
	}
	c := f.watch.Snapshot().Command("report")
	if c == nil || c.Name != "Report" || string(c.Context) != `{"dialect":"x"}` {
		t.Errorf("in force = %+v, want the command", c)
	}
	f.put(t, catalog.CommandKind, "report", strings.Replace(report, "Report", "Other", 1))
	if c := f.watch.Snapshot().Command("report"); c.Name != "Other" {
		t.Errorf("in force after another = %+v, want that", c)
	}
	_, err := f.Get(catalog.CommandKind, "nope")
	wantKind(t, "an unknown one", err, errs.NotFound)
}

// Who changes an object is told of that change, and its revision: with the next one,
// which somebody else has made meanwhile, they would overwrite what they never saw.
func TestPutAnswersWithItsOwnRevision(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.meanwhile = func() { f.put(t, catalog.CommandKind, "c", `{"name": "c", "plugin": "free", "description": "other"}`) }
	first := f.put(t, catalog.CommandKind, "c", `{"name": "c", "plugin": "free", "description": "own"}`)
	if first.Revision != 1 || first.Command.Description != "own" {
		t.Errorf("put = revision %d, %q, want what was put", first.Revision, first.Command.Description)
	}
	_, err := f.Put(t.Context(), "ann", catalog.CommandKind, "c",
		registry.Definition{Body: []byte(`{"name": "c", "plugin": "free"}`)}, registry.Condition{Revisions: []int64{first.Revision}})
	if _, stale := errors.AsType[*registry.ErrCondition](err); !stale {
		t.Errorf("put over the change of another = %v, want that it is refused", err)
	}
}

func TestWhoOwnsWhat(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	put := func(kind catalog.Kind, id, body string, when registry.Condition) error {
		_, err := f.Put(t.Context(), "ann", kind, id, registry.Definition{Body: []byte(body)}, when)
		return err
	}
	err := put(catalog.CommandKind, "filed", report, registry.Condition{})
	wantKind(t, "a file's command", err, errs.Conflict)
	if !strings.Contains(err.Error(), "h:/etc/heimdall.toml") {
		t.Errorf("error = %v, want one that names the file", err)
	}
	f.put(t, catalog.ClusterKind, "k", `{"name": "k"}`)
	for id, what := range map[string]string{"filed": "file", "k": "API"} {
		_, err := f.Lease(t.Context(), "k", id, registry.Lease{TTL: time.Minute})
		wantKind(t, "a lease of a cluster of the "+what, err, errs.Conflict)
	}
	if _, err := f.Lease(t.Context(), "k", "leased", registry.Lease{TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "put of a leased cluster", put(catalog.ClusterKind, "leased", `{"name": "k"}`, registry.Condition{}), errs.Conflict)

	// Conditions.
	for name, c := range map[string]struct {
		id    string
		when  registry.Condition
		holds bool
	}{
		"at its revision":         {"k", registry.Condition{Revisions: []int64{9, 1}}, true},
		"at another":              {"k", registry.Condition{Revisions: []int64{9}}, false},
		"at one, but it is new":   {"new", registry.Condition{Revisions: []int64{1}}, false},
		"there, but it is new":    {"new", registry.Condition{Exists: true}, false},
		"absent, but it is there": {"filed", registry.Condition{Absent: true}, false},
		"absent":                  {"other", registry.Condition{Absent: true}, true},
	} {
		err := put(catalog.ClusterKind, c.id, `{"name": "k"}`, c.when)
		if _, refused := errors.AsType[*registry.ErrCondition](err); refused == c.holds || c.holds && err != nil {
			t.Errorf("%s: error = %v, want the condition to hold: %t", name, err, c.holds)
		}
	}
}

func TestStatusIsAnOverride(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := func(id string, s catalog.Status) {
		t.Helper()
		if _, err := f.SetStatus(t.Context(), "ann", catalog.CommandKind, id, s, registry.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what, id string, want catalog.Status) {
		t.Helper()
		e, err := f.Get(catalog.CommandKind, id)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.watch.Snapshot().Command(id).Status; got != want || e.Status() != want {
			t.Errorf("%s: status = %s in force, %s shown, want %s", what, got, e.Status(), want)
		}
	}
	set("filed", catalog.Inactive)
	check("of a file's", "filed", catalog.Inactive)
	set("filed", "")
	check("taken back", "filed", catalog.Active)
	f.put(t, catalog.CommandKind, "report", report)
	set("report", catalog.Inactive)
	f.put(t, catalog.CommandKind, "report", report)
	check("after a definition that says none", "report", catalog.Inactive)
	if _, err := f.Put(t.Context(), "ann", catalog.CommandKind, "report",
		registry.Definition{Body: []byte(`{"status": "active", ` + report[1:]), Status: true}, registry.Condition{}); err != nil {
		t.Fatal(err)
	}
	check("after one that says it", "report", catalog.Active)
	set("report", catalog.Deleted)
	check("deleted", "report", catalog.Deleted)
	if page := f.List(catalog.CommandKind, registry.Filter{Limit: 10}); len(page.Entries) != 1 {
		t.Errorf("list = %v, want the file's command only", page.Entries)
	}
	f.put(t, catalog.CommandKind, "report", report)
	check("made anew", "report", catalog.Active)
	before := f.changed
	e, err := f.SetStatus(t.Context(), "bob", catalog.CommandKind, "report", "", registry.Condition{})
	if err != nil || e.UpdatedBy != "ann" {
		t.Errorf("a status that changes nothing = %+v, %v, want the revision of before", e, err)
	}
	if f.changed != before {
		t.Error("others were told, want that nothing has changed")
	}
	_, err = f.SetStatus(t.Context(), "ann", catalog.ClusterKind, "nope", catalog.Active, registry.Condition{})
	wantKind(t, "the status of nothing", err, errs.NotFound)
}

func TestContextsOfTheAPI(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, c := range map[string]struct {
		kind    catalog.Kind
		body    string
		faults  string // pointers; "": none
		context string // as it is shown
	}{
		"of a command":          {catalog.CommandKind, `"plugin": "sql", "context": {"dialect": "x", "port": 1}`, "", `{"dialect":"x","port":1}`},
		"none":                  {catalog.CommandKind, `"plugin": "sql"`, "", `{}`},
		"an unknown plugin":     {catalog.CommandKind, `"plugin": "nope", "context": {"a": 1}`, "/plugin", ""},
		"an unknown key":        {catalog.CommandKind, `"plugin": "sql", "context": {"dialekt": "x"}`, "/context/dialekt", ""},
		"a wrong type":          {catalog.CommandKind, `"plugin": "sql", "context": {"port": "1"}`, "/context/port", ""},
		"the other side's":      {catalog.CommandKind, `"plugin": "sql", "context": {"url": "${env:URL}"}`, "/context/url", ""},
		"a reference":           {catalog.ClusterKind, `"context": {"url": "${env:URL}", "port": "${PORT}"}`, "", `{"port":{"ref":"env:PORT","set":true},"url":{"ref":"env:URL","set":true}}`},
		"as it was shown":       {catalog.ClusterKind, `"context": {"url": {"set": true, "ref": "env:URL"}}`, "", `{"url":{"ref":"env:URL","set":true}}`},
		"within a secret":       {catalog.ClusterKind, `"context": {"url": "pg://u:${URL}@h"}`, "", `{"url":{"part":true,"ref":"env:URL","set":true}}`},
		"within a text":         {catalog.ClusterKind, `"context": {"options": {"a": "x ${URL}"}}`, "", `{"options":{"a":"x ${URL}"}}`},
		"a secret":              {catalog.ClusterKind, `"context": {"url": "` + canary + `"}`, "/context/url", ""},
		"a secret that is none": {catalog.ClusterKind, `"context": {"url": ["` + canary + `"]}`, "/context/url", ""},
		"not allowed":           {catalog.ClusterKind, `"context": {"port": "${HOME}", "options": {"a": "${file:/etc/passwd}"}}`, "/context/options/a /context/port", ""},
		"nobody's":              {catalog.ClusterKind, `"context": {"password": "` + canary + `"}`, "/context/password", ""},
		"shown, in part":        {catalog.ClusterKind, `"context": {"url": {"set": true, "ref": "env:URL", "part": true}}`, "/context/url", ""},
		"shown, but not what":   {catalog.CommandKind, `"plugin": "free", "context": {"any": {"set": true}}`, "/context/any", ""},
		"like what is shown":    {catalog.CommandKind, `"plugin": "free", "context": {"any": {"set": true, "x": 1}}`, "", `{"any":{"set":true,"x":1}}`},
		"without a schema":      {catalog.CommandKind, `"plugin": "free", "context": {"any": {"thing": [1]}}`, "", `{"any":{"thing":[1]}}`},
	} {
		e, err := f.Put(t.Context(), "ann", c.kind, "o", registry.Definition{Body: []byte(`{"name": "o", ` + c.body + `}`)}, registry.Condition{})
		if c.faults == "" {
			if err != nil {
				t.Errorf("%s: %v, want no error", name, err)
			} else if got := string(f.Public(e)); got != c.context {
				t.Errorf("%s: context = %s, want %s", name, got, c.context)
			}
			continue
		}
		wantKind(t, name, err, errs.Invalid)
		var pointers []string
		if e, ok := errors.AsType[*errs.Error](err); ok {
			for _, field := range e.Fields {
				pointers = append(pointers, field.Pointer)
			}
		}
		if got := strings.Join(pointers, " "); got != c.faults || strings.Contains(fmt.Sprint(err), canary) {
			t.Errorf("%s: faults at %s: %v, want them at %s, without the value", name, got, err, c.faults)
		}
	}
}

// What the file of a host has written out is not shown, and not stored.
func TestSecretsOfFilesStayThere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	e, err := f.Get(catalog.ClusterKind, "filed")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(f.Public(e)), `{"url":{"set":true}}`; got != want {
		t.Errorf("context = %s, want %s", got, want)
	}
	stored, err := f.db.CatalogEntry(t.Context(), catalog.ClusterKind, "filed")
	if err != nil || strings.Contains(string(stored.Cluster.Context), canary) {
		t.Errorf("stored = %s, %v, want no secret", stored.Cluster.Context, err)
	}
	if got := string(f.watch.Snapshot().Cluster("filed").Context); !strings.Contains(got, canary) {
		t.Errorf("in force = %s, want what the file says", got)
	}
	unknown := &catalog.Entry{Kind: catalog.CommandKind, Command: &catalog.Command{
		Object: catalog.Object{Context: json.RawMessage(`{"a": "` + canary + `", "b": "${X}"}`)}, Plugin: "nope",
	}}
	if got, want := string(f.Public(unknown)), `{"a":{"set":true},"b":{"ref":"env:X","set":true}}`; got != want {
		t.Errorf("context of an unknown plugin = %s, want %s", got, want)
	}
}

func TestInput(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, c := range map[string]struct{ plugin, input, faults string }{
		"fits":             {"sql", `{"query": "select 1"}`, ""},
		"lacks":            {"sql", ``, "/context/query"},
		"does not fit":     {"sql", `{"query": 1, "limit": 2}`, "/context/limit /context/query"},
		"without a schema": {"free", `{"any": 1}`, ""},
		"is for others":    {"nope", `{"any": 1}`, ""},
	} {
		var pointers []string
		for _, fault := range f.Input(&catalog.Command{Plugin: c.plugin}, json.RawMessage(c.input)) {
			pointers = append(pointers, fault.Pointer)
		}
		if got := strings.Join(pointers, " "); got != c.faults {
			t.Errorf("an input that %s: faults at %q, want %q", name, got, c.faults)
		}
	}
}

func TestLease(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	lease := registry.Lease{TTL: time.Minute, Tags: []string{"a"}, Capacity: 2, Context: json.RawMessage(`{"port": 1}`)}
	renew := func() *catalog.Entry {
		t.Helper()
		e, err := f.Lease(t.Context(), "k", "k", lease)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	first := renew()
	if c := f.watch.Snapshot().Cluster("k"); c == nil || c.MaxRunning != 2 || c.Status != catalog.Active || !c.Tags.Has("a") {
		t.Errorf("in force = %+v, want the cluster", c)
	}
	if again := renew(); again.Revision != 1 || again.Version != first.Version || again.LeaseUntil.Before(first.LeaseUntil) {
		t.Errorf("renewed = %+v, want the same revision with a later end than %+v", again, first)
	}
	lease.Capacity = 3
	if other := renew(); other.Revision != 2 || f.watch.Snapshot().Cluster("k").MaxRunning != 3 {
		t.Errorf("changed = %+v, want it in force", other)
	}
	before, err := f.LeaseOf(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.SetStatus(t.Context(), "ann", catalog.ClusterKind, "k", catalog.Deleted, registry.Condition{}); err != nil {
		t.Fatal(err)
	}
	if e, err := f.LeaseOf(t.Context(), "k"); err != nil || !e.LeaseUntil.Equal(before.LeaseUntil) {
		t.Errorf("after an operator has set a status: %+v, %v, want a lease until %v: the cluster has not renewed it", e, err, before.LeaseUntil)
	}
	lease.Capacity = 4
	if e := renew(); e.Status() != catalog.Deleted {
		t.Errorf("status once an operator has deleted it = %s, want that it stays deleted", e.Status())
	}
	for name, c := range map[string]struct {
		registry.Lease
		at string // of the fault
	}{
		"no time":          {registry.Lease{}, "/ttl"},
		"for ever":         {registry.Lease{TTL: 48 * time.Hour}, "/ttl"},
		"a bad tag":        {registry.Lease{TTL: time.Minute, Tags: []string{"a\nb"}}, "/tags"},
		"a secret":         {registry.Lease{TTL: time.Minute, Context: json.RawMessage(`{"url": "x"}`)}, "/context/url"},
		"no context":       {registry.Lease{TTL: time.Minute, Context: json.RawMessage(`[]`)}, "/context"},
		"a negative count": {registry.Lease{TTL: time.Minute, Capacity: -1}, "/capacity"},
	} {
		_, err := f.Lease(t.Context(), "k", "bad", c.Lease)
		wantKind(t, name, err, errs.Invalid)
		if e, ok := errors.AsType[*errs.Error](err); !ok || len(e.Fields) != 1 || e.Fields[0].Pointer != c.at {
			t.Errorf("%s: error = %+v, want one fault at %s", name, err, c.at)
		}
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, id := range []string{"b", "a", "c"} { // in the order of their making
		f.put(t, catalog.CommandKind, id, `{"name": "N`+id+`", "version": "1", "plugin": "free", "tags": ["t:`+id+`", "all"]}`)
	}
	if _, err := f.SetStatus(t.Context(), "ann", catalog.CommandKind, "b", catalog.Inactive, registry.Condition{}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		filter registry.Filter
		want   string
	}{
		"all":        {registry.Filter{}, "a b c filed"},
		"backwards":  {registry.Filter{Descending: true}, "filed c b a"},
		"by age":     {registry.Filter{Order: registry.ByCreatedAt}, "filed b a c"},
		"by change":  {registry.Filter{Order: registry.ByUpdatedAt, Descending: true}, "b c a filed"},
		"by tags":    {registry.Filter{Tags: []string{"_name:Na", "all"}}, "a"},
		"by name":    {registry.Filter{Name: "N_"}, "a b c"},
		"by plugin":  {registry.Filter{Plugin: "s%"}, "filed"},
		"by version": {registry.Filter{Version: "1", ID: "%a%"}, "a"},
		"by status":  {registry.Filter{Statuses: []catalog.Status{catalog.Inactive}}, "b"},
		"nothing":    {registry.Filter{ID: "A"}, ""},
	} {
		for _, limit := range []int{1, 2, 100} {
			filter, got := c.filter, []string{}
			filter.Limit = limit
			for {
				page := f.List(catalog.CommandKind, filter)
				for _, e := range page.Entries {
					got = append(got, e.Command.ID)
				}
				if filter.After = page.Next; page.Next == nil {
					break
				}
			}
			if !slices.Equal(got, strings.Fields(c.want)) {
				t.Errorf("%s by %d: got %v, want %s", name, limit, got, c.want)
			}
		}
	}
	if page := f.List(catalog.ClusterKind, registry.Filter{Plugin: "%", Limit: 1}); len(page.Entries) != 0 {
		t.Errorf("clusters by plugin = %v, want none", page.Entries)
	}
}

// A cluster that hangs does not delay the others, and its check ends.
func TestHealth(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, id := range []string{"away", "hangs", "refuses", "silent", "well"} {
		f.put(t, catalog.ClusterKind, id, `{"name": "`+id+`", "tags": ["checked"]}`)
	}
	f.put(t, catalog.ClusterKind, "idle", `{"name": "idle", "tags": ["checked"], "status": "inactive"}`)
	f.put(t, catalog.CommandKind, "a-first", `{"name": "a", "plugin": "free", "cluster_tags": [["nobody"], ["checked"]]}`)
	f.put(t, catalog.CommandKind, "b-second", `{"name": "b", "plugin": "sql", "cluster_tags": ["checked"]}`)
	if _, err := f.SetStatus(t.Context(), "ann", catalog.CommandKind, "filed", catalog.Inactive, registry.Condition{}); err != nil {
		t.Fatal(err)
	}
	f.check = func(ctx context.Context, command *catalog.Command, cluster *catalog.Cluster) (pluginhost.Health, error) {
		if command.ID != "a-first" {
			return pluginhost.Health{}, fmt.Errorf("checked by %s", command.ID)
		}
		switch cluster.ID {
		case "hangs":
			<-ctx.Done()
			return pluginhost.Health{}, errors.New("no answer in time")
		case "refuses":
			return pluginhost.Health{Checked: true, Detail: "it refuses"}, nil
		case "away":
			return pluginhost.Health{}, errors.New("the plugin is away")
		case "silent":
			return pluginhost.Health{OK: true}, nil
		}
		return pluginhost.Health{Checked: true, OK: true}, nil
	}
	var got []string
	for _, c := range f.Health(t.Context()) {
		got = append(got, fmt.Sprintf("%s %s %s: %s", c.Cluster.ID, c.Plugin, c.Status, c.Error))
	}
	want := []string{
		"away free error: the plugin is away",
		"filed  unchecked: no command that can be run here takes it",
		"hangs free error: no answer in time",
		"refuses free error: it refuses",
		"silent free unchecked: ",
		"well free ok: ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("checks = %q, want %q", got, want)
	}
	c, err := f.HealthOf(t.Context(), "idle")
	if err != nil || c.Status != registry.Well {
		t.Errorf("health of one that is not active = %+v, %v, want ok", c, err)
	}
	_, err = f.HealthOf(t.Context(), "nope")
	wantKind(t, "health of nothing", err, errs.NotFound)
}

// crowd is a catalog of many clusters, which hang when they are checked, but for the last.
type crowd struct{ registry.Catalog }

const crowded = 2000

func (crowd) Snapshot() *catalog.Snapshot {
	object := func(id string) catalog.Object { return catalog.Object{ID: id, Name: id, Status: catalog.Active} }
	var clusters []*catalog.Cluster
	for i := range crowded {
		clusters = append(clusters, &catalog.Cluster{Object: object(fmt.Sprintf("%05d", i))})
	}
	s, err := catalog.NewSnapshot([]*catalog.Command{{Object: object("c"), Plugin: "p"}}, clusters)
	if err != nil {
		panic(err)
	}
	return s
}

func (crowd) Check(ctx context.Context, _ *catalog.Command, _ *catalog.Cluster) (pluginhost.Health, error) {
	<-ctx.Done()
	return pluginhost.Health{}, ctx.Err()
}

// However many clusters hang, there is an answer in time, and it says which were not
// checked.
func TestHealthOfManyThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := registry.New(registry.Config{
			Catalog: crowd{}, Checker: crowd{}, CheckTime: 10 * time.Second, Usable: func(*catalog.Command) error { return nil },
		})
		begun := time.Now()
		ill, unchecked := 0, 0
		for _, c := range r.Health(t.Context()) {
			switch {
			case c.Status == registry.Ill:
				ill++
			case c.Status == registry.Unchecked && c.Error != "":
				unchecked++
			}
		}
		if took := time.Since(begun); took > 30*time.Second || ill < 500 || ill+unchecked != crowded {
			t.Errorf("%d clusters hang and %d are not checked after %v, want all %d within 30s", ill, unchecked, took, crowded)
		}
	})
}
