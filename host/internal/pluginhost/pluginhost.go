// Package pluginhost runs plugins: it finds their binaries, verifies, starts,
// describes and supervises their processes, and performs attempts of jobs on
// them. It is the only package of the host that speaks the plugin protocol.
package pluginhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Config says where plugins are and how they are started.
type Config struct {
	Directory    string        // the folder of plugin binaries
	DataDir      string        // holds plugins (copies of binaries) and run (a folder per process)
	HostVersion  string        // told to plugins; default 0.0.0
	StartTimeout time.Duration // from exec to described; default 10s
	StartWait    time.Duration // how long Start waits for slow plugins; default 2s
	Environment  []string      // names of variables that plugins may see beside the usual ones
	Settings     Settings      // of the plugins themselves; nil: there are none
	Log          hclog.Logger  // default none
}

// Settings gives the operator's settings of a plugin itself: a JSON object, and
// its secrets by JSON pointer.
type Settings func(plugin string) (settings json.RawMessage, secrets map[string][]byte, err error)

// Host runs the plugins of one folder. It owns DataDir/plugins and DataDir/run;
// the caller sees to it that no other host uses the same DataDir.
type Host struct {
	config  Config
	log     hclog.Logger
	sockets string // folder that socket folders are made in
	times   times
	right   right

	byName atomic.Pointer[map[string][]*supervisor] // never changed once stored
	cancel context.CancelFunc                       // ends all supervisors; nil before Start
	wait   sync.WaitGroup                           // for the supervisors
}

// times are the deadlines of the host's dealings with processes.
type times struct {
	drain   time.Duration // for running attempts when a healthy process is stopped
	hung    time.Duration // the same when one of its attempts does not end
	term    time.Duration // from SIGTERM to SIGKILL
	kill    time.Duration // from SIGKILL to giving up
	force   time.Duration // from a forced cancel to the kill ladder
	healthy time.Duration // after this the count of crashes begins anew
	backoff time.Duration // longest first wait after a crash
	longest time.Duration // longest wait after many
	await   time.Duration // how long an attempt waits for its plugin to start
}

// New checks the folders and returns a host that runs nothing yet.
func New(config Config) (*Host, error) {
	if config.HostVersion == "" {
		config.HostVersion = "0.0.0"
	}
	if config.StartTimeout == 0 {
		config.StartTimeout = 10 * time.Second
	}
	if config.StartWait == 0 {
		config.StartWait = 2 * time.Second
	}
	if config.Log == nil {
		config.Log = hclog.NewNullLogger()
	}
	if err := checkDirectory(config.Directory); err != nil {
		return nil, err
	}
	for _, dir := range []*string{&config.Directory, &config.DataDir} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return nil, fmt.Errorf("find folder %s: %w", *dir, err)
		}
		*dir = abs
	}
	h := &Host{
		config: config,
		log:    config.Log,
		times: times{
			drain:   5 * time.Second,
			hung:    2 * time.Second,
			term:    3 * time.Second,
			kill:    2 * time.Second,
			force:   5 * time.Second,
			healthy: time.Minute,
			backoff: 100 * time.Millisecond,
			longest: 30 * time.Second,
			await:   time.Minute,
		},
	}
	h.byName.Store(&map[string][]*supervisor{})
	return h, nil
}

// checkDirectory refuses a plugin folder that is missing or that anybody may
// write to: whoever can put a file there runs code as the host's user.
func checkDirectory(dir string) error {
	if dir == "" {
		return errors.New("no plugin folder is set: set [plugins] directory")
	}
	info, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the plugin folder %s does not exist: make it, or set [plugins] directory", dir)
	}
	if err != nil {
		return fmt.Errorf("look at the plugin folder: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("the plugin folder %s is not a folder: set [plugins] directory", dir)
	}
	if info.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("anybody may write to the plugin folder %s and so run code as the host: chmod o-w %s", dir, dir)
	}
	return nil
}

// Start ends what an earlier life of this host left running, then starts every
// plugin of the folder, all at once. It returns when each is active or has
// failed for the first time, at the latest after StartWait; slow ones go on in
// the background. A plugin that fails is no error of Start: see Plugins. After
// a Start without error the caller must call Serve or Close, which end what
// Start began.
func (h *Host) Start(ctx context.Context) error {
	if h.cancel != nil {
		return errors.New("the plugin host was started before")
	}
	if err := h.prepare(); err != nil {
		return err
	}
	found, err := discover(h.config.Directory)
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	h.cancel = cancel
	byName := make(map[string][]*supervisor)
	for _, f := range found {
		byName[f.name] = append(byName[f.name], newSupervisor(h, f))
	}
	h.byName.Store(&byName)
	for s := range h.supervisors() {
		h.wait.Go(func() { s.serve(running) })
	}

	slow := time.NewTimer(h.config.StartWait)
	defer slow.Stop()
	for s := range h.supervisors() {
		select {
		case <-s.settled:
		case <-slow.C:
			h.log.Warn("some plugins are slow to start; going on without them")
			return nil
		case <-ctx.Done():
			h.Close()
			return fmt.Errorf("start plugins: %w", context.Cause(ctx))
		}
	}
	return nil
}

// Serve keeps the plugins running until ctx is done: one that crashes is
// started again, later each time. Then it lets running attempts end for a
// short while and stops all processes; it returns when none is left, in bounded
// time.
func (h *Host) Serve(ctx context.Context) error {
	if h.cancel == nil {
		return errors.New("the plugin host is served before it was started")
	}
	<-ctx.Done()
	h.Close()
	return nil
}

// Close ends what Start began, as Serve does in the end. Where nothing was
// started or all has been stopped it does nothing.
func (h *Host) Close() {
	if h.cancel == nil {
		return
	}
	h.cancel()
	h.wait.Wait()
	h.removeSockets()
}

// prepare makes the host's folders and removes the remains of an earlier life.
func (h *Host) prepare() error {
	for _, dir := range []string{h.storeDir(), h.runDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make folder for plugins: %w", err)
		}
	}
	if err := h.clearRun(); err != nil {
		return err
	}
	sockets, err := socketRoot(h.config.DataDir, h.runDir())
	if err != nil {
		return err
	}
	h.sockets = sockets
	return nil
}

func (h *Host) storeDir() string { return filepath.Join(h.config.DataDir, "plugins") }

func (h *Host) runDir() string { return filepath.Join(h.config.DataDir, "run") }

// supervisors yields all supervisors, in no order.
func (h *Host) supervisors() func(yield func(*supervisor) bool) {
	return func(yield func(*supervisor) bool) {
		for _, list := range *h.byName.Load() {
			for _, s := range list {
				if !yield(s) {
					return
				}
			}
		}
	}
}
