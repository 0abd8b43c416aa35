package sdk

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/heimdall-run/heimdall/sdk/handshake"
)

const (
	shutdownGrace = 5 * time.Second        // for jobs that run when the process is told to end
	shutdownTime  = 8 * time.Second        // after which it ends whatever they do
	flushTime     = 250 * time.Millisecond // for the last events on their way
)

// Serve runs the plugin of a name until its host ends it, and exits the process.
// It is the whole main function of a plugin. The function create returns a new
// plugin whose fields hold the defaults of its settings.
//
// The name is the part of the binary's file name after "heimdall-plugin-".
// SIGTERM stops all jobs and then the process; SIGINT is ignored, because it
// reaches whole process groups. From the start on, os.Stdout is os.Stderr. Started
// by hand with --debug it serves without a host, for jobs under a debugger.
func Serve[P Plugin[Input], Input any](name string, create func() P, opts ...Option) {
	s, err := New(name, create, opts...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if os.Getenv(handshake.Config.MagicCookieKey) != handshake.Config.MagicCookieValue {
		if len(os.Args) != 2 || os.Args[1] != debugFlag {
			fmt.Fprintf(os.Stderr, usage, name, s.description.GetVersion(), name)
			os.Exit(1)
		}
		if err := s.debug(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}

	s.serve()
	os.Exit(0)
}

const usage = `This is %s %s, a plugin of Heimdall. It does nothing by itself.
Put it into the plugin folder of a Heimdall server as heimdall-plugin-%s
(see [plugins] directory in its configuration); the server starts it. To run
jobs on it below a debugger, start it with --debug.
`

func (s *Server) serve() {
	// A handler, so that a broken pipe is an error of Write and not the end of
	// the process; unlike ignoring the signal, children do not inherit it.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	terms := make(chan os.Signal, 2)
	signal.Notify(terms, syscall.SIGTERM)

	s.folder = os.Getenv(plugin.EnvUnixSocketDir)
	var server *grpc.Server
	ready := make(chan struct{})
	stdio := newStdio()
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		select {
		case <-ready:
			s.untilStopped(ctx, server, terms)
		case <-ctx.Done():
		}
	})

	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: handshake.Config,
		Plugins:         handshake.Set(s.Register),
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			if len(options) == 0 { // no TLS
				options = []grpc.ServerOption{grpc.Creds(stdio)}
			}
			server = grpc.NewServer(append(options, s.GRPCOptions()...)...)
			close(ready)
			return server
		},
	})
	cancel()
	group.Wait()

	// The host may have ended the server without a word.
	short, done := context.WithTimeout(context.Background(), time.Second)
	defer done()
	s.Shutdown(short, time.Second)
}

// streamWorkers is the number of goroutines that are kept for calls.
const streamWorkers = 8

// GRPCOptions returns the options of a gRPC server that the plugin is served on.
func (s *Server) GRPCOptions() []grpc.ServerOption {
	return append([]grpc.ServerOption{
		grpc.MaxRecvMsgSize(handshake.MaxMessage),
		// Quick jobs are served by goroutines whose stacks have grown already: a
		// tenth less processor time for each. Long ones get their own.
		grpc.NumStreamWorkers(streamWorkers),
	}, s.options...)
}

// untilStopped ends the gRPC server after SIGTERM or when no host comes any more.
func (s *Server) untilStopped(ctx context.Context, server *grpc.Server, terms <-chan os.Signal) {
	lonely, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	defer group.Wait()
	over := make(chan struct{})
	group.Go(func() {
		if s.watch(lonely) {
			close(over)
		}
	})

	select {
	case <-ctx.Done():
		return
	case <-over:
	case <-terms:
		go func() {
			<-terms // a second one: at once; children die with this process
			os.Exit(1)
		}()
		s.wind(ctx, server)
	}
	cancel()
	server.Stop()
}

// wind lets jobs end and tell their end.
func (s *Server) wind(ctx context.Context, server *grpc.Server) {
	running, _ := s.active()
	ctx, cancel := context.WithTimeout(ctx, shutdownTime)
	defer cancel()
	s.Shutdown(ctx, shutdownGrace)
	if len(running) == 0 {
		return
	}

	go server.GracefulStop() // Stop ends it
	timer := time.NewTimer(flushTime)
	defer timer.Stop()
	<-timer.C
}

// stdio puts the standard streams in order with the first connection. go-plugin
// makes os.Stdout and os.Stderr pipes that nobody may read, so a plugin that
// prints would hang; and descriptor 1 belongs to the handshake.
type stdio struct {
	credentials.TransportCredentials
	once   sync.Once
	stderr *os.File
}

func newStdio() *stdio {
	return &stdio{TransportCredentials: insecure.NewCredentials(), stderr: os.Stderr}
}

// ServerHandshake implements credentials.TransportCredentials. It runs after
// go-plugin has begun to accept, which is after it has set the two variables.
func (s *stdio) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	s.once.Do(func() {
		os.Stdout, os.Stderr = s.stderr, s.stderr
		_ = unix.Dup3(int(s.stderr.Fd()), 1, 0) // else children print into the handshake's file
	})
	return s.TransportCredentials.ServerHandshake(conn)
}

// Clone implements credentials.TransportCredentials.
func (s *stdio) Clone() credentials.TransportCredentials { return s }
