package child

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// start starts the program by way of a supervisor. The caller cleans up the
// copies after an error.
func (c *Cmd) start() error {
	env := c.Env
	if env == nil {
		env = os.Environ()
	}
	path, err := lookPath(c.Path, env)
	if err != nil {
		return err
	}
	plan := plan{Path: path, Dir: c.Dir, Limits: c.Limits, Args: c.Args, Env: unique(env)}
	if len(plan.Args) == 0 {
		plan.Args = []string{c.Path}
	}
	message, err := plan.encode()
	if err != nil {
		return err
	}
	files, err := c.copies.open(c.Stdin, c.Stdout, c.Stderr)
	if err != nil {
		return err
	}
	if err := c.spawn(path, files); err != nil {
		return err
	}
	c.copies.closeTheirs()
	if err := c.handshake(message); err != nil {
		c.control.Close()
		c.supervisor.Wait()
		return err
	}
	return nil
}

// spawn executes this binary as the supervisor.
func (c *Cmd) spawn(path string, files []*os.File) error {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a control socket: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "supervisor")
	defer theirs.Close()
	if err := syscall.SetNonblock(pair[0], true); err != nil {
		syscall.Close(pair[0])
		return fmt.Errorf("make a control socket: %w", err)
	}
	c.control = os.NewFile(uintptr(pair[0]), "control")
	c.supervisor, err = os.StartProcess("/proc/self/exe", []string{marker, path}, &os.ProcAttr{
		Env:   []string{markerEnv + "=1", "GOMAXPROCS=1"},
		Files: append(files, theirs),
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		c.control.Close()
		return fmt.Errorf("start a supervisor from this binary: %w", err)
	}
	return nil
}

// handshake hands over the plan and waits until the program runs.
func (c *Cmd) handshake(message []byte) error {
	_, werr := c.control.Write(message)
	awake := c.keepAwake()
	answer, err := readReport(c.control)
	awake()
	switch {
	case err != nil:
		return fmt.Errorf("the supervisor ended before the program began: %w", errors.Join(werr, err))
	case answer.Kind == kindRefused:
		return explain(answer, c.Dir)
	}
	c.pid = int(answer.Value)
	return nil
}

// keepAwake lets the supervisor go on again and again until the function that it
// returns is called: the program runs before that has reported so, and may stop
// it.
func (c *Cmd) keepAwake() (end func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = c.supervisor.Signal(syscall.SIGCONT)
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// explain turns the refusal of a supervisor into a sentence.
func explain(r report, dir string) error {
	errno := syscall.Errno(r.Value)
	switch {
	case r.Stage == stageDir:
		return fmt.Errorf("enter the folder %s: %w", dir, errno)
	case r.Stage == stageLimits:
		return fmt.Errorf("set resource limits: %w", errno)
	case r.Stage == stageReaper:
		return fmt.Errorf("adopt orphaned processes: %w", errno)
	case errno == syscall.ENOENT:
		return fmt.Errorf("the program, or the interpreter that its first line names, does not exist: %w", errno)
	case errno == syscall.EACCES:
		return fmt.Errorf("the program may not be executed; look at its permissions: %w", errno)
	case errno == syscall.ENOEXEC:
		return fmt.Errorf("the file is neither a program for this machine nor a script with a #! line: %w", errno)
	case errno == syscall.E2BIG:
		return fmt.Errorf("arguments and environment are too long: %w", errno)
	}
	return errno
}
