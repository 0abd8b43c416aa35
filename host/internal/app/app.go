// Package app puts the parts of a host together and runs them. It is the only
// package that knows all others.
package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/heimdall-run/heimdall/host/internal/api"
	"github.com/heimdall-run/heimdall/host/internal/artifacts"
	"github.com/heimdall-run/heimdall/host/internal/auth"
	"github.com/heimdall-run/heimdall/host/internal/bell"
	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/cleanup"
	"github.com/heimdall-run/heimdall/host/internal/config"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
	"github.com/heimdall-run/heimdall/host/internal/live"
	"github.com/heimdall-run/heimdall/host/internal/metrics"
	"github.com/heimdall-run/heimdall/host/internal/peer"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/presence"
	"github.com/heimdall-run/heimdall/host/internal/queue"
	"github.com/heimdall-run/heimdall/host/internal/registry"
	"github.com/heimdall-run/heimdall/host/internal/retention"
	"github.com/heimdall-run/heimdall/host/internal/runner"
	"github.com/heimdall-run/heimdall/host/internal/spool"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/trace"
	"github.com/heimdall-run/heimdall/host/internal/watch"
)

// Options say how a host is run.
type Options struct {
	Config  *config.Config
	Load    func() (*config.Config, error) // reads the configuration again
	File    string                         // that the configuration came from; empty: none
	Version string                         // of the host
	Log     io.Writer
	Hurry   <-chan struct{} // closed: running jobs get no more time when the host stops
	Reload  <-chan os.Signal
}

// Run runs a host until ctx is done and everything has stopped. An error means
// that the host could not start, or could not go on.
func Run(ctx context.Context, o Options) error {
	quiet := &quiet{}
	log := newLog(o.Config.Log, o.Log, quiet)
	dir, err := openDataDir(o.Config.DataDir)
	if err != nil {
		return err
	}
	defer dir.close()
	h := &host{Options: o, dir: dir, log: log, quiet: quiet}
	defer h.close()
	if err := h.open(ctx); err != nil {
		return err
	}
	return h.serve(ctx)
}

// host is a host with its parts, in the order in which they depend on each
// other.
type host struct {
	Options
	dir   *dataDir
	log   hclog.Logger
	quiet *quiet

	store     *store.DB
	plugins   *pluginhost.Host
	artifacts *artifacts.Store
	spool     *spool.Spool
	registry  *registry.Registry
	catalog   *watch.Catalog
	presence  *presence.Presence
	bell      *bell.Bell
	jobs      *jobs.Service
	reports   live.Reports
	sharing   live.Sharing
	runner    *runner.Runner
	cleaner   *cleanup.Cleaner
	retention *retention.Retention
	queue     *queue.Queue
	peers     *peer.Peers
	metrics   *metrics.Metrics
	tracer    *trace.Tracer // nil: traces are off
	server    *http.Server
	listener  net.Listener
	debug     net.Listener // nil: nobody looks into the process
	ready     readiness
}

// open makes the parts. The database and the plugins are started beside each
// other: both take their time.
func (h *host) open(ctx context.Context) (err error) {
	c := h.Config
	if h.listener, err = net.Listen("tcp", c.Server.Listen); err != nil {
		return fmt.Errorf("listen at %s (server.listen): %w", c.Server.Listen, err)
	}
	if h.debug, err = listenDebug(c.Server.DebugListen); err != nil {
		return err
	}
	authenticator, err := auth.New(auth.Config{
		TrustedHeaders: c.Auth.TrustedHeaders,
		TrustedProxies: c.Auth.TrustedProxies,
		Operators:      c.Auth.Operators,
		Loopback:       c.Server.Loopback(),
	})
	if err != nil {
		return err
	}
	if err := h.observe(ctx); err != nil {
		return err
	}
	if err := h.openArtifacts(ctx); err != nil {
		return err
	}
	if h.spool, err = spool.Open(spool.Config{Folder: filepath.Join(h.dir.path, "spool"), Log: h.log.Named("spool")}); err != nil {
		return err
	}
	h.plugins, err = pluginhost.New(pluginhost.Config{
		Directory:        c.Plugins.Directory,
		DataDir:          h.dir.path,
		HostVersion:      h.Version,
		StartTimeout:     c.Plugins.StartTimeout,
		Environment:      c.Plugins.Environment,
		RequireChecksums: c.Plugins.RequireChecksums,
		RequireCheck:     c.Plugins.RequireCheck,
		CheckKey:         c.Plugins.CheckKey,
		Settings: func(plugin string) (json.RawMessage, map[string][]byte, error) {
			return config.Resolve(c.Plugin[plugin], os.LookupEnv, os.ReadFile)
		},
		Policies: policies(c.Plugins.Policy),
		Observer: h.metrics.Plugins,
		Log:      h.log.Named("plugins"),
	})
	if err != nil {
		return err
	}
	var starting errgroup.Group
	starting.Go(func() error { return h.plugins.Start(ctx) })
	starting.Go(func() (err error) {
		h.store, err = store.Open(ctx, store.Config{URL: c.Store.URL, Dir: h.dir.path, Log: h.log.Named("store"), Observer: h.metrics.Store})
		return err
	})
	if err := starting.Wait(); err != nil {
		return err
	}
	h.quiet.while(h.store.Speaks)
	if err := h.checkClock(ctx); err != nil {
		return err
	}
	registered := boottime()
	epoch, err := h.store.RegisterHost(ctx, store.Host{
		ID: h.dir.host, Name: hostname(), Address: h.advertised(), Version: h.Version, Slots: c.Queue.Workers,
	}, c.Queue.Lease)
	if err != nil {
		return fmt.Errorf("register this host: %w", err)
	}
	key, err := h.store.PeerKey(ctx)
	if err != nil {
		return err
	}
	h.peers = peer.New(peer.Config{Store: h.store, Host: h.dir.host, Key: key})
	return h.wire(ctx, authenticator, epoch, registered)
}

