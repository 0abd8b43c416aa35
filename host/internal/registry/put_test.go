package registry_test

import (
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/registry"
)

// A script that puts what is there changes nothing: no revision, no history, no word to
// other hosts.
func TestPutOfTheSameIsNoChange(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put(t, catalog.CommandKind, "report", report)
	same := `{"tags": ["type:report"], "context": { "dialect":"x" }, "plugin": "sql", "name": "Report", "revision": 1, "status_override": "INACTIVE"}`
	if e := f.put(t, catalog.CommandKind, "report", same); e.Revision != 1 || f.changed != 1 {
		t.Errorf("the same again = revision %d, changed %d times, want the first revision, once", e.Revision, f.changed)
	}
	if _, err := f.SetStatus(t.Context(), "ann", catalog.CommandKind, "report", catalog.Inactive, registry.Condition{}); err != nil {
		t.Fatal(err)
	}
	if e := f.put(t, catalog.CommandKind, "report", same); e.Revision != 2 || e.Status() != catalog.Inactive {
		t.Errorf("the same without its status = revision %d, %s, want the override to stay", e.Revision, e.Status())
	}
	e, err := f.Put(t.Context(), "ann", catalog.CommandKind, "report", registry.Definition{Body: []byte(report), Status: true}, registry.Condition{})
	if err != nil || e.Revision != 3 || e.Status() != catalog.Active {
		t.Errorf("the same with its status = %+v, %v, want that the override goes", e, err)
	}
	// What another host has changed meanwhile is in force here, too, before it is said to be so.
	if _, err := f.db.ChangeCatalog(t.Context(), catalog.CommandKind, "report", "bob", func(is *catalog.Entry) (*catalog.Entry, error) {
		is.Command.Name = "Other"
		return is, nil
	}); err != nil {
		t.Fatal(err)
	}
	e = f.put(t, catalog.CommandKind, "report", strings.Replace(report, "Report", "Other", 1))
	if c := f.watch.Snapshot().Command("report"); e.Revision != 4 || c.Name != "Other" {
		t.Errorf("what another host has made = revision %d, %q in force, want that in force", e.Revision, c.Name)
	}
}
