package watch_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/tag"
	"github.com/heimdall-run/heimdall/host/internal/watch"
)

// BenchmarkManyObjects loads a file with 10,000 commands and as many clusters, for the
// first time and once more, and then puts a change of one into force.
func BenchmarkManyObjects(b *testing.B) {
	load := func() (*catalog.Snapshot, error) {
		var commands []*catalog.Command
		var clusters []*catalog.Cluster
		for i := range 10_000 {
			team := fmt.Sprint("team:", i%100)
			o := catalog.Object{
				ID: fmt.Sprint("o", i), Name: fmt.Sprint("o", i), Version: "1", Status: catalog.Active,
				Tags: tag.New("type:x", team), Context: []byte(`{"command":["/bin/true"]}`),
			}
			commands = append(commands, &catalog.Command{Object: o, Plugin: "shell", ClusterTags: []tag.Set{tag.New(team)}})
			clusters = append(clusters, &catalog.Cluster{Object: o})
		}
		return catalog.NewSnapshot(commands, clusters)
	}
	took := map[string]time.Duration{}
	for b.Loop() {
		stored, epoch := openShelf(b)
		c := watch.Config{Load: load, Store: stored, Host: "h", Epoch: epoch, Log: hclog.NewNullLogger()}
		var w *watch.Catalog
		for _, what := range []string{"first", "again"} {
			begun := time.Now()
			var err error
			if w, err = watch.New(b.Context(), c); err != nil {
				b.Fatal(err)
			}
			took[what] += time.Since(begun)
		}
		begun := time.Now()
		change(b, stored.DB, "new", "")
		if err := w.Refresh(b.Context()); err != nil {
			b.Fatal(err)
		}
		took["change"] += time.Since(begun)
	}
	for what, d := range took {
		b.ReportMetric(float64(d.Milliseconds())/float64(b.N), "ms/"+what)
	}
}

// change has the API make a command what a description says.
func change(t testing.TB, db *store.DB, id, description string) {
	t.Helper()
	_, err := db.ChangeCatalog(t.Context(), catalog.CommandKind, id, "ann", func(is *catalog.Entry) (*catalog.Entry, error) {
		e := &catalog.Entry{Kind: catalog.CommandKind, Owner: catalog.ByAPI, Command: &catalog.Command{
			Object: catalog.Object{ID: id, Name: id, Description: description, Status: catalog.Active}, Plugin: "ping",
		}}
		if is != nil {
			e.Revision = is.Revision
		}
		return e, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