// advertised returns the address at which other hosts reach this one.
func (h *host) advertised() string {
	return cmp.Or(h.Config.Server.Advertise, peer.Advertised(h.listener.Addr()))
}

// wire connects the parts that run jobs and answer for them.
func (h *host) wire(ctx context.Context, authenticator *auth.Auth, epoch int64, registered time.Duration) (err error) {
	c := h.Config
	h.registry = registry.New(registry.Config{
		Store:   h.store,
		Catalog: inForce{h},
		Plugins: h.plugins,
		Checker: inForce{h},
		Usable:  h.usable,
		Allow:   c.Secrets.Allow,
		Changed: h.sayCatalogChanged,
	})
	h.catalog, err = watch.New(ctx, watch.Config{
		File:    h.File,
		Load:    h.loadCatalog,
		Store:   h.store,
		Host:    h.dir.host,
		Epoch:   epoch,
		Name:    hostname(),
		Public:  h.public,
		Judge:   h.registry.Settings,
		Changed: h.sayCatalogChanged,
		Plugins: h.usable,
		Loaded:  h.metrics.Catalog.Loaded,
		Lease:   c.Queue.Lease,
		Log:     h.log.Named("catalog"),

		MaxRunningPerUser: c.Queue.MaxRunningPerUser,
	})
	if err != nil {
		return err
	}
	h.presence, err = presence.New(ctx, presence.Config{
		Store:   h.store,
		Catalog: h.catalog,
		Plugins: h.usable,
		Builds:  h.builds,
		Host:    h.dir.host,
		Log:     h.log.Named("presence"),
	})
	if err != nil {
		return err
	}
	folder := filepath.Join(h.dir.path, "jobs")
	h.jobs = jobs.New(jobs.Config{
		Store:     h.store,
		Catalog:   h.catalog,
		Plugins:   h.presence.Somewhere,
		Artifacts: h.artifacts,
		Folder:    folder,
		Host:      h.dir.host,
		Judge:     h.registry.Input,

		MaxAttached: c.Server.MaxAttachmentBytes,
	})
	h.runner = runner.New(runner.Config{
		Plugins:        h.plugins,
		Catalog:        h.catalog,
		Artifacts:      h.artifacts,
		Inputs:         inputs{h.artifacts, h.peers, h.dir.host},
		Public:         h.registry,
		Checkpoints:    h.store,
		Reports:        &h.reports,
		Folder:         folder,
		DefaultTimeout: c.Queue.Timeout,
		CancelGrace:    c.Queue.CancelGrace,
		OrphanTimeout:  c.Queue.OrphanTimeout(),
		MaxLogBytes:    c.Queue.MaxLogBytes,
		KeepLogBytes:   c.Queue.KeepLogBytes,
		MaxResultBytes: c.Queue.MaxResultBytes,
		Trace:          h.tracer.Plugin,
		Refresh:        h.catalog.Refresh,
		Allow:          func(context json.RawMessage) error { return h.allow(context) },
		Split:          h.registry.Split,
		Log:            h.log.Named("runner"),
	})
	h.sharing = live.Sharing{Store: h.store, Host: h.dir.host, Epoch: epoch, Company: h.presence.Company, Log: h.log.Named("reports")}
	h.cleaner = cleanup.New(cleanup.Config{
		Store:  h.store,
		Runner: h.runner,
		Host:   h.dir.host,
		Epoch:  epoch,
		Log:    h.log.Named("cleanup"),

		LostAfter: c.Queue.LostAfter,
	})
	h.bell = bell.New(bell.Config{
		Store:       h.store,
		Host:        h.dir.host,
		Company:     h.presence.Company,
		WorkWaits:   func() { h.queue.WorkWaits() },
		CancelAsked: func() { h.queue.CancelAsked() },
		Ended:       h.jobs.Look,
		Catalog:     h.catalog.Tell,
		Log:         h.log.Named("bell"),
	})
	h.queue = queue.New(queue.Config{
		Store:             h.store,
		Runner:            h.runner,
		Host:              h.dir.host,
		Epoch:             epoch,
		Lease:             c.Queue.Lease,
		LostAfter:         c.Queue.LostAfter,
		Alone:             h.store.Kind() == "sqlite",
		Clock:             boottime,
		Registered:        registered,
		Word:              h.bell,
		CanRun:            h.canRun,
		Slots:             c.Queue.Workers,
		Drain:             c.Queue.ShutdownGrace,
		Grace:             c.Queue.CancelGrace,
		Hurry:             h.Hurry,
		Spool:             h.spool,
		MaxWaiting:        c.Queue.MaxWaiting,
		MaxWaitingPerUser: c.Queue.MaxWaitingPerUser,
		Room:              func() error { return room(h.dir.path) },
		Renew:             h.plugins.Renew,
		Resumed:           h.plugins.Disown,
		Ended:             h.jobs.Ended,
		Delayed:           h.jobs.Delayed,
		Recorded:          h.recorded,
		Remains:           h.cleaner.Wake,
		Fenced:            h.cleaner.End,
		Observer:          attempts{h.metrics.Jobs, h.tracer},
		Log:               h.log.Named("queue"),
	})
	h.retention = retention.New(retention.Config{
		Store:     h.store,
		Revisions: h.store,
		Artifacts: h.artifacts,
		Catalog:   h.catalog,
		Keep:      c.Queue.Keep,
		Host:      h.dir.host,
		Log:       h.log.Named("retention"),
	})
	h.jobs.Use(h.queue, h.bell)
	h.server = api.NewServer(c.Server.Listen, api.New(api.Config{
		Jobs:     h.jobs,
		Registry: h.registry,
		Auth:     authenticator,
		Plugins:  h.plugins,
		Hosts:    h.store,
		Host:     h.dir.host,
		Peers:    h.peers,
		Ready:    h.check,
		Report:   h.report,
		Metrics:  h.metrics.Handler(),
		Observer: requests{h.metrics.HTTP, h.tracer},
		Limits: api.Limits{
			Body: c.Server.MaxBodyBytes, Context: c.Server.MaxContextBytes, Upload: c.Server.MaxAttachmentBytes, Batch: c.Server.MaxBatchBytes,
		},
		Log:     h.log.Named("api"),
		Version: h.Version,
	}))
	h.server.ErrorLog = h.log.Named("http").StandardLogger(&hclog.StandardLoggerOptions{InferLevels: true})
	return nil
}

