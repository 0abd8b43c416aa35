package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// proxy stands between a host and PostgreSQL. It passes everything on, and can
// cut a connection at a commit.
type proxy struct {
	listener net.Listener
	server   string // address
	serving  sync.WaitGroup

	mu    sync.Mutex
	next  *cut // what is to be cut
	pairs map[*pair]bool
	done  bool
}

// cut is the wish to cut the connection that writes next.
type cut struct {
	after bool        // once it is committed, before the host hears of it; else before it is sent
	text  string      // that the statements must contain; "": any that write
	made  chan string // receives what was cut
}

// pair is a client's connection, and the one to the server in its name.
type pair struct {
	client, server net.Conn

	mu   sync.Mutex
	held *cut // the answer to the exchange under way is held back for it
	text string
}

func newProxy(server string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, server: server, pairs: map[*pair]bool{}}
	p.serving.Go(p.accept)
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// close cuts everything.
func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.done = true
	for c := range p.pairs {
		c.close()
	}
	p.mu.Unlock()
	p.serving.Wait()
}

// cut cuts the next connection that writes, and returns what it wrote.
func (p *proxy) cut(ctx context.Context, after bool, text string, within time.Duration) (string, error) {
	return p.wait(ctx, p.wish(after, text), within)
}

// wish says what is to be cut, in place of any wish before.
func (p *proxy) wish(after bool, text string) *cut {
	c := &cut{after: after, text: text, made: make(chan string, 1)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = c
	return c
}

// wait waits until a wish has come true, or takes it back.
func (p *proxy) wait(ctx context.Context, c *cut, within time.Duration) (string, error) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case wrote := <-c.made:
		return wrote, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == c {
		p.next = nil
	}
	return "", fmt.Errorf("within %v nothing was written to PostgreSQL that contains %q", within, c.text)
}

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := net.DialTimeout("tcp", p.server, callTime)
		if err != nil {
			_ = c.Close() // as a server that is away
			continue
		}
		both := &pair{client: c, server: server}
		p.mu.Lock()
		if p.done {
			both.close()
		}
		p.pairs[both] = true
		p.mu.Unlock()
		p.serving.Go(func() { p.serve(both) })
	}
}

func (p *proxy) serve(c *pair) {
	var back sync.WaitGroup
	back.Go(func() {
		_ = p.answers(c)
		c.close()
	})
	_ = p.requests(c)
	c.close()
	back.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pairs, c)
}

func (c *pair) close() {
	_ = c.client.Close()
	_ = c.server.Close()
}

// errCut ends a connection as wanted.
var errCut = errors.New("cut")

// requests passes on what the client sends.
func (p *proxy) requests(c *pair) error {
	from, to := bufio.NewReaderSize(c.client, 64<<10), bufio.NewWriterSize(c.server, 64<<10)
	m, err := readFirst(from)
	x := exchange{statements: map[string]string{}}
	for ; err == nil; m, err = readMessage(from) {
		if m.kind != 0 && x.take(m) {
			if err := p.complete(c, x.text); err != nil {
				return err
			}
			x.text = ""
		}
		if _, err := to.Write(m.raw); err != nil {
			return err
		}
		if from.Buffered() == 0 {
			if err := to.Flush(); err != nil {
				return err
			}
		}
	}
	return err
}

// complete is called when the client has said all of an exchange, before the
// last of it is passed on.
func (p *proxy) complete(c *pair, text string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.next
	if next == nil || !writes(text) || !strings.Contains(text, next.text) {
		return nil
	}
	if !next.after {
		p.next = nil
		next.made <- text
		return errCut
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held, c.text = next, text
	return nil
}

// answers passes on what the server says.
func (p *proxy) answers(c *pair) error {
	from, to := bufio.NewReaderSize(c.server, 64<<10), bufio.NewWriterSize(c.client, 64<<10)
	var held []message
	for {
		m, err := readMessage(from)
		if err != nil {
			return err
		}
		if h, text := c.holds(); h != nil {
			held = append(held, m)
			if m.kind != readyForQuery {
				continue
			}
			if p.take(h, held) {
				h.made <- text
				return errCut
			}
			c.release()
		} else {
			held = append(held[:0], m)
		}
		for _, m := range held {
			if _, err := to.Write(m.raw); err != nil {
				return err
			}
		}
		held = held[:0]
		if from.Buffered() == 0 {
			if err := to.Flush(); err != nil {
				return err
			}
		}
	}
}

// take reports whether the answer that was held back is that of a commit, for a
// cut that is still wanted.
func (p *proxy) take(c *cut, answer []message) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != c || !committed(answer) {
		return false
	}
	p.next = nil
	return true
}

func (c *pair) holds() (*cut, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held, c.text
}

func (c *pair) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = nil
}
