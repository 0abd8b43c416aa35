// Heimdall is a gateway that runs data jobs: the host, and a client of it.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/heimdall-run/heimdall/host/internal/app"
	"github.com/heimdall-run/heimdall/host/internal/cli"
	"github.com/heimdall-run/heimdall/host/internal/config"
)

// version is set by the linker.
var version string

func main() {
	os.Exit(cli.Run(context.Background(), cli.Program{
		Args:    os.Args[1:],
		Env:     os.Environ(),
		Stdin:   os.Stdin,
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Version: versionName(),
		Server:  serve,
	}))
}

// gcPercent makes the collector run less often than by Go's default of 100: a host
// keeps little and makes much garbage, so that a few MiB save a tenth of its time.
const gcPercent = 400

// serve runs the host until SIGINT or SIGTERM; a second one ends it in a hurry.
func serve(ctx context.Context, flags cli.ServerFlags) error {
	load := func() (*config.Config, error) { return load(flags) }
	c, err := load()
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)

	hurry, listening, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(listening)
		for _, act := range []func(){stop, func() { close(hurry) }} {
			select {
			case <-signals:
				act()
			case <-ended:
				return
			}
		}
	}()
	defer func() {
		close(ended)
		<-listening
	}()
	return app.Run(ctx, app.Options{
		Config:  c,
		Load:    load,
		File:    flags.Config,
		Version: versionName(),
		Log:     os.Stderr,
		Hurry:   hurry,
		Reload:  reload,
	})
}

// load reads the configuration, over which the flags go.
func load(flags cli.ServerFlags) (*config.Config, error) {
	c, err := config.Load(flags.Config, os.Environ())
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		flag    string
		setting *string
	}{
		{flags.Listen, &c.Server.Listen},
		{flags.Store, &c.Store.URL},
		{flags.DataDir, &c.DataDir},
		{flags.PluginDir, &c.Plugins.Directory},
	} {
		if f.flag != "" {
			*f.setting = f.flag
		}
	}
	return c, c.Validate()
}

// versionName returns the version that was stamped, else what Go knows.
func versionName() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
