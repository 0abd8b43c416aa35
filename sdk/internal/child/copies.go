package child

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"sync"
	"syscall"
	"time"
)

// stdinPatience is how long Wait waits for a reader that blocks after the
// program's end.
const stdinPatience = time.Second

// copies are the standard files of one program, and what is copied through pipes.
type copies struct {
	theirs  []*os.File // ends that only the program uses
	ours    []*os.File // ends that we read or write
	stdin   func() error
	outputs []func() error
	fed     chan error
	wg      sync.WaitGroup
	errs    []error
}

// filer is a writer over a file that children may write to themselves.
type filer interface {
	File() (*os.File, error)
}

// open returns the program's three files.
func (c *copies) open(stdin io.Reader, stdout, stderr io.Writer) ([]*os.File, error) {
	in, err := c.input(stdin)
	if err != nil {
		return nil, fmt.Errorf("stdin: %w", err)
	}
	out, err := c.output(stdout)
	if err != nil {
		return nil, fmt.Errorf("stdout: %w", err)
	}
	if same(stdout, stderr) {
		return []*os.File{in, out, out}, nil
	}
	errs, err := c.output(stderr)
	if err != nil {
		return nil, fmt.Errorf("stderr: %w", err)
	}
	return []*os.File{in, out, errs}, nil
}

// same says whether two writers are one, without comparing what cannot be.
func same(a, b io.Writer) bool {
	return a != nil && b != nil && reflect.TypeOf(a).Comparable() && a == b
}

func (c *copies) input(r io.Reader) (*os.File, error) {
	switch f := r.(type) {
	case nil:
		return c.null(os.O_RDONLY)
	case *os.File:
		return f, nil
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.theirs, c.ours = append(c.theirs, theirs), append(c.ours, ours)
	c.stdin = func() error {
		defer ours.Close()
		_, err := io.Copy(ours, r)
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed) {
			return nil // the program did not want all of it
		}
		return err
	}
	return theirs, nil
}

func (c *copies) output(w io.Writer) (*os.File, error) {
	switch f := w.(type) {
	case nil:
		return c.null(os.O_WRONLY)
	case *os.File:
		return f, nil
	case filer:
		return f.File()
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.theirs, c.ours = append(c.theirs, theirs), append(c.ours, ours)
	c.outputs = append(c.outputs, func() error {
		_, err := io.Copy(w, ours)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = drain(w, ours)
		}
		// A program that still writes is not to block on a writer that failed.
		ours.Close()
		return err
	})
	return theirs, nil
}

func (c *copies) null(flag int) (*os.File, error) {
	f, err := os.OpenFile(os.DevNull, flag, 0)
	if err == nil {
		c.theirs = append(c.theirs, f)
	}
	return f, err
}

// closeTheirs closes what the program has by now.
func (c *copies) closeTheirs() {
	for _, f := range c.theirs {
		f.Close()
	}
	c.theirs = nil
}

// close closes everything, when nothing was started.
func (c *copies) close() {
	c.closeTheirs()
	for _, f := range c.ours {
		f.Close()
	}
}

// start begins to copy.
func (c *copies) start() {
	if c.stdin != nil {
		c.fed = make(chan error, 1)
		go func() { c.fed <- c.stdin() }()
	}
	c.errs = make([]error, len(c.outputs))
	for i, output := range c.outputs {
		c.wg.Go(func() { c.errs[i] = output() })
	}
}

// wait waits until all is copied. The tree is dead by now: whatever a pipe holds
// is there, and nothing more comes.
func (c *copies) wait() error {
	for _, f := range c.ours {
		_ = f.SetDeadline(time.Now())
	}
	c.wg.Wait()
	err := errors.Join(c.errs...)
	if c.fed == nil {
		return err
	}
	select {
	case fed := <-c.fed:
		return errors.Join(err, fed)
	case <-time.After(stdinPatience):
		return err
	}
}

// drain copies what a pipe holds without waiting for its end, which does not
// come while a process outside the tree has the pipe too.
func drain(w io.Writer, r *os.File) error {
	if err := r.SetDeadline(time.Time{}); err != nil {
		return err
	}
	raw, err := r.SyscallConn()
	if err != nil {
		return err
	}
	buffer := make([]byte, 32<<10)
	for {
		var n int
		var rerr error
		err := raw.Read(func(fd uintptr) bool {
			n, rerr = syscall.Read(int(fd), buffer)
			return true
		})
		if err != nil || rerr != nil || n == 0 {
			return err
		}
		if _, err := w.Write(buffer[:n]); err != nil {
			return err
		}
	}
}
