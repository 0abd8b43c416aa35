package config_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/config"
	"github.com/heimdall-run/heimdall/host/internal/errs"
)

func TestReadCommand(t *testing.T) {
	t.Parallel()
	c, err := config.ReadCommand("report", []byte(`{
		"id": "report", "name": "Report", "version": "2", "status": "INACTIVE", "plugin": "shell", "is_sync": true,
		"tags": ["_version:1", "type:report", "_id:report"], "cluster_tags": [["a", "b"], ["c"]],
		"timeout": "10m", "max_priority": 5, "limits": {"memory": "1GiB", "open_files": 64}, "on_shutdown": "detach", "description": null,
		"context": {"command": ["x", {"set": true, "ref": "env:TOKEN"}], "n": 12345678901234567890, "none": null, "ratio": 1.0},
		"revision": 7, "created_at": 1, "user": "ann", "managed_by": "api"
	}`), true)
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != "report" || c.Name != "Report" || c.Status != catalog.Inactive || !c.Sync || c.Timeout != 10*time.Minute ||
		*c.Bounds.Priority != 5 || c.Limits.MemoryBytes != 1<<30 || !c.Detach || len(c.ClusterTags) != 2 {
		t.Errorf("command = %+v", c)
	}
	if got, want := strings.Join(c.Tags, " "), "_id:report _name:Report _version:2 type:report"; got != want {
		t.Errorf("tags = %s, want %s", got, want)
	}
	const context = `{"command":["x","${env:TOKEN}"],"n":12345678901234567890,"none":null,"ratio":1.0}`
	if string(c.Context) != context {
		t.Errorf("context = %s, want %s", c.Context, context)
	}
	// Outside of contexts nothing is taken from the environment.
	c, err = config.ReadCommand("a", []byte(`{"name": "a${HOME}", "plugin": "ping"}`), true)
	if err != nil || c.Name != "a${HOME}" || c.Status != catalog.Active {
		t.Errorf("command = %+v, %v, want the name as it stands, active", c, err)
	}
}

func TestDefinitionsWithFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body     string
		pointers []string
	}{
		"nothing":              {`{}`, []string{"/name", "/plugin"}},
		"nulls":                {`{"name": null, "plugin": null}`, []string{"/name", "/plugin"}},
		"an unknown key":       {`{"name": "a", "plugin": "ping", "is_synk": true}`, []string{"/is_synk"}},
		"wrong types":          {`{"name": 1, "plugin": ["ping"], "is_sync": "yes", "tags": "a"}`, []string{"/is_sync", "/name", "/plugin", "/tags"}},
		"another id":           {`{"id": "b", "name": "a", "plugin": "ping"}`, []string{"/id"}},
		"a bad status":         {`{"name": "a", "plugin": "ping", "status": "on"}`, []string{"/status"}},
		"deep inside":          {`{"name": "a", "plugin": "ping", "limits": {"memory": "1"}, "cluster_tags": [["a"], ["\n", 1]]}`, []string{"/cluster_tags/1/1", "/limits/memory"}},
		"a reference":          {`{"name": "a", "plugin": "ping", "context": {"a/b": {"c d": ["${}"]}}}`, []string{"/context/a~1b/c d/0"}},
		"a context of no kind": {`{"name": "a", "plugin": "ping", "context": []}`, []string{"/context"}},
		"a negative duration":  {`{"name": "a", "plugin": "ping", "timeout": "-1s", "retry": {"attempts": -1}}`, []string{"/retry/attempts", "/timeout"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config.ReadCommand("a", []byte(c.body), true)
			e, ok := errors.AsType[*errs.Error](err)
			if !ok || e.Kind != errs.Invalid {
				t.Fatalf("error = %v, want one of kind invalid", err)
			}
			var got []string
			for _, f := range e.Fields {
				got = append(got, f.Pointer)
			}
			if !slices.Equal(got, c.pointers) {
				t.Errorf("pointers = %q, want %q: %v", got, c.pointers, e.Fields)
			}
		})
	}
	if _, err := config.ReadCluster("k", []byte(`{"name": "k", "plugin": "ping"}`), true); err == nil || !strings.Contains(err.Error(), "unknown key") {
		t.Errorf("a cluster with a plugin: %v, want that the key is unknown", err)
	}
	if _, err := config.ReadCluster("a/b", []byte(`{"name": "k"}`), true); err == nil || !strings.Contains(err.Error(), "id") {
		t.Errorf("a cluster with a slash in its id: %v, want a fault of the id", err)
	}
}

