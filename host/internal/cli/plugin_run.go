package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/sdk/pluginname"
)

func (a *app) pluginRunCommand() *cobra.Command {
	var settings, input, user, socket string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "run BINARY | --attach SOCKET",
		Short: "Run one job on a plugin, without a host",
		Long: `Run one job on a plugin, without a host: stdout and stderr of the job are those
of this command while it runs, its result follows on stdout, and its exit code
is that of the job. The log of the plugin goes to stderr with --verbose.

With --attach the job runs in a process that was started by hand, such as below
a debugger, with the flag --debug: it tells its socket.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if socket != "" {
				return cobra.NoArgs(cmd, args)
			}
			return oneArg("binary")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			request := pluginhost.Request{User: user}
			for _, part := range []struct {
				flag, text string
				into       *json.RawMessage
			}{{"--settings", settings, &request.Settings}, {"--input", input, &request.Input}} {
				text, err := a.readText(part.text)
				if err != nil {
					return usagef("%s: %w", part.flag, err)
				}
				if !json.Valid(text) {
					return usagef("%s is not JSON; it is a JSON object, @FILE, or - for stdin", part.flag)
				}
				*part.into = text
			}
			verbose, _ := cmd.Flags().GetBool("verbose")
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
			defer stop()
			return a.runPlugin(ctx, strings.Join(args, ""), socket, request, timeout, verbose)
		},
	}
	f := c.Flags()
	f.StringVar(&settings, "settings", "{}", "settings: a JSON object, @FILE, or - for stdin")
	f.StringVar(&input, "input", "{}", "input: a JSON object, @FILE, or - for stdin")
	f.StringVar(&socket, "attach", "", "run the job in the process that serves at this socket")
	f.StringVar(&user, "user", a.env("HEIMDALL_USER", "test"), "user that the plugin is told")
	f.DurationVar(&timeout, "timeout", 0, "stop the job after so long (default never)")
	f.BoolP("verbose", "v", false, "show the log of the plugin")
	return c
}

// runPlugin performs one job with the plugin host of the server, on a binary or on
// the process that serves at a socket.
func (a *app) runPlugin(ctx context.Context, binary, socket string, request pluginhost.Request, timeout time.Duration, verbose bool) (err error) {
	failed := func(err error) error { return &codeError{code: ExitServer, err: err} }
	scratch, err := os.MkdirTemp("", "h")
	if err != nil {
		return failed(err)
	}
	defer os.RemoveAll(scratch)
	if scratch, err = filepath.EvalSymlinks(scratch); err != nil { // what jobs write to has no link in its path
		return failed(err)
	}
	folder := filepath.Join(scratch, "plugins")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return failed(err)
	}
	var name string
	if socket == "" {
		if name, err = onlyPlugin(binary, folder); err != nil {
			return usagef("%w", err)
		}
	}
	log := hclog.New(&hclog.LoggerOptions{Output: a.Stderr, Level: hclog.Debug})
	if !verbose {
		log = hclog.NewNullLogger()
	}
	plugins, err := pluginhost.New(pluginhost.Config{
		Directory: folder, DataDir: scratch, HostVersion: a.Version,
		StartWait: time.Minute, Log: log,
	})
	if err != nil {
		return failed(err)
	}
	if err := plugins.Start(ctx); err != nil {
		return failed(err)
	}
	if socket != "" {
		if name, err = plugins.Attach(ctx, socket); err != nil {
			plugins.Close()
			return failed(err)
		}
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- plugins.Serve(serving) }()
	defer func() { stop(); <-served }()
	if err := plugins.Available(name, ""); err != nil {
		return &codeError{code: ExitFailed, err: err}
	}

	request.Plugin, request.Attempt = name, 1
	request.AttemptID = uuid.NewString()
	request.Job = pluginhost.JobInfo{ID: job.NewID(), Name: "run", Created: time.Now()}
	files := filepath.Join(scratch, "job")
	request.Folders = pluginhost.Folders{
		Work: filepath.Join(files, "work"), Logs: filepath.Join(files, "logs"), Result: filepath.Join(files, "result"),
	}
	request.Timeout, request.Grace = timeout, 10*time.Second
	ctx, cancel := stoppable(ctx)
	defer cancel()
	logs := a.copyFiles(request.Folders.Logs)
	ended := plugins.Run(ctx, request, reporter{a.Stderr})
	logs()
	defer ended.Ack()
	if ended.Error != nil {
		if ended.Detail != "" {
			fmt.Fprintln(a.Stderr, clean(ended.Detail))
		}
		code := ExitFailed
		if ended.Error.ExitCode != nil && *ended.Error.ExitCode != 0 {
			code = *ended.Error.ExitCode
		}
		return &codeError{code: code, err: fmt.Errorf("%s: %s", ended.Error.Class, ended.Error.Message)}
	}
	return a.printContent(ended.Result)
}

// onlyPlugin puts the binary into an empty folder and returns the name of its
// plugin.
func onlyPlugin(binary, folder string) (name string, err error) {
	binary, err = filepath.Abs(binary)
	if err != nil {
		return "", err
	}
	name, _, ok := pluginname.OfFile(filepath.Base(binary))
	if !ok {
		return "", fmt.Errorf("%s is not named as plugins are: heimdall-plugin-NAME", binary)
	}
	return name, os.Symlink(binary, filepath.Join(folder, filepath.Base(binary)))
}

// stoppable returns a context for the job that an interrupt cancels.
func stoppable(ctx context.Context) (context.Context, func()) {
	run, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	release := context.AfterFunc(ctx, func() {
		cancel(&pluginhost.Stop{Reason: pluginhost.StopUser, Message: "interrupted", Grace: 10 * time.Second})
	})
	return run, func() { release(); cancel(nil) }
}

// copyFiles copies the streams of the job as they grow, until the function that
// it returns is called.
func (a *app) copyFiles(folder string) (finish func()) {
	copies := []struct {
		name   string
		to     io.Writer
		offset int64
	}{{"stdout", a.Stdout, 0}, {"stderr", a.Stderr, 0}}
	step := func() {
		for i := range copies {
			c := &copies[i]
			f, err := os.Open(filepath.Join(folder, c.name))
			if err != nil {
				continue // nothing was written yet
			}
			n, _ := io.Copy(c.to, io.NewSectionReader(f, c.offset, 1<<62))
			c.offset += n
			f.Close()
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				step()
			case <-stop:
				step()
				return
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

// printContent writes a result as it is, with an end of line.
func (a *app) printContent(r *pluginhost.Result) error {
	if r == nil {
		return nil
	}
	content := r.Content
	if content == nil {
		content = bytes.NewReader(r.Inline)
	}
	if _, err := io.Copy(a.Stdout, content); err != nil {
		return err
	}
	_, err := fmt.Fprintln(a.Stdout)
	return err
}

// reporter shows what a job reports on its way.
type reporter struct{ to io.Writer }

func (reporter) Started(time.Time) {}

func (r reporter) Progress(done, total float64, message string) {
	fmt.Fprintf(r.to, "progress: %g of %g %s\n", done, total, clean(message))
}

func (r reporter) Output(o job.Output) {
	fmt.Fprintf(r.to, "output: %s = %s\n", clean(o.Key), clean(o.Value))
}

func (r reporter) Usage(unit string, amount float64) {
	fmt.Fprintf(r.to, "usage: %g %s\n", amount, clean(unit))
}

// Checkpoint needs to keep nothing: a job without a host is never resumed.
func (r reporter) Checkpoint(_ context.Context, format int32, data []byte) error {
	fmt.Fprintf(r.to, "checkpoint: format %d, %d bytes\n", format, len(data))
	return nil
}

func (r reporter) Truncated(s job.Stream, offset int64) {
	fmt.Fprintf(r.to, "%s is cut after %d bytes\n", s, offset)
}
