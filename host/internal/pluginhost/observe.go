package pluginhost

import (
	"context"
	"path"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// Observer hears of what plugins do. Its methods take no time.
type Observer interface {
	// Restarted tells that a plugin is started again, and in a word what became of
	// its process: start (it did not work), crash, killed, limit or stopped.
	Restarted(plugin, reason string)
	// Called tells of a call of a plugin that has one answer.
	Called(plugin, method, code string, took time.Duration)
}

// nobody is the observer of a host that has none.
type nobody struct{}

func (nobody) Restarted(string, string)                     {}
func (nobody) Called(string, string, string, time.Duration) {}

// Words for what became of a process.
const (
	didNotStart = "start"
	crashed     = "crash"
	killed      = "killed"  // by SIGKILL that the host did not send
	overALimit  = "limit"   // for which the host has ended it
	wasStopped  = "stopped" // by the host, because it did not answer
)

// downfall says in a word how a process ended. It is valid after the exit.
func (p *process) downfall() string {
	switch {
	case p.child.excess.Load() != nil:
		return overALimit
	case p.stopping.Load():
		return wasStopped
	case p.child.killedByOthers():
		return killed
	}
	return crashed
}

// observe makes a call, and tells of it.
func (p *process) observe(ctx context.Context, method string, request, answer any, conn *grpc.ClientConn, call grpc.UnaryInvoker, options ...grpc.CallOption) error {
	begun := time.Now()
	err := call(ctx, method, request, answer, conn, options...)
	p.observer.Called(p.name, path.Base(method), status.Code(err).String(), time.Since(begun))
	return err
}
