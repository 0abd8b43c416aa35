package sdk

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
)

// debugFlag makes a plugin that a person starts, such as below a debugger, serve
// without a host.
const debugFlag = "--debug"

const attachHint = `%s %s is process %d and serves without a host until Ctrl-C. Run a job on it:

  heimdall plugin run --attach %s --settings '{}' --input '{}'

`

// debug serves until SIGINT or SIGTERM on a socket that it tells on stderr. What
// protects a process from the loss of its host does not hold: a debugger may
// stop it for any time.
func (s *Server) debug() error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	folder, err := os.MkdirTemp("", "heimdall-debug-") // only this user may look into it
	if err != nil {
		return fmt.Errorf("make a folder for the socket: %w", err)
	}
	defer os.RemoveAll(folder)
	socket := filepath.Join(folder, "socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}

	server := grpc.NewServer(s.GRPCOptions()...)
	s.Register(server)
	fmt.Fprintf(os.Stderr, attachHint, s.description.GetName(), s.description.GetVersion(), os.Getpid(), socket)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err = <-served:
	case <-ctx.Done():
		cancel() // a second signal ends the process at once
		short, done := context.WithTimeout(context.Background(), shutdownTime)
		defer done()
		s.Shutdown(short, time.Second)
		server.Stop()
		err = <-served
	}
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
