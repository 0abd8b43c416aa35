package main_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// relay stands between a host and its database, and can cut the way, or make it long.
type relay struct {
	server   string
	listener net.Listener
	work     sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	delay time.Duration // of each answer
	conns map[net.Conn]bool
}

// newRelay returns a relay to a database, and the URL through it.
func newRelay(database string) (*relay, string, error) {
	u, err := url.Parse(database)
	if err != nil {
		return nil, "", err
	}
	r := &relay{server: u.Host, conns: map[net.Conn]bool{}}
	if r.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, "", err
	}
	u.Host = r.listener.Addr().String()
	r.work.Go(func() {
		for {
			client, err := r.listener.Accept()
			if err != nil {
				return
			}
			r.work.Go(func() { r.pass(client) })
		}
	})
	return r, u.String(), nil
}

func (r *relay) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", r.server)
	if err != nil {
		return
	}
	defer server.Close()
	r.mu.Lock()
	if r.cut {
		r.mu.Unlock()
		return
	}
	r.conns[client], r.conns[server] = true, true
	r.mu.Unlock()
	defer r.forget(client, server)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_, _ = io.Copy(server, client)
		server.Close()
	}()
	_, _ = io.Copy(delayed{client, r}, server)
	client.Close()
	<-asked
}

func (r *relay) forget(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		delete(r.conns, c)
	}
}

// delayed is the way back to a client.
type delayed struct {
	io.Writer
	relay *relay
}

func (d delayed) Write(p []byte) (int, error) {
	d.relay.mu.Lock()
	delay := d.relay.delay
	d.relay.mu.Unlock()
	time.Sleep(delay)
	return d.Writer.Write(p)
}

// set cuts the way, or mends it, or makes it long.
func (r *relay) set(cut bool, delay time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut, r.delay = cut, delay
	if cut {
		for c := range r.conns {
			c.Close()
		}
	}
}

func (r *relay) close() {
	r.listener.Close()
	r.set(true, 0)
	r.work.Wait()
}

// cutStore serves the command store.
func cutStore(ts *testscript.TestScript, _ bool, args []string) {
	h := of(ts)
	if h.relay == nil {
		r, through, err := newRelay(ts.Getenv("HEIMDALL_STORE_URL"))
		ts.Check(err)
		h.relay = r
		ts.Defer(r.close)
		ts.Setenv("HEIMDALL_STORE_URL", through)
	}
	delay := time.Duration(0)
	if args[0] == "slow" {
		delay = 2 * time.Second
	}
	h.relay.set(args[0] == "away", delay)
}
