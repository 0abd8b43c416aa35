package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"github.com/heimdall-run/heimdall/sdk/handshake"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// process is a running process of a plugin that is connected and described.
type process struct {
	name        string
	build       build
	times       times
	log         hclog.Logger
	observer    Observer
	child       *child
	client      *plugin.Client
	conn        *grpc.ClientConn
	wait        sync.WaitGroup // for what runs as long as the connection
	gone        chan struct{}  // closed when the connection is closed
	plugins     pluginpb.PluginServiceClient
	commands    pluginpb.CommandServiceClient
	description *Description
	version     version
	isolation   Isolation   // of its build
	supervisor  *supervisor // of its build; set before it takes attempts
	since       time.Time
	acks        acks

	slots    chan struct{}             // one per running attempt; nil without a limit
	running  atomic.Int64              // attempts that are followed; negative once it takes none any more
	owed     atomic.Int64              // attempts whose end is not durable yet
	silent   atomic.Pointer[time.Time] // since when it has not answered; nil: it has
	over     atomic.Bool               // it has ended and everything of it was read
	detached atomic.Bool               // it goes on without this life of the host
	stopping atomic.Bool
	stopOnce sync.Once
	reason   string // why the host stopped it; valid after stopping

	released    chan struct{} // closed when its one attempt needs it no more; nil: it takes any attempts
	releaseOnce sync.Once
}

// launch starts a process and leads it to where it can work, or ends it and
// says in one sentence why it cannot. It is to serve one attempt with limits of
// its own, or any when attempt is empty.
func (h *Host) launch(ctx context.Context, b build, attempt string, limits Limits) (*process, error) {
	if b.path == "" {
		return nil, permanent{errors.New("the process that the host was attached to has ended")}
	}
	ctx, cancel := context.WithTimeout(ctx, h.config.StartTimeout)
	defer cancel()
	p, err := h.newProcess(b, attempt, limits)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { p.child.signal(unix.SIGKILL) })()
	if err = p.begin(ctx); err == nil {
		err = p.greet(ctx, h)
	}
	if err != nil {
		p.child.signal(unix.SIGKILL)
		p.finish()
		return nil, err
	}
	return p, nil
}

// newProcess prepares a process.
func (h *Host) newProcess(b build, attempt string, limits Limits) (*process, error) {
	folder, sockets, err := h.makeFolders()
	if err != nil {
		return nil, err
	}
	p := h.emptyProcess(b, attempt)
	p.child = &child{
		build:     b,
		folder:    folder,
		log:       p.log,
		record:    record{Plugin: b.name, Version: b.version, Digest: b.digest, Sockets: sockets, Attempt: attempt, Limits: limits},
		gone:      p.gone,
		handshake: make(chan string, 1),
		dead:      make(chan struct{}),
		exited:    make(chan struct{}),
	}
	p.child.join(h.groups)
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake.Config,
		VersionedPlugins: map[int]plugin.PluginSet{handshake.ProtocolVersion: handshake.Set(nil)},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: folder},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			// The last value of a variable counts: sockets are made in our folder.
			p.child.env = append(cmd.Env, plugin.EnvUnixSocketDir+"="+sockets)
			p.child.env = append(p.child.env, environment(h.config.Environment)...)
			return p.child, nil
		},
		SkipHostEnv:  true,
		StartTimeout: h.config.StartTimeout,
		Logger:       hclog.NewNullLogger(), // the host says it in its own words
	})
	return p, nil
}

// emptyProcess returns a process of a build without a child.
func (h *Host) emptyProcess(b build, attempt string) *process {
	p := &process{name: b.name, build: b, times: h.times, log: h.log.With("plugin", b.name), observer: h.config.Observer, gone: make(chan struct{})}
	if attempt != "" {
		p.released = make(chan struct{})
	}
	return p
}

// begin starts the process and waits for its handshake.
func (p *process) begin(ctx context.Context) error {
	address, err := p.client.Start()
	if err != nil {
		return p.explain(ctx, err)
	}
	if address.Network() != "unix" {
		return permanent{fmt.Errorf("plugin %s listens on %s: a plugin must listen on a unix socket", p.name, address)}
	}
	if fields := strings.Split(strings.TrimSpace(p.child.line), "|"); len(fields) > handshakeFields && fields[handshakeFields] != "" {
		return permanent{fmt.Errorf("plugin %s encrypts its socket: a plugin must serve plain gRPC, its folder is private", p.name)}
	}
	p.child.record.Socket = address.String()
	return p.child.restrict()
}

// makeFolders makes the folder of a process and the one of its socket, which
// may be the same.
func (h *Host) makeFolders() (folder, sockets string, err error) {
	for {
		id := fmt.Sprintf("%08x", rand.Uint32())
		folder, sockets = filepath.Join(h.runDir(), id), filepath.Join(h.sockets, id)
		err := os.Mkdir(folder, 0o700)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err == nil && sockets != folder {
			err = os.Mkdir(sockets, 0o700)
		}
		if err != nil {
			return "", "", fmt.Errorf("make folder for a plugin process: %w", err)
		}
		return folder, sockets, nil
	}
}

