package presence_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/presence"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/store/memstore"
)

// world is a host with its catalog and its plugins.
type world struct {
	mu       sync.Mutex
	snapshot *catalog.Snapshot
	plugins  map[string]bool
}

func (w *world) Snapshot() *catalog.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.snapshot
}

func (w *world) usable(c *catalog.Command) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.plugins[c.Plugin] {
		return nil
	}
	return errors.New("there is no such plugin")
}

func (w *world) builds() map[string][]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	builds := map[string][]string{}
	for name := range w.plugins {
		builds[name] = []string{"1.0.0"}
	}
	return builds
}

func snapshot(t *testing.T, commands ...string) *catalog.Snapshot {
	t.Helper()
	var all []*catalog.Command
	for _, id := range commands {
		all = append(all, &catalog.Command{Object: catalog.Object{ID: id, Name: id, Status: catalog.Active}, Plugin: "p-" + id})
	}
	s, err := catalog.NewSnapshot(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// lines are a log that is read while it is written.
type lines struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}

// attend makes a host present.
func attend(t *testing.T, db *memstore.Store, name string, w *world, log *lines) (p *presence.Presence, epoch int64) {
	t.Helper()
	epoch, err := db.RegisterHost(t.Context(), store.Host{ID: name, Name: name}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p, err = presence.New(t.Context(), presence.Config{
		Store: db, Catalog: w, Plugins: w.usable, Builds: w.builds, Host: name, Log: hclog.New(&hclog.LoggerOptions{Output: log}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, epoch
}

func TestHostsKnowWhatOthersCanRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := memstore.New()
		var logA, logB lines
		a := &world{snapshot: snapshot(t, "sql", "shell"), plugins: map[string]bool{"p-shell": true}}
		b := &world{snapshot: snapshot(t, "sql", "shell"), plugins: map[string]bool{"p-sql": true}}
		pa, _ := attend(t, db, "a", a, &logA)
		if pa.Company() {
			t.Error("a host that is alone has company")
		}
		sql, shell := a.snapshot.Command("sql"), a.snapshot.Command("shell")
		if pa.Somewhere(shell) != nil || pa.Somewhere(sql) == nil {
			t.Errorf("somewhere shell can be run: %v, sql: %v; want only shell", pa.Somewhere(shell), pa.Somewhere(sql))
		}
		pb, epoch := attend(t, db, "b", b, &logB)
		ctx, cancel := context.WithCancel(t.Context())
		var served sync.WaitGroup
		for _, p := range []*presence.Presence{pa, pb} {
			served.Go(func() { _ = p.Serve(ctx) })
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !pa.Company() || pa.Somewhere(sql) != nil || pa.Here("sql") || !pa.Here("shell") || !pb.Here("sql") || pa.Here("unknown") {
			t.Errorf("with another host: sql somewhere %v, here %t; want it there, and shell here", pa.Somewhere(sql), pa.Here("sql"))
		}

		b.mu.Lock()
		b.plugins = map[string]bool{}
		b.snapshot = snapshot(t, "sql")
		b.mu.Unlock()
		time.Sleep(4 * time.Second) // a change is on its way for a moment
		synctest.Wait()
		if log := logA.String(); log != "" {
			t.Errorf("log = %s, want nothing yet", log)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if pa.Somewhere(sql) == nil {
			t.Error("after the other has changed: sql can be run somewhere, want an error")
		}
		hosts, _, err := db.Hosts(t.Context())
		if err != nil || len(hosts) != 2 || hosts[0].Revision != a.snapshot.Revision || hosts[0].Plugins["p-shell"] == nil {
			t.Errorf("hosts = %+v, error %v; want what they said of themselves", hosts, err)
		}

		if err := db.StopHost(t.Context(), "b", epoch); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if pa.Company() {
			t.Error("the host that has stopped is company, want none")
		}
		cancel()
		served.Wait()
		if got := logA.String(); strings.Count(got, "catalogs of two hosts differ") != 1 || strings.Count(got, "agree again") != 1 {
			t.Errorf("log = %s, want one warning, and its end", got)
		}
	})
}
