package store_test

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pgtest"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// detour stands between a store and its server. It holds back what the store says
// at a step, cuts the connection of the store, and passes the step on when it is
// released.
type detour struct {
	left     atomic.Int64  // steps that pass before one is held; negative: all pass
	released chan struct{} // closed: the step that is held goes on
	passed   chan struct{} // closed: the server has done with the connection of the step
}

func newDetour(t *testing.T, server string) (*detour, string) {
	d := &detour{released: make(chan struct{}), passed: make(chan struct{})}
	d.left.Store(-1)
	return d, between(t, server, d.pass)
}

func (d *detour) pass(client, server net.Conn) {
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		defer client.Close()
		for said := make([]byte, 64<<10); ; {
			n, err := server.Read(said)
			if err != nil {
				return
			}
			_, _ = client.Write(said[:n]) // who asked may be gone
		}
	}()
	for said := make([]byte, 64<<10); ; {
		n, err := client.Read(said)
		if err != nil {
			break
		}
		if d.left.Load() >= 0 && d.left.Add(-1) < 0 {
			client.Close() // who waits for the answer learns that there is none
			<-d.released
			defer close(d.passed)
		}
		if _, err := server.Write(said[:n]); err != nil {
			break
		}
	}
	_ = server.(*net.TCPConn).CloseWrite()
	<-answered
}

// A job is given back, and the server does a step of that only when the host has
// given the job back again and claimed it anew, with a lease that looks the same:
// that one stays. What is sent before its commit is undone with the connection, and
// a commit comes before the claim, since it holds the row.
func TestLateGiveBack(t *testing.T) {
	t.Parallel()
	steps := []string{"begin", "the lease goes", "the job waits", "commit"}
	for step, name := range steps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := pgtest.URL(t)
			late, through := newDetour(t, server)
			db := open(t, store.Config{URL: through + "&pool_max_conns=1"})
			direct := open(t, store.Config{URL: server})
			epoch, err := direct.RegisterHost(t.Context(), store.Host{ID: "a", Name: "a"}, time.Hour)
			if err == nil {
				err = direct.SetCommands(t.Context(), "a", []string{"ping-1"})
			}
			if err != nil {
				t.Fatal(err)
			}
			j := &job.Job{ID: job.NewID(), CreatedAt: time.Now(), Pair: job.Pair{CommandID: "ping-1"}}
			lease, err := direct.Submit(t.Context(), store.Submission{Job: j, Host: "a", Epoch: epoch, Claim: true})
			if err != nil || lease == nil {
				t.Fatalf("submit: got lease %v and error %v", lease, err)
			}
			claim := func() {
				t.Helper()
				claimed, err := direct.Claim(t.Context(), store.Claim{Host: "a", Epoch: epoch, Most: 1})
				if err != nil || len(claimed) != 1 || claimed[0].Lease != *lease {
					t.Fatalf("claim: got %+v and error %v, want the lease %+v", claimed, err, *lease)
				}
			}
			back := func(db *store.DB) error { return db.GiveBack(t.Context(), []job.Lease{*lease}) }
			if err := back(db); err != nil { // it prepares the statements
				t.Fatal(err)
			}
			claim()

			late.left.Store(int64(step))
			if err := back(db); !errs.Is(err, errs.Unavailable) {
				t.Fatalf("give back while the connection is cut: got error %v, want that the store is not available", err)
			}
			if step < 2 { // before the row is held
				if err := back(direct); err != nil {
					t.Fatal(err)
				}
				claim()
			}
			close(late.released)
			<-late.passed
			if step >= 2 {
				if err := back(direct); err != nil {
					t.Fatal(err)
				}
				claim()
			}
			leases, err := direct.Leases(t.Context(), "a", epoch)
			if err != nil || len(leases) != 1 || leases[0] != *lease {
				t.Errorf("leases: got %+v and error %v, want that of the last claim", leases, err)
			}
		})
	}
}
