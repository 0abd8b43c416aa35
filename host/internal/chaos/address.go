package main

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// address is where one program listens, again and again: while it is away nobody
// else is given the port.
type address struct {
	port int
	mark net.Listener // a socket of a name that tells other runs that it is taken
}

// reserve finds an address that is free. It is none of those that the kernel gives
// to connections.
func reserve() (*address, error) {
	var err error
	for range 100 {
		a := &address{port: 20000 + rand.IntN(12000)}
		if a.mark, err = net.Listen("unix", fmt.Sprintf("@heimdall-chaos-%d", a.port)); err != nil {
			continue
		}
		var l net.Listener
		if l, err = net.Listen("tcp", a.String()); err == nil {
			return a, l.Close()
		}
		_ = a.release()
	}
	return nil, fmt.Errorf("find a free port: %w", err)
}

// String returns it as host:port.
func (a *address) String() string { return fmt.Sprintf("127.0.0.1:%d", a.port) }

func (a *address) release() error { return a.mark.Close() }
