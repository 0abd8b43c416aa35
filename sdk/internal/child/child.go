// Package child runs programs so that their whole tree of processes can be
// stopped: grandchildren too that ignore SIGTERM, left the session, were forked
// twice or cleared their environment.
//
// Between this process and the program stands a supervisor: this same binary,
// executed again, which marks itself as subreaper, starts the program, adopts
// every orphan of its tree and kills what is left when the program has ended,
// when it is told to, or when this process dies. Nothing of a tree outlives its
// supervisor, unless a process of the tree kills that (the program itself dies
// with it even then) or belongs to a user that may not be signaled.
//
// The switch into the supervisor is an init function, so that it works in every
// binary that links this package, tests included.
package child

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// ErrStopped is the error of Start after Terminate or Kill came first.
var ErrStopped = errors.New("stopped before it started")

// Cmd is a program to run once, much like exec.Cmd. Its fields are set before
// Start and not changed after.
type Cmd struct {
	// Path is the program: a path, relative ones counted from Dir, or a name
	// without slash, looked up in the PATH of Env.
	Path string
	// Args are the arguments, the program's name first. Empty means Path alone.
	Args []string
	// Env is the environment as "name=value", of which the last counts when a name
	// comes twice. Nil means that of this process.
	Env []string
	// Dir is the current folder of the program. Empty means that of this process.
	Dir string
	// Stdin is what the program reads; nil means nothing. An *os.File is handed
	// over as it is. Another reader is copied through a pipe; one that blocks
	// after the program's end is left behind.
	Stdin io.Reader
	// Stdout and Stderr take what the program writes; nil means it is dropped. An
	// *os.File, or a writer with a method File() (*os.File, error), is handed
	// over as it is, and copying costs nothing. Equal ones share one descriptor.
	Stdout, Stderr io.Writer
	// Limits are upper bounds for each process of the tree.
	Limits Limits

	mu         sync.Mutex
	phase      phase
	terminated bool // Terminate was called
	killed     bool // Kill was called
	control    *os.File
	supervisor *os.Process
	pid        int
	usage      Usage
	copies     copies
}

// Limits are upper bounds for each process of a tree.
type Limits struct {
	// OpenFiles is the number of open files, at least 32; 0 leaves it as it is.
	OpenFiles int64
	// CPU is the processor time, in whole seconds rounded up; 0 means no limit.
	// SIGXCPU comes when it is used up, SIGKILL five seconds later.
	CPU time.Duration
	// CoreBytes is the size of a core file; 0 means that none is written.
	CoreBytes int64
}

// Usage is what a tree of processes used.
type Usage struct {
	User, System time.Duration
	// MaxRSS is the memory of its largest process, in bytes.
	MaxRSS int64
}

// ExitError is the end of a program with another status than 0.
type ExitError struct {
	// Code is the exit status; -1 when a signal ended the program.
	Code int
	// Signal ended the program; 0 when it exited by itself.
	Signal syscall.Signal
}

// Error says "exit status 3" or "signal: killed".
func (e *ExitError) Error() string {
	if e.Signal != 0 {
		return "signal: " + e.Signal.String()
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// phase is how far a Cmd has come.
type phase int

const (
	fresh phase = iota
	starting
	started
	waiting
	ended
)

// New returns a command that runs a program with arguments.
func New(path string, args ...string) *Cmd {
	return &Cmd{Path: path, Args: append([]string{path}, args...)}
}

// Run starts the program and waits for its end.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Start starts the program and returns when it runs. Errors say what is wrong
// with the program, its folder or its files; errors.Is with fs.ErrNotExist and
// fs.ErrPermission works on them. After a nil error Wait must be called.
func (c *Cmd) Start() error {
	if err := c.claim(); err != nil {
		return fmt.Errorf("start %s: %w", c.Path, err)
	}
	// Without the lock: on a dead disk this may take for ever, and Terminate and
	// Kill must not.
	err := c.start()

	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.phase = fresh
		c.copies.close()
		c.copies = copies{}
		return fmt.Errorf("start %s: %w", c.Path, err)
	}
	c.phase = started
	c.copies.start()
	switch {
	case c.killed:
		c.tell(orderKill)
	case c.terminated:
		c.tell(orderTerminate)
	}
	return nil
}

// claim lets one Start begin.
func (c *Cmd) claim() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.phase != fresh:
		return errors.New("it was started before")
	case c.terminated || c.killed:
		return ErrStopped
	}
	c.phase = starting
	return nil
}

// Wait waits until the program and every process of its tree have ended and
// what they wrote is copied. It returns an *ExitError when the program ended
// with another status than 0. What the program left running when it ended is
// killed.
func (c *Cmd) Wait() error {
	c.mu.Lock()
	if c.phase != started {
		c.mu.Unlock()
		return fmt.Errorf("wait for %s: it does not run, or Wait was called before", c.Path)
	}
	c.phase = waiting
	c.mu.Unlock()

	// A blocked Process.Wait would hold a thread; the socket does not.
	end, err := readReport(c.control)
	c.mu.Lock()
	c.phase = ended
	c.usage = end.usage()
	c.control.Close()
	c.mu.Unlock()
	_, werr := c.supervisor.Wait()
	cerr := c.copies.wait()
	switch {
	case err != nil:
		return fmt.Errorf("wait for %s: its supervisor was killed, and the program with it: %w", c.Path, errors.Join(err, werr))
	case end.Left > 0:
		return fmt.Errorf("wait for %s: %d processes of its tree could not be killed", c.Path, end.Left)
	}
	if err := exitError(syscall.WaitStatus(end.Value)); err != nil {
		return err
	}
	return cerr
}

func exitError(status syscall.WaitStatus) error {
	switch {
	case status.Signaled():
		return &ExitError{Code: -1, Signal: status.Signal()}
	case status.ExitStatus() != 0:
		return &ExitError{Code: status.ExitStatus()}
	}
	return nil
}

// Terminate sends SIGTERM to every process of the tree, once. It may be called
// at any time and returns at once; before Start it prevents the start, during
// Start the program gets it as soon as it runs.
func (c *Cmd) Terminate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.terminated {
		c.terminated = true
		c.tell(orderTerminate)
	}
}

// Kill kills every process of the tree; Wait returns when they are gone. It may
// be called at any time and returns at once; before Start it prevents the start.
func (c *Cmd) Kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.killed {
		c.killed = true
		c.tell(orderKill)
	}
}

// tell sends an order to the supervisor. One that is gone needs none. The program
// may have stopped it: it must go on to obey.
func (c *Cmd) tell(order byte) {
	if c.phase == started || c.phase == waiting {
		_, _ = c.control.Write([]byte{order})
		_ = c.supervisor.Signal(syscall.SIGCONT)
	}
}

// Pid returns the process id of the program, 0 before Start.
func (c *Cmd) Pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase < started {
		return 0
	}
	return c.pid
}

// Ended reports whether Wait has seen the end of the program.
func (c *Cmd) Ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase == ended
}

// Usage returns what the tree used, once Wait has returned.
func (c *Cmd) Usage() Usage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.usage
}
