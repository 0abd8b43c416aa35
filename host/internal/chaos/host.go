package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// Bounds of waits for a host: with two cores for all of them they are slow at
// times.
const (
	readyTime = 60 * time.Second
	stopTime  = 30 * time.Second
	callTime  = 5 * time.Second // for one request; a frozen host answers none
)

// host is a host in a process of its own, which is started again when it has
// ended.
type host struct {
	name    string
	binary  string
	folder  string // its data_dir
	args    []string
	log     *os.File
	http    *http.Client
	client  *client.Client
	address *address
	busy    sync.Mutex // held by the fault that is done to it
	starts  sync.Mutex // held while it is started
	waiting sync.WaitGroup

	mu      sync.Mutex
	wanted  bool // it is to run
	process *os.Process
	exited  chan struct{} // closed when the process has ended
	kills   int           // of its plugin, since it was started
	since   time.Time     // when it was ready, or thawed
}

// start starts the process unless it runs, and waits until it is ready. While its
// database is away it ends at once, and is started again.
func (h *host) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	h.starts.Lock()
	defer h.starts.Unlock()
	for {
		exited, err := h.launch()
		if err != nil {
			return err
		}
		err = h.ready(ctx, exited)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(fmt.Errorf("host %s is not ready after %v: %w; see %s", h.name, readyTime, err, h.log.Name()), h.kill())
		}
	}
}

func (h *host) launch() (exited chan struct{}, err error) {
	if exited := h.runs(); exited != nil {
		return exited, nil
	}
	command := exec.Command(h.binary, h.args...)
	command.Stdout, command.Stderr = h.log, h.log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for this program only
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start host %s: %w", h.name, err)
	}
	exited = make(chan struct{})
	h.mu.Lock()
	h.wanted, h.process, h.exited, h.kills = true, command.Process, exited, 0
	h.mu.Unlock()
	h.waiting.Go(func() {
		_ = command.Wait() // how it ended is in its log
		close(exited)
	})
	return exited, nil
}

// runs returns what is closed when the process has ended; nil if it has.
func (h *host) runs() chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.exited == nil {
		return nil
	}
	select {
	case <-h.exited:
		return nil
	default:
		return h.exited
	}
}

// fell reports whether the process has ended although nobody wanted that. One that
// is being started may end as often as it likes.
func (h *host) fell() bool {
	if !h.starts.TryLock() {
		return false
	}
	defer h.starts.Unlock()
	gone := h.runs() == nil
	h.mu.Lock()
	defer h.mu.Unlock()
	return gone && h.wanted
}

// ready waits until the process takes jobs.
func (h *host) ready(ctx context.Context, exited chan struct{}) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if h.answers(ctx, "http://"+h.address.String()+"/readyz") {
			h.hears()
			return nil
		}
		select {
		case <-exited:
			// Its next life comes a little later, as with any supervisor.
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
			return errors.New("it ended before it was ready")
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func (h *host) answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	answer, err := h.http.Do(r)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// hears notes that the host can hear of its plugins from now on.
func (h *host) hears() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since = time.Now()
}

// signal sends a signal to the process.
func (h *host) signal(s syscall.Signal) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.process == nil {
		return nil
	}
	if err := h.process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to host %s: %w", s, h.name, err)
	}
	return nil
}

// freeze stops the process where it is, and returns when all of it stands still.
func (h *host) freeze(ctx context.Context) error {
	if err := h.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	h.mu.Lock()
	pid := h.process.Pid
	h.mu.Unlock()
	return until(ctx, "host "+h.name+" is frozen", func() (bool, error) { return h.runs() == nil || still(pid), nil })
}

// thaw lets it go on.
func (h *host) thaw() error {
	defer h.hears()
	return h.signal(syscall.SIGCONT)
}

// kill ends the process as a fault of the machine would.
func (h *host) kill() error { return h.end(syscall.SIGKILL) }

// stop ends the process in good order.
func (h *host) stop() error {
	if err := h.end(syscall.SIGTERM); err != nil {
		return errors.Join(err, h.kill())
	}
	return nil
}

// end sends a signal that ends the process, and waits until it has ended.
func (h *host) end(s syscall.Signal) error {
	h.mu.Lock()
	h.wanted = false
	h.mu.Unlock()
	exited := h.runs()
	if exited == nil {
		return nil
	}
	if err := h.signal(s); err != nil {
		return err
	}
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-exited:
		return nil
	case <-timer.C:
		return fmt.Errorf("host %s has not ended within %v of %v; see %s", h.name, stopTime, s, h.log.Name())
	}
}

// lastWord returns the last line of the log, where a host says why it has ended.
func (h *host) lastWord() string {
	content, err := os.ReadFile(h.log.Name())
	if err != nil {
		return err.Error()
	}
	content = bytes.TrimSpace(content)
	return string(content[bytes.LastIndexByte(content, '\n')+1:])
}

// faults returns what the log of the host says of its own defects.
func (h *host) faults() []violation {
	content, err := os.ReadFile(h.log.Name())
	if err != nil {
		return []violation{{crashed, "", err.Error()}}
	}
	for _, sign := range []string{"panic: ", "fatal error: ", "DATA RACE"} {
		if at := bytes.Index(content, []byte(sign)); at >= 0 {
			text := content[at:min(len(content), at+2000)]
			return []violation{{crashed, "", fmt.Sprintf("host %s: %s", h.name, text)}}
		}
	}
	return nil
}
