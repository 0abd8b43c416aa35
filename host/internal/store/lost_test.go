package store_test

import (
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pgtest"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// between has connections to a server pass through a function, which gets both ends,
// and returns the server's URL by that way. Both ends are closed when it returns, and
// it is waited for when the test ends.
func between(t *testing.T, server string, pass func(client, server net.Conn)) string {
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := u.Host
	u.Host = listener.Addr().String()
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer client.Close()
				upstream, err := net.Dial("tcp", address)
				if err != nil {
					return
				}
				defer upstream.Close()
				pass(client, upstream)
			})
		}
	})
	t.Cleanup(func() { listener.Close(); conns.Wait() })
	return u.String()
}

// cutter stands between a store and its server. Once it is armed, it breaks a
// connection instead of passing on the next answer.
type cutter struct{ armed atomic.Bool }

// newCutter returns a cutter and the URL through it.
func newCutter(t *testing.T, server string) (*cutter, string) {
	c := &cutter{}
	return c, between(t, server, c.pass)
}

func (c *cutter) pass(client, server net.Conn) {
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_, _ = io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	defer func() { client.Close(); <-asked }()
	answer := make([]byte, 64<<10)
	for {
		n, err := server.Read(answer)
		if err != nil || c.armed.CompareAndSwap(true, false) {
			return
		}
		if _, err := client.Write(answer[:n]); err != nil {
			return
		}
	}
}

// TestLostAnswers loses the answers to a submit and to a claim that were
// committed: the caller can tell, and the host finds the leases that came of
// them.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	cut, through := newCutter(t, pgtest.URL(t))
	db := open(t, store.Config{URL: through + "&pool_max_conns=1"})
	epoch, err := db.RegisterHost(t.Context(), store.Host{ID: "a", Name: "a"}, time.Hour)
	if err == nil {
		err = db.SetCommands(t.Context(), "a", []string{"ping-1"})
	}
	if err != nil {
		t.Fatal(err)
	}
	// Statements are prepared by their first use on a connection: only the answers
	// of later ones are those to the commit.
	claim := func() []job.Claimed {
		t.Helper()
		claimed, err := db.Claim(t.Context(), store.Claim{Host: "a", Epoch: epoch, Most: 1})
		if err != nil {
			t.Fatal(err)
		}
		return claimed
	}
	if err := submitAndEnd(t.Context(), db, epoch, new(sync.Map)); err != nil {
		t.Fatal(err)
	}
	j := &job.Job{ID: job.NewID(), CreatedAt: time.Now(), Pair: job.Pair{CommandID: "ping-1"}}
	lease := func() job.Lease {
		t.Helper()
		leases, err := db.Leases(t.Context(), "a", epoch)
		if err != nil || len(leases) != 1 || leases[0].JobID != j.ID {
			t.Fatalf("leases: got %+v and error %v, want one of job %s", leases, err, j.ID)
		}
		return leases[0]
	}

	cut.armed.Store(true)
	_, err = db.Submit(t.Context(), store.Submission{Job: j, Host: "a", Epoch: epoch, Claim: true})
	if !errors.Is(err, store.ErrUnknown) || !errs.Is(err, errs.Unavailable) {
		t.Fatalf("submit: got error %v, want that the store is not available and the outcome unknown", err)
	}
	claim()
	if err := db.GiveBack(t.Context(), []job.Lease{lease()}); err != nil {
		t.Fatal(err)
	}

	cut.armed.Store(true)
	if _, err := db.Claim(t.Context(), store.Claim{Host: "a", Epoch: epoch, Most: 1}); !errs.Is(err, errs.Unavailable) {
		t.Fatalf("claim: got error %v, want that the store is not available", err)
	}
	if err := db.GiveBack(t.Context(), []job.Lease{lease()}); err != nil {
		t.Fatal(err)
	}
	if claimed := claim(); len(claimed) != 1 || claimed[0].Job.ID != j.ID {
		t.Errorf("claim again: got %+v, want job %s", claimed, j.ID)
	}
}
