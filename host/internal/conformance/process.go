package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// process is a running process of the plugin with a connection to it.
type process struct {
	*plan
	pid      int
	born     uint64
	socket   string
	conn     *grpc.ClientConn
	plugins  pluginpb.PluginServiceClient
	commands pluginpb.CommandServiceClient

	patience time.Duration
	cmd      *exec.Cmd     // nil when another process started it
	gone     chan struct{} // closed when it has ended
	doomed   bool          // its end was wanted
	flooded  atomic.Bool   // it was ended because it wrote without end
	jobs     int
	marks    marks
}

// spawn starts a process; it does not wait for its handshake.
func spawn(p *plan, patience time.Duration) (*process, error) {
	cmd, err := p.start()
	if err != nil {
		return nil, saw("%v", err).want("an executable for this machine")
	}
	out := &process{plan: p, pid: cmd.Process.Pid, cmd: cmd, patience: patience, gone: make(chan struct{})}
	if r, ok := readStat(out.pid); ok {
		out.born = r.born
	}
	go func() { // close waits for it
		_ = cmd.Wait() // how it ended is in ProcessState
		close(out.gone)
	}()
	go out.bound()
	return out, nil
}

// adopt takes over a process that another one has started.
func adopt(p *plan, pid int, socket string, patience time.Duration) (*process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, saw("the plugin process is gone: %v", err).want("a process that lives")
	}
	out := &process{plan: p, pid: pid, socket: socket, patience: patience, gone: make(chan struct{})}
	if r, ok := readStat(pid); ok {
		out.born = r.born
	}
	go func() { // close waits for it
		defer close(out.gone)
		defer unix.Close(fd)
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			if _, err := unix.Poll(poll, -1); err != unix.EINTR {
				return
			}
		}
	}()
	go out.bound()
	return out, nil
}

// mostOutput is how much a process may write to each of its own streams before it
// is ended, so that it does not fill the disk.
const mostOutput = 64 << 20

// bound ends a process that writes without end. It returns when the process has
// ended.
func (p *process) bound() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.gone:
			return
		case <-tick.C:
		}
		for _, file := range []string{p.stdout(), p.stderr()} {
			if info, err := os.Stat(file); err == nil && info.Size() > mostOutput {
				p.flooded.Store(true)
				kill(-p.pid, unix.SIGKILL)
				_ = os.Truncate(file, mostOutput) // it is removed later, anyway
			}
		}
	}
}

// shake waits for the handshake and takes the socket from it.
func (p *process) shake(ctx context.Context, within time.Duration) error {
	err := until(ctx, within, func() bool {
		line, whole := readLine(p.stdout())
		return whole || len(line) >= maxLine || !p.alive()
	})
	line, whole := readLine(p.stdout())
	switch {
	case errors.Is(err, errLate):
		return saw("no line on stdout after %s", within).want("the handshake")
	case err != nil:
		return err
	case !whole && !p.alive():
		return saw("the process ended before its handshake: %s", p.how()).want("a handshake on stdout")
	}
	p.socket, err = parseLine(line)
	return err
}

// connect makes the connection.
func (p *process) connect() (err error) {
	p.conn, err = dial(p.socket)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", p.socket, err)
	}
	p.plugins = pluginpb.NewPluginServiceClient(p.conn)
	p.commands = pluginpb.NewCommandServiceClient(p.conn)
	return nil
}

// alive reports whether the process runs.
func (p *process) alive() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// ends waits until the process has ended.
func (p *process) ends(ctx context.Context, within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.gone:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// how says how the process ended.
func (p *process) how() string {
	if p.flooded.Load() {
		return fmt.Sprintf("it was killed, because it had written more than %d MiB to its own stdout or stderr", mostOutput>>20)
	}
	if p.cmd == nil || p.alive() {
		return "it is not known how"
	}
	return p.cmd.ProcessState.String()
}

// family returns the processes that came from this one.
func (p *process) family() []int { return family(p.pid, p.born, p.Folder) }

// kill kills the process, and only it.
func (p *process) kill() {
	p.doomed = true
	if r, ok := readStat(p.pid); ok && r.born == p.born {
		kill(p.pid, unix.SIGKILL)
	}
}

// signal sends a signal to the process.
func (p *process) signal(signal unix.Signal) {
	if p.alive() {
		kill(p.pid, signal)
	}
}

// close ends the process and all that came from it, whatever state it is in.
func (p *process) close() {
	if p.conn != nil {
		_ = p.conn.Close() // there is nothing to do about it
	}
	const patience = 10 * time.Second
	p.kill()
	p.ends(context.Background(), patience) // what cannot be killed, nobody can
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		left := p.family()
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			kill(pid, unix.SIGKILL)
		}
	}
}

// lastWords returns the end of what the process wrote to stderr.
func (p *process) lastWords() string {
	text := readEnd(p.stderr(), 16<<10)
	if len(bytes.TrimSpace(text)) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.Contains(line, `"@level":"debug"`) })
	lines = lines[max(0, len(lines)-4):]
	for i := range lines {
		lines[i] = clip(lines[i], 200)
	}
	return strings.Join(lines, "\n")
}

// errLate is the end of a wait that was in vain.
var errLate = errors.New("the time was up")

// until polls a condition of another process, which tells nobody.
func until(ctx context.Context, within time.Duration, condition func() bool) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	wait := time.Millisecond
	for !condition() {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-deadline.C:
			timer.Stop()
			if condition() {
				return nil
			}
			return errLate
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		wait = min(2*wait, 50*time.Millisecond)
	}
	return nil
}
