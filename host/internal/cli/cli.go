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
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
	root.InitDefaultCompletionCmd() // writes to what is the output by now
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.RunE = sayWhat // cobra's own shows its help to whoever misspells a shell, as if all was well
		}
	}
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	if _, ok := errors.AsType[*codeError](err); !ok && !a.ran {
		err = usagef("%w", inWords(err)) // cobra refused the arguments
	}
	return a.fail(cmd, err)
}

// inWords says of a flag's value what the flag wants, where pflag tells what Go's
// parser said of it.
func inWords(err error) error {
	invalid, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	wants := map[string]string{"int": "a whole number", "int64": "a whole number", "duration": "a duration such as 90s or 5m", "bool": "true or false"}
	flag := invalid.GetFlag()
	if want, ok := wants[flag.Value.Type()]; ok {
		return fmt.Errorf("--%s %s: want %s", flag.Name, invalid.GetValue(), want)
	}
	return fmt.Errorf("--%s %s: %w", flag.Name, invalid.GetValue(), invalid.Unwrap())
}

// app is one run of the program.
type app struct {
	Program
	ran   bool     // the arguments made sense to cobra
	flags settings // what they say
	settings
	reached atomic.Bool // the server has answered
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
	root.AddCommand(
		a.jobCommand(), a.resolveCommand(), a.catalogCommand(commands()), a.catalogCommand(clusters()), a.hostsCommand(),
		a.pluginCommand(), a.serverCommand(), a.configCommand(), a.importCommand(), a.versionCommand(),
	)
	return root
}

// group returns a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE:  sayWhat,
	}
	c.AddCommand(commands...)
	return c
}

// sayWhat is the run of a command that only holds others.
func sayWhat(cmd *cobra.Command, _ []string) error {
	return usagef("say what to do: %s", strings.Join(names(cmd), ", "))
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
	lines := append(strings.Split(err.Error(), "\n"), fieldFaults(err)...)
	lines[0] = "error: " + lines[0]
	for _, line := range lines {
		fmt.Fprintln(a.Stderr, clean(line))
	}
	if hint != "" {
		fmt.Fprintln(a.Stderr, "hint: "+clean(hint))
	}
	return code
}

// fieldFaults are the faults of fields that the sentence of an error does not
// already tell, a line for each.
func fieldFaults(err error) (lines []string) {
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		return nil
	}
	for _, f := range e.Fields {
		if !strings.Contains(e.Message, f.Detail) {
			lines = append(lines, "  "+f.Pointer+": "+f.Detail)
		}
	}
	return lines
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
	if e.RetryAfter > 0 {
		hint = fmt.Sprintf("try again in %s", e.RetryAfter)
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
		if e.ID != "" && cmd.Name() == "submit" {
			hint = "heimdall job get " + e.ID
		}
		return ExitFailed, hint
	case http.StatusPreconditionFailed:
		return ExitFailed, ""
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge,
		http.StatusNotAcceptable, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		if cmd.Name() == "submit" && strings.HasPrefix(e.Message, "no command and cluster fit") {
			hint = "heimdall resolve, with the same flags, says of each why not"
		}
		return ExitUsage, hint
	}
	return ExitServer, hint
}