// greet connects to a process and learns what it is.
func (p *process) greet(ctx context.Context, h *Host) error {
	if err := p.child.record.write(p.child.folder); err != nil {
		return err
	}
	if err := p.introduce(ctx, h); err != nil {
		return err
	}
	isolation, err := isolate(p.description, h.config.Policies[p.name])
	if err != nil {
		return permanent{err}
	}
	p.isolate(isolation)
	if err := p.configure(ctx, h.config.Settings); err != nil {
		return err
	}
	p.begun(ctx, h)
	return nil
}

// featureCheckpoints tells plugins that this host keeps checkpoints.
const featureCheckpoints = "checkpoints"

// introduce connects to a process that listens and has it describe itself.
func (p *process) introduce(ctx context.Context, h *Host) error {
	if err := p.connect(); err != nil {
		return p.broken("connect", err)
	}
	described, err := p.plugins.Describe(ctx, &pluginpb.DescribeRequest{
		HostVersion: h.config.HostVersion,
		Features:    []string{featureCheckpoints},
	})
	if tooLarge(err) {
		return permanent{fmt.Errorf("plugin %s describes itself at too great a length: %s", p.name, sentence(err))}
	}
	if err != nil {
		return p.broken("describe itself", err)
	}
	if p.description, p.version, err = describe(described, p.build); err != nil {
		return permanent{err}
	}
	return nil
}

// isolate decides how attempts of the process's build share processes.
func (p *process) isolate(i Isolation) {
	p.isolation = i
	if n := p.description.MaxConcurrency; n > 0 && i == Shared {
		p.slots = make(chan struct{}, n)
	}
}

// begun puts a process to work that is known and configured.
func (p *process) begun(ctx context.Context, h *Host) {
	p.since = time.Now()
	p.acks.start(p)
	h.right.tell(ctx, p)
}

// configure hands the process the operator's settings of the plugin itself.
func (p *process) configure(ctx context.Context, settings Settings) error {
	request := &pluginpb.ConfigureRequest{Settings: []byte("{}"), Generation: 1}
	if settings != nil {
		own, secrets, err := settings(p.name)
		if err != nil {
			return fmt.Errorf("the settings of plugin %s cannot be resolved: %w", p.name, err)
		}
		if len(own) > 0 {
			request.Settings = own
		}
		request.Secrets = secretMessages(secrets)
		p.child.mask.tell(request.Secrets)
	}
	_, err := p.plugins.Configure(ctx, request)
	switch {
	case err == nil, unimplemented(err) && string(request.Settings) == "{}":
		return nil
	case unimplemented(err), status.Code(err) == codes.InvalidArgument:
		return permanent{fmt.Errorf("plugin %s refuses its own settings ([plugin.%s]): %s", p.name, p.name, p.sentence(err))}
	}
	return p.broken("take its own settings", err)
}

// retire lets the process take no more attempts if it has none, and reports
// whether that is so.
func (p *process) retire() bool {
	return p.owed.Load() == 0 && p.running.CompareAndSwap(0, math.MinInt32) || p.running.Load() < 0
}

// alive reports whether the process can take an attempt, as far as is known. One
// that lives but has closed its socket cannot.
func (p *process) alive() bool {
	if p == nil || p.stopping.Load() || p.running.Load() < 0 || p.conn.GetState() == connectivity.TransientFailure {
		return false
	}
	select {
	case <-p.child.dead:
		return false
	default:
		return true
	}
}

// dead reports whether the process is known to have ended.
func (p *process) dead() bool {
	select {
	case <-p.child.exited:
		return true
	default:
		return false
	}
}

// finish waits for a bounded time until the process has ended, and lets go of
// it. What it leaves behind is removed once the ends of all its attempts are
// durable: until then the record says to a later life of the host that the
// outcome of an unknown attempt may be lost.
func (p *process) finish() {
	if p.child.started() {
		select {
		case <-p.child.exited:
		case <-time.After(p.times.kill):
			p.log.Error("a plugin process cannot be killed", "pid", p.child.record.PID)
			return // its record stays for the next life of the host
		}
		if p.child.group == nil { // which would have ended them with it
			killStrays(p.child.record.Sockets)
		}
		p.disconnect()
	}
	p.child.leaveGroup(p.times.kill)
	p.over.Store(true)
	p.settle(0)
}

// outlives reports whether the process is to go on when the host stops: for
// attempts that were detached, or because it holds ends that could not be
// recorded. A later life of the host asks for both.
func (p *process) outlives() bool {
	unrecorded := p.owed.Load() - max(p.running.Load(), 0)
	if unrecorded > 0 {
		p.log.Warn("a plugin process keeps the ends of jobs that could not be recorded, for the next start of the host", "pid", p.child.record.PID, "jobs", unrecorded)
	}
	if !p.detached.Load() && unrecorded <= 0 {
		return false
	}
	p.acks.flush(context.Background())
	return true
}

// disconnect closes the connection. The Kill of go-plugin is not for us: it
// waits for ever for a process that hangs, and there is nothing left to do.
func (p *process) disconnect() {
	close(p.gone)
	if p.conn != nil {
		p.conn.Close()
	}
	p.wait.Wait()
}

// settle counts ends that have become durable, and removes the folders of a
// process that is over when none is owed any more.
func (p *process) settle(ends int64) {
	if p.owed.Add(-ends) > 0 || !p.over.Load() {
		return
	}
	for _, folder := range []string{p.child.record.Sockets, p.child.folder} {
		if err := os.RemoveAll(folder); err != nil {
			p.log.Warn("the folder of an ended plugin process stays", "error", err)
		}
	}
}