// Existing clients send more than there is here, and an id that need not be that of the
// path.
func TestWhatIsPassedOver(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		more   string
		status catalog.Status
	}{
		"nothing":                  {``, catalog.Active},
		"unknown keys":             {`, "id": "b", "is_synk": 1, "health_check": {"a": []}, "user": "ann", "allowed_callers": []`, catalog.Active},
		"no list of callers":       {`, "allowed_callers": null`, catalog.Active},
		"callers":                  {`, "allowed_callers": ["etl-.*"]`, catalog.Inactive},
		"callers beside a status":  {`, "allowed_callers": ["etl-.*"], "status": "active"`, catalog.Inactive},
		"callers of an odd type":   {`, "allowed_callers": "etl-.*"`, catalog.Inactive},
		"callers of what is there": {`, "allowed_callers": ["etl-.*"], "status": "inactive"`, catalog.Inactive},
	} {
		body := []byte(`{"name": "n", "plugin": "ping"` + c.more + `}`)
		command, err := config.ReadCommand("a", body, false)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if command.ID != "a" || command.Status != c.status {
			t.Errorf("%s: id = %s, status = %s, want a and %s", name, command.ID, command.Status, c.status)
		}
	}
	if _, err := config.ReadCluster("a", []byte(`{"name": "n", "plugin": "ping", "limits": {"x": 1}}`), false); err != nil {
		t.Errorf("a cluster with keys of a command: %v", err)
	}
	if _, err := config.ReadCommand("a", []byte(`{"name": "n", "plugin": "ping", "limits": {"x": 1}}`), false); err == nil {
		t.Error("an unknown key deep inside is passed over, want a fault")
	}
}

func FuzzReadCommand(f *testing.F) {
	f.Add([]byte(`{"name": "a", "plugin": "ping", "cluster_tags": [["a"]], "limits": {"memory": 1e3}, "context": {"a.b[0]\"": "${x}"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, err := config.ReadCommand("a", body, true)
		if err != nil && errs.KindOf(err) == errs.Internal {
			t.Errorf("error = %v, want one with a kind", err)
		}
	})
}

func TestWhatTheAPIMayReferTo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	for _, file := range []string{filepath.Join(dir, "password"), outside} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	s := config.Secrets{Env: []string{"TOKEN"}, Dir: dir}
	for text, want := range map[string]bool{
		"plain $HOME $${HOME}":              true,
		"${TOKEN}":                          true,
		"Bearer ${env:TOKEN}":               true,
		"${HOME}":                           false,
		"${TOKEN}${env:HOME}":               false,
		"${file:" + dir + "/password}":      true,
		"${file:" + dir + "/not/there/yet}": true,
		"${file:" + dir + "}":               false,
		"${file:" + dir + "/../x}":          false,
		"${file:" + dir + "/link}":          false,
		"${file:password}":                  false,
		"${file:/etc/passwd}":               false,
	} {
		context, err := json.Marshal(map[string]any{"a": []any{1, text}})
		if err != nil {
			t.Fatal(err)
		}
		faults := s.Allow(context)
		if got := len(faults) == 0; got != want || !got && faults[0].Pointer != "/context/a/1" {
			t.Errorf("%s: allowed = %t, want %t: %v", text, got, want, faults)
		}
	}
	if len(config.Secrets{}.Allow([]byte(`{"a":"${file:/a}"}`))) == 0 {
		t.Error("without secrets.dir a file is allowed")
	}
}
