package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"
)

var _ runner.Runner = (*child)(nil)

// child is one operating-system process of a plugin, as go-plugin wants to run
// it. It has a session of its own, no stdin, and files for stdout and stderr.
type child struct {
	build  build
	env    []string
	folder string // its working folder, which holds its files
	log    hclog.Logger
	record record
	groups groups
	group  *group // nil when there is none

	cmd       *exec.Cmd // nil when an earlier life of the host has started it
	held      int       // pidfd of such a process
	foreign   bool      // somebody else has started it, and ends it
	stderr    lines
	mask      mask        // takes the secrets that it knows out of what it says
	handshake chan string // the first line of stdout, if there was one; then closed
	greeted   bool        // handshake is closed; only follow and what it calls use it

	mu     sync.Mutex
	pid    int  // 0 before the start
	reaped bool // the number may belong to another process now
	doomed bool // killed before it was started
	killed bool // the host has killed it

	excess  atomic.Pointer[excess] // the limit that it was ended for; nil: none
	sampled sync.WaitGroup         // for those who look at its memory
	gone    <-chan struct{}        // closed when nobody here has to do with it any more
	fault   error                  // why the host killed it right after its start; nil: it did not
	line    string                 // the handshake, or what stood in its place; valid after it was read, or exited
	dead    chan struct{}          // closed when the process has ended
	exited  chan struct{}          // closed when besides all that it wrote is read
}

// Start executes the plugin and writes its record, the first part of it before.
func (c *child) Start(context.Context) error {
	if err := c.record.announce(c.folder); err != nil {
		return err
	}
	stdout, stdoutTail, err := appendFile(filepath.Join(c.folder, "stdout"), c.printed)
	if err != nil {
		return fmt.Errorf("make file for stdout: %w", err)
	}
	defer stdout.Close()
	stderr, stderrTail, err := appendFile(filepath.Join(c.folder, "stderr"), c.logged)
	if err != nil {
		stdoutTail.file.Close()
		return fmt.Errorf("make file for stderr: %w", err)
	}
	defer stderr.Close()
	if err := c.execute(stdout, stderr); err != nil {
		stdoutTail.file.Close()
		stderrTail.file.Close()
		return err
	}
	c.record.PID = c.cmd.Process.Pid
	c.mu.Lock()
	c.pid = c.cmd.Process.Pid
	doomed := c.doomed
	c.mu.Unlock()
	if err = c.record.identify(c.folder); err == nil {
		err = c.record.write(c.folder)
	}
	if err == nil {
		err = c.restrict()
	}
	if doomed {
		err = errors.New("stopped before it was started")
	}
	// These end with the process; whoever started it waits for exited.
	c.guard()
	go c.reap()
	go c.follow(stdoutTail, stderrTail)
	if err != nil {
		c.fault = err
		c.signal(unix.SIGKILL)
	}
	return err
}

// execute starts the process. A binary that was written a moment ago can be
// busy: a child forked by another goroutine holds it open until it executes.
func (c *child) execute(stdout, stderr *os.File) error {
	for wait := time.Millisecond; ; wait *= 2 {
		attributes, release := c.attributes()
		c.cmd = exec.Command(c.build.path)
		c.cmd.Env = c.env
		c.cmd.Dir = c.folder
		c.cmd.Stdout, c.cmd.Stderr = stdout, stderr
		c.cmd.SysProcAttr = attributes
		err := c.cmd.Start()
		release()
		if err != nil && c.group != nil && !errors.Is(err, syscall.ETXTBSY) {
			c.log.Debug("a plugin does not start in a control group of its own", "error", err)
			c.leaveGroup(0)
			c.setGroup(nil)
			continue // why it does not start at all shows without one
		}
		if err == nil || !errors.Is(err, syscall.ETXTBSY) || wait > 200*time.Millisecond {
			return err
		}
		time.Sleep(wait)
	}
}

