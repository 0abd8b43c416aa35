package watch_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/watch"
)

// shelf is a store that may be away, and knows which revisions it has.
type shelf struct {
	*store.DB
	stored map[string]bool
	away   atomic.Bool
}

// openShelf opens an empty store with a host, which is live for an hour.
func openShelf(t testing.TB) (*shelf, int64) {
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
	s := &shelf{DB: db, stored: map[string]bool{}}
	return s, s.register(t, "h")
}

func (s *shelf) register(t testing.TB, host string) int64 {
	t.Helper()
	epoch, err := s.RegisterHost(t.Context(), store.Host{ID: host, Name: host}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return epoch
}

func (s *shelf) Declare(ctx context.Context, d store.Declaration) (store.Declared, error) {
	if s.away.Load() {
		return store.Declared{}, errs.Errorf(errs.Unavailable, "away")
	}
	return s.DB.Declare(ctx, d)
}

func (s *shelf) SaveRevision(ctx context.Context, revision string, content []byte) error {
	if s.away.Load() {
		return errs.Errorf(errs.Unavailable, "away")
	}
	s.stored[revision] = true
	return s.DB.SaveRevision(ctx, revision, content)
}

// A catalog with one command that is named as the file says; "bad" is a fault.
func load(file string) func() (*catalog.Snapshot, error) {
	return func() (*catalog.Snapshot, error) {
		name, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if string(name) == "bad" {
			return nil, errors.New("bad")
		}
		object := catalog.Object{ID: string(name), Name: string(name), Status: catalog.Active}
		return catalog.NewSnapshot([]*catalog.Command{{Object: object, Plugin: "ping"}}, nil)
	}
}

func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "catalog")
	write := func(content string, stamp time.Time) {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
	write("first", time.Unix(1, 0))
	synctest.Test(t, func(t *testing.T) {
		stored, epoch := openShelf(t)
		w, err := watch.New(t.Context(), watch.Config{File: file, Load: load(file), Store: stored, Host: "h", Epoch: epoch, Log: hclog.NewNullLogger()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- w.Serve(ctx) }()
		check := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := w.Snapshot().Commands[0].Name; got != want {
				t.Errorf("command in force = %q, want %q", got, want)
			}
		}
		check("first")
		write("second", time.Unix(2, 0))
		time.Sleep(1500 * time.Millisecond) // of the bubble's clock
		check("second")
		write("bad", time.Unix(3, 0))
		time.Sleep(time.Second)
		check("second")
		write("third", time.Unix(3, 0)) // the time stamp did not change, as on coarse clocks, but the size did
		time.Sleep(time.Second)
		check("third")
		write("forth", time.Unix(3, 0)) // nothing of the stamp changed: SIGHUP still reads it
		w.Reload()
		check("forth")
		stored.away.Store(true)
		write("fifth", time.Unix(5, 0))
		time.Sleep(5 * time.Second)
		check("forth")
		stored.away.Store(false) // what changed meanwhile is not forgotten
		time.Sleep(time.Second)
		check("fifth")
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
}

// The operator hears of commands that nobody can run, not of those whose plugin
// only starts.
func TestCommandsWithoutAPlugin(t *testing.T) {
	command := func(id string, status catalog.Status) *catalog.Command {
		return &catalog.Command{Object: catalog.Object{ID: id, Name: id, Status: status}, Plugin: id}
	}
	var log bytes.Buffer
	stored, epoch := openShelf(t)
	_, err := watch.New(t.Context(), watch.Config{
		Host: "h", Epoch: epoch,
		Load: func() (*catalog.Snapshot, error) {
			return catalog.NewSnapshot([]*catalog.Command{
				command("works", catalog.Active), command("missing", catalog.Active),
				command("starts", catalog.Active), command("idle", catalog.Inactive),
			}, nil)
		},
		Store: stored,
		Plugins: func(c *catalog.Command) error {
			switch c.Plugin {
			case "works":
				return nil
			case "starts":
				return errs.Errorf(errs.Unavailable, "it starts")
			}
			return errors.New("no such plugin")
		},
		Judge: func(c *catalog.Command) []errs.Field {
			return []errs.Field{{Pointer: "/context/" + c.ID, Detail: "it is odd"}}
		},
		Log: hclog.New(&hclog.LoggerOptions{Output: &log}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := log.String(); strings.Count(got, "[WARN]") != 3 || !strings.Contains(got, "at=/context/works") || !strings.Contains(got, "at=/context/starts") || !strings.Contains(got, "command=missing") || !strings.Contains(got, "no such plugin") {
		t.Errorf("log = %s, want one warning about missing, and one about the context of each other that is active", got)
	}
}
