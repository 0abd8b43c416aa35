package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// servePeer as the first argument makes this program one of the peers.
const servePeer = "-serve-peer"

// peer serves the least that grpc-go and net/http can do: a unary call on a unix
// socket, and hello on loopback. It ends with its standard input.
func peer(socket string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	calls, err := net.Listen("unix", socket)
	fail(err)
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	go func() { fail(server.Serve(calls)) }()

	hello, err := net.Listen("tcp", "127.0.0.1:0")
	fail(err)
	go func() {
		fail(http.Serve(hello, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, `{"message":"hello"}`)
		})))
	}()
	fmt.Println("http://" + hello.Addr().String())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// peers is the other program that the host is held against.
type peers struct {
	pid   int
	hello string // address
	calls grpc_health_v1.HealthClient
	close func() error
}

func (b *bench) peers() (*peers, error) {
	socket := filepath.Join(b.scratch, "peer")
	_ = os.Remove(socket)
	other, err := b.child(servePeer, socket)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &peers{
		pid:   other.pid,
		hello: other.address,
		calls: grpc_health_v1.NewHealthClient(conn),
		close: func() error { return errors.Join(conn.Close(), other.stop()) },
	}, nil
}

// child is this program once more, as something that the host is held against.
type child struct {
	address string // that it prints first
	pid     int
	stop    func() error
}

// child starts it with arguments that make it that.
func (b *bench) child(args ...string) (*child, error) {
	c := exec.CommandContext(b.ctx, "/proc/self/exe", args...)
	c.Stderr = os.Stderr
	stdin, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	scanner := bufio.NewScanner(stdout)
	if !scanner.Scan() {
		return nil, errors.Join(fmt.Errorf("this program did not start with %s", args[0]), c.Wait())
	}
	stop := func() error { return errors.Join(stdin.Close(), c.Wait()) }
	return &child{address: scanner.Text(), pid: c.Process.Pid, stop: stop}, nil
}

// call makes one bare unary call.
func (p *peers) call(ctx context.Context) error {
	_, err := p.calls.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	return err
}
