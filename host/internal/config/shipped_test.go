package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/config"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

const shipped = "../../../configs"

func TestShippedConfigIsTheDefault(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shipped, "heimdall.toml")
	got, err := config.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := got.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	got.Commands, got.Clusters = nil, nil
	if diff := cmp.Diff(config.Default(), got); diff != "" {
		t.Errorf("settings of %s (-default +got):\n%s", path, diff)
	}

	ping := &catalog.Command{
		Object: catalog.Object{
			ID: "ping-0.0.1", Name: "ping-0.0.1", Version: "0.0.1", Description: "Test ping command", Status: catalog.Active,
			Tags: tag.New("type:ping", "_id:ping-0.0.1", "_name:ping-0.0.1", "_version:0.0.1"), Context: []byte("{}"),
		},
		Plugin: "ping", Sync: true, ClusterTags: []tag.Set{tag.New("type:localhost")},
	}
	if diff := cmp.Diff(ping, snapshot.Command("ping-0.0.1"), cmpopts.IgnoreUnexported(catalog.Object{})); diff != "" {
		t.Errorf("ping-0.0.1 (-want +got):\n%s", diff)
	}
	if c := snapshot.Command("shell-hello"); c == nil || c.Plugin != "shell" || c.Sync || !c.Tags.Has("type:shell") {
		t.Errorf("shell-hello = %+v, want an async command of plugin shell", c)
	}
	want := tag.New("type:localhost", "data:local", "_id:localhost-0.0.1", "_name:localhost-0.0.1", "_version:0.0.1")
	if c := snapshot.Cluster("localhost-0.0.1"); c == nil || !cmp.Equal(c.Tags, want) {
		t.Errorf("localhost-0.0.1 = %+v, want tags %v", c, want)
	}
}

// The settings of the shipped file, when they are commented in, are all the
// settings that there are, and their values are the defaults.
func TestShippedConfigShowsEveryKey(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(shipped, "heimdall.toml"))
	if err != nil {
		t.Fatal(err)
	}
	settings, objects, found := strings.Cut(string(text), "[[commands]]")
	if !found {
		t.Fatal("the file has no [[commands]]; want the settings before it")
	}
	settings = regexp.MustCompile(`(?m)^# ([a-z_]+ = )`).ReplaceAllString(settings, "$1")
	got := load(t, settings)
	if got.Plugins.Environment == nil || got.Auth.Operators == nil || got.Secrets.Env == nil {
		t.Error("environment, operators and secrets.env are not set; want empty lists")
	}
	got.Plugins.Environment, got.Auth.Operators, got.Secrets.Env = nil, nil, nil
	if diff := cmp.Diff(config.Default(), got); diff != "" {
		t.Errorf("settings commented in (-default +got):\n%s", diff)
	}

	all := reflect.TypeFor[config.Config]()
	for i := range all.NumField() {
		section := all.Field(i)
		if name := section.Tag.Get("toml"); section.Type.Kind() == reflect.Struct {
			_, rest, found := strings.Cut(settings, "\n["+name+"]\n")
			if !found {
				t.Errorf("the file has no [%s]", name)
			}
			body, _, _ := strings.Cut(rest, "\n[")
			mentions(t, "["+name+"]", body, section.Type)
		}
	}
	mentions(t, "the commands", objects, reflect.TypeFor[config.Command]())
	if !strings.Contains(settings, "\ndata_dir = ") || !strings.Contains(objects, "[plugin.") || !strings.Contains(objects, "[[clusters]]") {
		t.Error("the file lacks data_dir, [plugin.…] or [[clusters]]")
	}
}

// mentions reports the keys of a struct that a text does not set, not even in a
// comment.
func mentions(t *testing.T, where, text string, of reflect.Type) {
	t.Helper()
	for i := range of.NumField() {
		key := of.Field(i).Tag.Get("toml")
		if !regexp.MustCompile(`(?m)^(# )?` + key + ` = |^(# )?\[(commands|plugins)\.` + key + `[.\]]`).MatchString(text) {
			t.Errorf("%s: the file does not show %s", where, key)
		}
	}
}

func TestShippedComposeConfig(t *testing.T) {
	t.Parallel()
	c, err := config.Load(filepath.Join(shipped, "compose.toml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Server.Listen != "0.0.0.0:9090" || c.Server.Loopback() || !strings.Contains(c.Store.URL, "@postgres:5432/") {
		t.Errorf("listen = %s, store = %s; want all addresses and the host postgres", c.Server.Listen, c.Store.URL)
	}
	got, err := c.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	c, err = config.Load(filepath.Join(shipped, "heimdall.toml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := c.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Commands, got.Commands, cmpopts.IgnoreUnexported(catalog.Object{})); diff != "" {
		t.Errorf("commands (-heimdall.toml +compose.toml):\n%s", diff)
	}
	if diff := cmp.Diff(want.Clusters, got.Clusters, cmpopts.IgnoreUnexported(catalog.Object{})); diff != "" {
		t.Errorf("clusters (-heimdall.toml +compose.toml):\n%s", diff)
	}
}
