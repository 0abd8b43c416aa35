// Package cli is the command line of Heimdall: it starts the host, and is a
// client of one that runs.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// Exit codes. A job that failed as a process ends with that process's own code.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitDenied      = 4
	ExitNotFound    = 5
	ExitWaited      = 124 // the wait timed out; the job goes on
	ExitServer      = 125 // the server could not be reached or failed
	ExitInterrupted = 130
	ExitKilled      = 137
	ExitCanceled    = 143
)

// Program is the command line's surroundings.
type Program struct {
	Args           []string // without the program's name
	Env            []string // key=value, as os.Environ gives it
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Version        string

	// Server runs the host until it is told to stop. It listens to signals
	// itself.
	Server func(context.Context, ServerFlags) error
}

// Run does what the arguments say and returns the exit code.
func Run(ctx context.Context, p Program) int {
	a := &app{Program: p}
	root := a.root()
	root.SetArgs(p.Args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	if _, ok := errors.AsType[*codeError](err); !ok && !a.ran {
		err = usagef("%w", err) // cobra refused the arguments
	}
	return a.fail(cmd, err)
}

// app is one run of the program.
type app struct {
	Program
	ran    bool // the arguments made sense to cobra
	server string
	user   string
	output string
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:               "heimdall",
		Short:             "A gateway that runs data jobs",
		Version:           a.Version,
		SilenceUsage:      true,
		SilenceErrors:     true,
		Args:              cobra.NoArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error { a.ran = true; return nil },
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("heimdall {{.Version}}\n")
	root.AddCommand(a.serverCommand(), a.versionCommand(), a.configCommand(), a.jobCommand(), a.pluginCommand())
	return root
}

// group returns a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("say what to do: %s", strings.Join(names(cmd), ", "))
		},
	}
	c.AddCommand(commands...)
	return c
}

func names(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	return names
}

// clientFlags adds the flags that every client command has.
func (a *app) clientFlags(c *cobra.Command) {
	f := c.PersistentFlags()
	f.StringVar(&a.server, "server", a.env("HEIMDALL_SERVER", "http://127.0.0.1:9090"), "address of the host (env HEIMDALL_SERVER)")
	f.StringVar(&a.user, "user", a.env("HEIMDALL_USER", ""), "user to act as (env HEIMDALL_USER)")
	f.StringVarP(&a.output, "output", "o", "", "table, tsv or json; default: table on a terminal, else tsv")
}

// client returns the client that the flags name.
func (a *app) client() (*client.Client, error) {
	switch a.output {
	case "":
		a.output = formatTSV
		if isTerminal(a.Stdout) {
			a.output = formatTable
		}
	case formatTable, formatTSV, formatJSON:
	default:
		return nil, usagef("-o %s: it is one of table, tsv, json", a.output)
	}
	c, err := client.New(a.server, a.user)
	if err != nil {
		return nil, usagef("%w", err)
	}
	c.UserAgent = "heimdall/" + a.Version
	return c, nil
}

// action is what a client command does.
type action func(ctx context.Context, c *client.Client, args []string) error

// do makes an action a command's: it is interrupted by Ctrl-C.
func (a *app) do(act action) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
		defer stop()
		err = act(ctx, c, args)
		if err != nil && ctx.Err() != nil {
			return &codeError{code: ExitInterrupted, err: errors.New("interrupted")}
		}
		return err
	}
}

// env returns a variable of the environment, or the default if it is not set
// or empty.
func (a *app) env(name, otherwise string) string {
	for _, e := range a.Env {
		if value, ok := strings.CutPrefix(e, name+"="); ok && value != "" {
			return value
		}
	}
	return otherwise
}

// codeError is an error that says how the program ends.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string { return e.err.Error() }

func (e *codeError) Unwrap() error { return e.err }

// usagef returns the error for arguments that make no sense.
func usagef(format string, args ...any) error {
	return &codeError{code: ExitUsage, err: fmt.Errorf(format, args...)}
}

// fail tells an error and returns the exit code for it.
func (a *app) fail(cmd *cobra.Command, err error) int {
	code, hint := a.judge(cmd, err)
	for i, line := range strings.Split(err.Error(), "\n") {
		if i == 0 {
			line = "error: " + line
		}
		fmt.Fprintln(a.Stderr, clean(line))
	}
	if hint != "" {
		fmt.Fprintln(a.Stderr, "hint: "+hint)
	}
	return code
}

// judge returns the exit code for an error, and what might help.
func (a *app) judge(cmd *cobra.Command, err error) (code int, hint string) {
	if e, ok := errors.AsType[*codeError](err); ok {
		if e.code == ExitUsage {
			hint = cmd.CommandPath() + " --help"
		}
		return e.code, hint
	}
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		return ExitServer, "does a host answer at " + a.server + "? --server or HEIMDALL_SERVER names another"
	}
	switch e.Status {
	case http.StatusUnauthorized:
		if a.user == "" {
			hint = "--user or HEIMDALL_USER says who you are"
		}
		return ExitDenied, hint
	case http.StatusForbidden:
		return ExitDenied, ""
	case http.StatusNotFound:
		return ExitNotFound, ""
	case http.StatusConflict:
		return ExitFailed, ""
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return ExitUsage, ""
	}
	return ExitServer, ""
}
