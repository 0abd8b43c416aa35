// Package pluginhost runs plugins: it finds their binaries, verifies, starts,
// describes and supervises their processes, and performs attempts of jobs on
// them. It is the only package of the host that speaks the plugin protocol.
package pluginhost

import (
	"context"
	"crypto/ed25519"
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

	// Policies say what the operator wants of single plugins, by name.
	Policies map[string]Policy

	// RequireChecksums lets only binaries run that the file SHA256SUMS beside
	// them lists with their digest, or listed when they were taken in.
	RequireChecksums bool
	// RequireCheck lets only binaries run that have passed the conformance check:
	// the report of it lies beside them.
	RequireCheck bool
	// CheckKey is a file with a public key of ed25519 in PEM that these reports
	// must be signed with; empty: they need no signature.
	CheckKey string

	Log      hclog.Logger // default none
	Observer Observer     // default none
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
	groups  groups

	grouping func(dataDir string) (groups, error) // openGroups, but in tests

	times times
	right right
	key   ed25519.PublicKey // of reports; nil: they need no signature

	serving   atomic.Pointer[map[string][]*service] // by plugin; never changed once stored
	inherited inherited
	givenUp   sync.Map           // processes that may still run attempts which nobody follows, by their ids
	cancel    context.CancelFunc // ends all supervisors; nil before Start
	running   context.Context    // until then
	wait      sync.WaitGroup     // for the supervisors, and what runs beside them
	looks     chan struct{}      // something has changed that reconcile may act upon

	good map[string]string // digests that worked, by the name of the file; only for who reconciles

	mu     sync.Mutex
	files  map[string]*file // by path
	builds map[*supervisor]bool
	sums   stamp // of the list of checksums

	littered bool // the store may hold builds that nothing refers to
}

// service is a file of the plugin folder, and what serves for it.
type service struct {
	*supervisor // nil when there is none
	file        found
	err         string // why there is none
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
	silent  time.Duration // without an answer, before a process is taken to hang
	crashes int           // in a row, before a build is quarantined
	look    time.Duration // between looks at the plugin folder
	logs    time.Duration // between looks at how much an attempt has written
	proven  time.Duration // that a new build must have worked for to displace one that works
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
	if config.Observer == nil {
		config.Observer = nobody{}
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

		grouping: openGroups,
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
			silent:  15 * time.Second,
			crashes: 12,
			look:    300 * time.Millisecond,
			logs:    time.Second,
			proven:  300 * time.Millisecond,
		},
		files:  map[string]*file{},
		builds: map[*supervisor]bool{},
		looks:  make(chan struct{}, 1),
	}
	if config.CheckKey != "" {
		var err error
		if h.key, err = readKey(config.CheckKey); err != nil {
			return nil, err
		}
	}
	h.serving.Store(&map[string][]*service{})
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

// Start takes over the processes that an earlier life of this host has left,
// then starts every plugin of the folder, all at once. It returns when each is
// active or has failed for the first time, at the latest after StartWait; slow
// ones go on in the background. A plugin that fails is no error of Start: see
// Plugins. After a Start without error the caller must call Serve or Close,
// which end what Start began.
func (h *Host) Start(ctx context.Context) error {
	if h.cancel != nil {
		return errors.New("the plugin host was started before")
	}
	if err := h.prepare(); err != nil {
		return err
	}
	if err := h.recover(ctx); err != nil {
		return err
	}
	if err := h.recollect(); err != nil {
		return err
	}
	h.running, h.cancel = context.WithCancel(context.WithoutCancel(ctx))
	h.reconcile(h.running, true)
	h.keepInherited()

	slow := time.NewTimer(h.config.StartWait)
	defer slow.Stop()
	for _, list := range *h.serving.Load() {
		for _, s := range list {
			if s.supervisor == nil {
				continue
			}
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
	}
	return nil
}

// keepInherited keeps the processes of an earlier life whose builds no file
// names any more, until their attempts have ended.
func (h *Host) keepInherited() {
	h.mu.Lock()
	for left := h.inheritAny(); left != nil; left = h.inheritAny() {
		s := h.retain(h.running, left)
		h.builds[s] = true
		s.drain(unnamed)
	}
	h.mu.Unlock()
	h.sweep()
}

// Serve keeps the plugins in step with their folder until ctx is done: new and
// changed files are taken in, builds that crash are started again, later each
// time. Then it lets running attempts end for a short while and stops all
// processes but those that Run was told to leave; it returns when none is left,
// in bounded time.
func (h *Host) Serve(ctx context.Context) error {
	if h.cancel == nil {
		return errors.New("the plugin host is served before it was started")
	}
	tick := time.NewTicker(h.times.look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			h.Close()
			return nil
		case <-tick.C:
			h.reconcile(h.running, false)
		case <-h.looks:
			h.update()
		}
	}
}

// look makes Serve act upon a change of a build.
func (h *Host) look() {
	select {
	case h.looks <- struct{}{}:
	default:
	}
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
	h.groups.close()
}

// prepare makes the host's folders and removes the remains of an earlier life.
func (h *Host) prepare() error {
	for _, dir := range []string{h.storeDir(), h.runDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make folder for plugins: %w", err)
		}
	}
	sockets, err := socketRoot(h.config.DataDir, h.runDir())
	if err != nil {
		return err
	}
	h.sockets = sockets
	if h.groups, err = h.grouping(h.config.DataDir); err != nil {
		h.log.Debug("plugin processes have no control groups", "reason", err)
	}
	held := h.jobsHolding(PerJob, nil)
	h.log.Info("limits of plugin processes are held", "memory", held.Memory, "cpu", held.CPU, "open_files", held.OpenFiles,
		"core", held.Core, "control_groups", h.groups.folder != "")
	return nil
}

func (h *Host) storeDir() string { return filepath.Join(h.config.DataDir, "plugins") }

func (h *Host) runDir() string { return filepath.Join(h.config.DataDir, "run") }