// sayCatalogChanged tells other hosts. The first catalog comes before there is a
// bell; who does not hear of it looks by itself.
func (h *host) sayCatalogChanged() {
	if h.bell != nil {
		h.bell.SayCatalogChanged()
	}
}

// usable returns why the plugin of a command cannot be used here; nil when it can.
func (h *host) usable(c *catalog.Command) error {
	if c.Elsewhere {
		return fmt.Errorf("only the files of other hosts declare command %q", c.ID)
	}
	return h.plugins.Available(c.Plugin, c.PluginVersion)
}

// builds returns the plugins that can be used here, with their versions.
func (h *host) builds() map[string][]string {
	can := map[string][]string{}
	for _, s := range h.plugins.Plugins() {
		if s.Serves && s.State == pluginhost.Active && !slices.Contains(can[s.Name], s.Version) {
			can[s.Name] = append(can[s.Name], s.Version)
		}
	}
	for _, versions := range can {
		slices.Sort(versions)
	}
	return can
}

// policies returns what the configuration says of single plugins.
func policies(configured map[string]config.Policy) map[string]pluginhost.Policy {
	wanted := make(map[string]pluginhost.Policy, len(configured))
	for name, p := range configured {
		wanted[name] = pluginhost.Policy{
			Isolation: pluginhost.Isolation(p.Isolation),
			Limits: pluginhost.Limits{
				MemoryBytes: int64(p.Memory), CPUSeconds: int64(p.CPU / time.Second), OpenFiles: p.OpenFiles, CoreBytes: int64(p.Core),
			},
		}
	}
	return wanted
}

func (h *host) loadCatalog() (*catalog.Snapshot, error) {
	c, err := h.Load()
	if err != nil {
		return nil, err
	}
	return c.Catalog()
}

// close lets go of what was opened; parts that were not are nil.
func (h *host) close() {
	if h.listener != nil {
		_ = h.listener.Close() // mostly closed by the server before
	}
	if h.debug != nil {
		_ = h.debug.Close() // likewise
	}
	if h.plugins != nil {
		h.plugins.Close() // they run already when something else cannot be opened
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTracesTime)
	defer cancel()
	err := h.tracer.Close(ctx)
	if h.peers != nil {
		h.peers.Close()
	}
	if h.store != nil {
		err = errors.Join(err, h.store.Close())
	}
	if h.spool != nil {
		err = errors.Join(err, h.spool.Close())
	}
	if h.artifacts != nil {
		err = errors.Join(err, h.artifacts.Close())
	}
	if err != nil {
		h.log.Warn("not everything could be closed", "error", err)
	}
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
