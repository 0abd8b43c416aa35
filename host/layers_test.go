// Package host_test holds what must be true of the modules as a whole: who may
// import whom.
package host_test

import (
	"cmp"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	project  = "github.com/heimdall-run/heimdall/"
	hostRoot = project + "host/"
	sdkRoot  = project + "sdk"
)

// layers is the diagram: a package may import packages of lower layers only. A
// package that is not in it is a mistake, so that a new one gets its place on
// purpose. Sub-packages belong to their parent.
var layers = map[string]int{
	"cmd/heimdall":   5,
	"internal/cli":   5,
	"internal/app":   5,
	"internal/bench": 5,

	"internal/api": 4,

	"internal/cleanup":   3,
	"internal/jobs":      3,
	"internal/queue":     3,
	"internal/registry":  3,
	"internal/retention": 3,

	"internal/runner":      2,
	"internal/watch":       2,
	"internal/bell":        2,
	"internal/peer":        2,
	"internal/presence":    2,
	"internal/conformance": 2,

	"internal/store":       1,
	"internal/pluginhost":  1,
	"internal/artifacts":   1,
	"internal/objectstore": 1,
	"internal/auth":        1,
	"internal/config":      1,
	"internal/metrics":     1,
	"internal/trace":       1,
	"internal/folder":      1,
	"internal/scaffold":    1,
	"internal/importer":    1,
	"internal/schema":      1,
	"internal/spool":       1,
	"internal/live":        1,

	"internal/errs":        0,
	"internal/attribute":   0,
	"internal/tag":         0,
	"internal/job":         0,
	"internal/catalog":     0,
	"internal/selector":    0,
	"internal/checkreport": 0,
	"internal/table":       0,
}

// sameLayer lists the imports that are allowed although they do not go down.
var sameLayer = map[string][]string{
	"cmd/heimdall":        {"internal/app", "internal/cli"},
	"internal/artifacts":  {"internal/objectstore"},
	"internal/config":     {"internal/objectstore"}, // where objects are kept is a setting
	"internal/pluginhost": {"internal/folder"},
	"internal/attribute":  {"internal/job"},
	"internal/catalog":    {"internal/errs", "internal/job", "internal/tag"},
	"internal/job":        {"internal/errs", "internal/tag"},
	"internal/selector":   {"internal/catalog", "internal/errs", "internal/job", "internal/tag"},
	"internal/tag":        {"internal/errs"},
}

// forTests names the packages that only tests, and each other, may import.
// They may import everything.
var forTests = []string{
	"internal/api/apitest",
	"internal/objectstore/objectstoretest",
	"internal/objectstore/s3test",
	"internal/canary",
	"internal/pgtest",
	"internal/store/memstore",
	"internal/store/storetest",
	"internal/zoo",
}

// apart names the programs beside the host: they use it from outside, by its
// binaries and its HTTP API, and import nothing of it.
var apart = []string{"internal/chaos", "internal/demo"}

// only says who in the host may import what has a single owner. A prefix
// covers what lies below it.
var only = map[string][]string{
	sdkRoot + "/pluginpb":                   {"internal/pluginhost", "internal/conformance", "internal/bench"}, // whose peer is go-plugin's own client
	sdkRoot + "/handshake":                  {"internal/pluginhost", "internal/conformance", "internal/bench"},
	sdkRoot + "/pluginname":                 {"internal/pluginhost", "internal/conformance", "internal/config", "internal/scaffold", "internal/cli"},
	sdkRoot + "/client":                     {"internal/cli", "internal/demo", "internal/bench", "internal/chaos"},
	sdkRoot:                                 {"internal/pluginhost"},
	"github.com/hashicorp/go-plugin":        {"internal/pluginhost", "internal/bench"},
	"database/sql":                          {"internal/store"},
	"github.com/jackc/pgx":                  {"internal/store", "internal/bench"}, // whose limit is the bare database
	"github.com/pressly/goose":              {"internal/store"},
	"modernc.org/sqlite":                    {"internal/store"},
	"github.com/gorilla/mux":                {"internal/api", "internal/bench"}, // whose peer has the same router
	"github.com/getkin/kin-openapi":         {"internal/api"},                   // in tests
	"github.com/spf13/cobra":                {"internal/cli"},
	"go.yaml.in/yaml":                       {"internal/api", "internal/cli", "internal/importer"},
	"github.com/prometheus":                 {"internal/metrics"},
	"go.opentelemetry.io":                   {"internal/trace"},
	"github.com/minio/minio-go":             {"internal/objectstore"},
	"github.com/BurntSushi/toml":            {"internal/config", "internal/cli"}, // whose own files are TOML too
	"github.com/santhosh-tekuri/jsonschema": {"internal/conformance", "internal/schema"},
}

