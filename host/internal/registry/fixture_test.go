package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/config"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/registry"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/watch"
)

// canary is a secret that the file of the host has written out.
const canary = "canary-91ce"

// sqlSettings are those of the plugin sql. The plugin free has no schema.
const sqlSettings = `{
	"type": "object", "additionalProperties": false, "required": ["url", "dialect"],
	"properties": {
		"url": {"type": "string", "x-heimdall-secret": true, "x-heimdall-placement": "cluster"},
		"port": {"type": "integer"},
		"dialect": {"type": "string", "x-heimdall-placement": "command"},
		"options": {"type": "object", "additionalProperties": {"type": "string"}}
	}
}`

const sqlInput = `{"type": "object", "additionalProperties": false, "required": ["query"], "properties": {"query": {"type": "string"}}}`

// fixture is a registry over a store of its own. It has the plugins sql and free, and a
// file that declares a command and a cluster.
type fixture struct {
	*registry.Registry
	db      *store.DB
	watch   *watch.Catalog
	changed int
	// meanwhile is called once, before the catalog is read anew.
	meanwhile func()
	check     func(ctx context.Context, command *catalog.Command, cluster *catalog.Cluster) (pluginhost.Health, error)
}

func (f *fixture) Described(plugin, _ string) (*pluginhost.Description, error) {
	switch plugin {
	case "sql":
		return &pluginhost.Description{Name: "sql", SettingsSchema: json.RawMessage(sqlSettings), InputSchema: json.RawMessage(sqlInput)}, nil
	case "deep":
		const secret = `{"type": "string", "x-heimdall-secret": true}`
		return &pluginhost.Description{Name: "deep", SettingsSchema: json.RawMessage(`{"properties": {
			"keys": {"type": "array", "items": ` + secret + `},
			"of": {"additionalProperties": {"properties": {"key": ` + secret + `}}}}}`)}, nil
	case "free":
		return &pluginhost.Description{Name: "free"}, nil
	}
	return nil, errors.New("no plugin " + plugin + " is installed on this host")
}

func (f *fixture) Descriptions() []*pluginhost.Description {
	sql, _ := f.Described("sql", "")
	free, _ := f.Described("free", "")
	return []*pluginhost.Description{sql, free}
}

func (f *fixture) Check(ctx context.Context, command *catalog.Command, cluster *catalog.Cluster) (pluginhost.Health, error) {
	return f.check(ctx, command, cluster)
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: "sqlite", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	epoch, err := db.RegisterHost(t.Context(), store.Host{ID: "h", Name: "h"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{db: db}
	f.Registry = registry.New(registry.Config{
		Store: db, Catalog: later{f}, Plugins: f, Checker: f, CheckTime: 50 * time.Millisecond,
		Usable: func(c *catalog.Command) error {
			_, err := f.Described(c.Plugin, "")
			return err
		},
		Allow:   config.Secrets{Env: []string{"URL", "PORT"}}.Allow,
		Changed: func() { f.changed++ },
	})
	f.watch, err = watch.New(t.Context(), watch.Config{
		File: "/etc/heimdall.toml", Store: db, Host: "h", Epoch: epoch, Name: "h", Log: hclog.NewNullLogger(), Public: f.Public,
		Load: func() (*catalog.Snapshot, error) {
			return catalog.NewSnapshot(
				[]*catalog.Command{{Object: catalog.Object{ID: "filed", Name: "filed", Status: catalog.Active, Context: json.RawMessage(`{"dialect":"x"}`)}, Plugin: "sql"}},
				[]*catalog.Cluster{{Object: catalog.Object{ID: "filed", Name: "filed", Status: catalog.Active, Context: json.RawMessage(`{"url":"` + canary + `"}`)}}},
			)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// later is the catalog in force, which is made after the registry.
type later struct{ f *fixture }

func (l later) Entries(kind catalog.Kind) []*catalog.Entry { return l.f.watch.Entries(kind) }
func (l later) Snapshot() *catalog.Snapshot                { return l.f.watch.Snapshot() }
func (l later) Refresh(ctx context.Context) error {
	if do := l.f.meanwhile; do != nil {
		l.f.meanwhile = nil
		do()
	}
	return l.f.watch.Refresh(ctx)
}

func (f *fixture) put(t *testing.T, kind catalog.Kind, id, body string) *catalog.Entry {
	t.Helper()
	e, err := f.Put(t.Context(), "ann", kind, id, registry.Definition{Body: []byte(body)}, registry.Condition{})
	if err != nil {
		t.Fatalf("put %s %s: %v", kind, id, err)
	}
	return e
}

// wantKind checks that an error has a kind.
func wantKind(t *testing.T, what string, err error, want errs.Kind) {
	t.Helper()
	if got := errs.KindOf(err); got != want {
		t.Errorf("%s: error = %v (%q), want one of kind %q", what, err, got, want)
	}
}
