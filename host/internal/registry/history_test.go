package registry_test

import (
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/registry"
)

// Each change is in the history of its object, without any secret.
func TestHistory(t *testing.T) {
	f := newFixture(t)
	f.put(t, catalog.CommandKind, "c", `{"name": "first", "plugin": "free"}`)
	f.put(t, catalog.CommandKind, "c", `{"name": "second", "plugin": "free"}`)
	if _, err := f.SetStatus(t.Context(), "bob", catalog.CommandKind, "c", catalog.Inactive, registry.Condition{}); err != nil {
		t.Fatal(err)
	}
	all, err := f.History(t.Context(), catalog.CommandKind, "c", 0, 10)
	if err != nil || len(all) != 3 {
		t.Fatalf("history = %d revisions, %v, want 3", len(all), err)
	}
	if all[0].UpdatedBy != "bob" || all[0].Status() != catalog.Inactive || all[1].Revision != 2 || all[2].Command.Name != "first" {
		t.Errorf("history = %+v, want the newest first", all)
	}
	two, err := f.History(t.Context(), catalog.CommandKind, "c", 3, 1)
	if err != nil || len(two) != 1 || two[0].Revision != 2 {
		t.Errorf("before the third = %+v, %v, want the second", two, err)
	}
	none, err := f.History(t.Context(), catalog.CommandKind, "c", 1, 1)
	if err != nil || len(none) != 0 {
		t.Errorf("before the first = %+v, %v, want nothing", none, err)
	}
	_, err = f.History(t.Context(), catalog.CommandKind, "nope", 0, 10)
	wantKind(t, "of what is not there", err, errs.NotFound)

	filed, err := f.History(t.Context(), catalog.ClusterKind, "filed", 0, 10)
	if err != nil || len(filed) != 1 {
		t.Fatalf("history of the file's = %+v, %v, want one revision", filed, err)
	}
	if shown := string(f.Public(filed[0])); !strings.Contains(shown, `{"set":true`) || strings.Contains(shown, canary) {
		t.Errorf("context = %s, want that the secret is set", shown)
	}
}