// reap waits for the end of the process, and ends what is left of its group
// while its number still cannot belong to another one.
func (c *child) reap() {
	defer close(c.dead)
	for {
		err := unix.Waitid(unix.P_PID, c.record.PID, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	used, _ := cpuTime(c.record.PID)
	c.mu.Lock()
	_ = unix.Kill(-c.pid, unix.SIGKILL)
	_ = c.cmd.Wait() // the exit is in ProcessState
	c.reaped = true
	c.mu.Unlock()
	c.group.kill()
	c.examine(used)
}

// take takes over a process that an earlier life of the host has started, and
// that fd holds.
func (c *child) take(fd int) error {
	stdout, err := openTail(filepath.Join(c.folder, "stdout"), c.printed)
	if err != nil {
		return err
	}
	stderr, err := openTail(filepath.Join(c.folder, "stderr"), c.logged)
	if err != nil {
		stdout.file.Close()
		return err
	}
	c.held, c.pid, c.greeted = fd, c.record.PID, true
	// These end with the process, as those of Start.
	c.guard()
	go c.hold()
	go c.follow(stdout, stderr)
	return nil
}

// hold waits for the end of a process that is not a child of this one.
func (c *child) hold() {
	defer close(c.dead)
	poll := []unix.PollFd{{Fd: int32(c.held), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(poll, -1); err != unix.EINTR {
			break
		}
	}
	c.mu.Lock()
	unix.Close(c.held)
	c.reaped = true
	c.mu.Unlock()
	c.group.kill()
	c.examine(0)
}

// follow reads what the process writes: often until its handshake, later now
// and then.
func (c *child) follow(stdout, stderr *tail) {
	defer close(c.exited)
	const shortest, longest = time.Millisecond, 200 * time.Millisecond
	wait := shortest
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-c.dead:
			c.sampled.Wait()
			stdout.finish()
			stderr.finish()
			if !c.greeted {
				close(c.handshake)
			}
			return
		case <-timer.C:
		}
		busy := stdout.read()
		if stderr.read() || busy {
			wait = 10 * shortest
		} else {
			wait = min(2*wait, longest)
		}
		if !c.greeted {
			// The kernel could tell when the file is written to, but takes up to
			// 20 ms to forget who wanted to know.
			wait = shortest
			if len(stdout.partial) > 4<<10 { // garbage that may never end
				c.printed(string(stdout.partial))
			}
		}
		timer.Reset(wait)
	}
}

// printed takes a line of stdout. The first is the handshake.
func (c *child) printed(line string) {
	if c.greeted {
		c.log.Debug(c.mask.text(line), "stream", "stdout")
		return
	}
	c.greeted, c.line = true, line
	c.handshake <- line
	close(c.handshake)
}

// logged takes a line of stderr.
func (c *child) logged(line string) {
	level, message, args := parseLog(c.mask.text(line))
	c.stderr.add(message)
	c.log.Log(level, message, args...)
}

// signal sends a signal to the group of the process unless it has ended. One
// that was not started yet will end as soon as it is.
func (c *child) signal(sig unix.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.foreign:
	case c.pid == 0:
		c.doomed = true
	case !c.reaped:
		_ = unix.Kill(-c.pid, sig)
		if sig == unix.SIGKILL {
			c.killed = true
			c.group.kill()
		}
	}
}

// started reports whether there is or was a process.
func (c *child) started() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid != 0
}

// exit says how the process ended, such as "signal: killed", and whether it
// chose to. It is valid after exited.
func (c *child) exit() (how string, chosen, well bool) {
	if c.cmd == nil {
		return "how is not known, because an earlier life of the host had started it", false, false
	}
	state := c.cmd.ProcessState
	return state.String(), state.Exited(), state.Success()
}

// Stdout returns what go-plugin may know of stdout.
func (c *child) Stdout() io.ReadCloser { return io.NopCloser(&handshakeReader{line: c.handshake}) }

// Stderr returns nothing: the host reads the file itself.
func (c *child) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Wait waits for the end of the process.
func (c *child) Wait(context.Context) error {
	<-c.exited
	return nil
}

// Kill kills the process and its group. It does not wait.
func (c *child) Kill(context.Context) error {
	c.signal(unix.SIGKILL)
	return nil
}

// ID returns the number of the process.
func (c *child) ID() string { return strconv.Itoa(c.record.PID) }

// Name returns the path of the binary.
func (c *child) Name() string { return c.build.path }

// Diagnose says nothing: the host explains failures itself.
func (c *child) Diagnose(context.Context) string { return "" }

// PluginToHost returns the address unchanged: both live on one machine.
func (c *child) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin returns the address unchanged.
func (c *child) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