func TestImportsGoDown(t *testing.T) {
	packages := imports(t, ".")
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		if within(name, forTests) || name == "." {
			continue
		}
		if within(name, apart) {
			for _, imported := range packages[name] {
				if strings.HasPrefix(imported, hostRoot) {
					t.Errorf("%s imports %s, want nothing of the host", name, imported)
				}
			}
			continue
		}
		from, layer, ok := place(name)
		if !ok {
			t.Errorf("%s has no layer: give it one in this test's table and in the diagram", name)
			continue
		}
		seen[from] = true
		for _, imported := range packages[name] {
			if !strings.HasPrefix(imported, hostRoot) {
				continue
			}
			imported = strings.TrimPrefix(imported, hostRoot)
			if within(imported, forTests) {
				t.Errorf("%s imports %s, want it in tests only", name, imported)
				continue
			}
			to, below, ok := place(imported)
			if !ok || to == from || below < layer || slices.Contains(sameLayer[from], to) {
				continue
			}
			t.Errorf("%s (layer %d) imports %s (layer %d), want only lower layers", name, layer, imported, below)
		}
	}
	for name := range layers {
		if !seen[name] {
			t.Errorf("the table has %s, which is not there", name)
		}
	}
}

func TestSomeImportsHaveOneOwner(t *testing.T) {
	for name, imported := range imports(t, ".") {
		if name == "." || within(name, forTests) {
			continue
		}
		for _, path := range imported {
			owned, owners := owner(path)
			if owned != "" && !within(name, owners) {
				t.Errorf("%s imports %s, want %s only in %v", name, path, owned, owners)
			}
		}
	}
}

func TestLowestLayerDoesNoIO(t *testing.T) {
	forbidden := []string{"database/sql", "io/fs", "io/ioutil", "net", "os", "syscall", "log", "log/slog", "google.golang.org", "golang.org/x/sys"}
	for name, imported := range imports(t, ".") {
		if _, layer, ok := place(name); !ok || layer != 0 {
			continue
		}
		for _, path := range imported {
			if within(path, forbidden) && !within(path, []string{"net/url", "net/netip"}) {
				t.Errorf("%s imports %s, want no input and output in layer 0", name, path)
			}
		}
	}
}

func TestSDKKnowsNothingOfTheHost(t *testing.T) {
	for name, imported := range imports(t, "../sdk") {
		for _, path := range imported {
			if strings.HasPrefix(path, project) && !within(path, []string{sdkRoot}) {
				t.Errorf("sdk package %s imports %s, want only the sdk", name, path)
			}
		}
	}
}

func TestPluginsImportOnlyTheSDK(t *testing.T) {
	folders, err := filepath.Glob("../plugins/*/go.mod")
	if err != nil || len(folders) == 0 {
		t.Fatalf("plugins found = %v, %v, want some", folders, err)
	}
	for _, file := range folders {
		folder := filepath.Dir(file)
		own := project + "plugins/" + filepath.Base(folder)
		for name, imported := range imports(t, folder) {
			for _, path := range imported {
				if !strings.HasPrefix(path, project) || within(path, []string{own, sdkRoot}) && path != sdkRoot+"/pluginpb" {
					continue
				}
				t.Errorf("plugin %s package %s imports %s, want only the sdk", filepath.Base(folder), name, path)
			}
		}
	}
}

// imports returns what each package below root imports outside of its tests,
// by its path relative to root.
func imports(t *testing.T, root string) map[string][]string {
	t.Helper()
	packages := map[string][]string{}
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == "vendor"):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		paths := make([]string, len(parsed.Imports))
		for i, spec := range parsed.Imports {
			if paths[i], err = strconv.Unquote(spec.Path.Value); err != nil {
				return err
			}
		}
		packages[filepath.ToSlash(folder)] = append(packages[filepath.ToSlash(folder)], paths...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) == 0 {
		t.Fatalf("packages below %s = none, want some", root)
	}
	for name := range packages {
		slices.Sort(packages[name])
		packages[name] = slices.Compact(packages[name])
	}
	return packages
}

// place finds the entry of the table that a package belongs to.
func place(name string) (entry string, layer int, ok bool) {
	for entry := name; entry != "." && entry != "/"; entry = path.Dir(entry) {
		if layer, ok := layers[entry]; ok {
			return entry, layer, true
		}
	}
	return "", 0, false
}

// owner finds the longest entry of only that covers an import.
func owner(imported string) (owned string, owners []string) {
	entries := slices.SortedFunc(maps.Keys(only), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, entry := range entries {
		if within(imported, []string{entry}) {
			return entry, only[entry]
		}
	}
	return "", nil
}

// within reports whether name is one of the folders or lies in one.
func within(name string, folders []string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool {
		return name == folder || strings.HasPrefix(name, folder+"/")
	})
}
