package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/host/internal/checkreport"
	"github.com/heimdall-run/heimdall/host/internal/conformance"
)

// checkHost is the name of the command, told nobody, that the check runs itself
// as, for a host that it can kill.
const checkHost = "check-host"

// checkFlags are the flags of the check.
type checkFlags struct {
	examples, report, output string
	cases                    []string
	list, verbose            bool
}

func (a *app) pluginCheckCommand() *cobra.Command {
	flags := &checkFlags{}
	c := &cobra.Command{
		Use:   "check BINARY",
		Short: "Check a plugin against the protocol",
		Long: `Check a plugin against the protocol, whatever language it is written in: start
it many times, run its examples, kill it and its host, and see that what must
hold does. A case that no example exercises is listed as such.

The exit code is 0 if no case failed, 1 if one did, 125 if the check itself could
not be done.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if flags.list {
				return noArgs(cmd, args)
			}
			return oneArg("binary")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains([]string{"text", formatJSON}, flags.output) {
				return usagef("-o %s: it is one of text, json", flags.output)
			}
			if flags.list {
				return a.listCases(flags.output)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return a.checkPlugin(ctx, args[0], flags)
		},
	}
	f := c.Flags()
	f.StringVar(&flags.examples, "examples", "", "file with examples to use instead of the plugin's own: a JSON array of {kind, title, settings, input, needs}")
	f.StringArrayVar(&flags.cases, "case", nil, "run only this case, and those that it needs (repeatable)")
	f.BoolVar(&flags.list, "list", false, "list the cases and run none")
	f.StringVar(&flags.report, "report", "", "write the report, as JSON, into this file")
	f.StringVarP(&flags.output, "output", "o", "text", "text or json")
	f.BoolVarP(&flags.verbose, "verbose", "v", false, "show how long each case took")
	return c
}

func (a *app) pluginCheckHostCommand() *cobra.Command {
	return &cobra.Command{
		Use:    checkHost,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := conformance.Host(cmd.Context(), a.Stdin, a.Stdout); err != nil {
				return &codeError{code: ExitServer, err: err}
			}
			return nil
		},
	}
}

func (a *app) listCases(output string) error {
	infos := conformance.Cases()
	if output == formatJSON {
		return a.writeJSON(infos)
	}
	var rows [][]string
	for _, c := range infos {
		rows = append(rows, []string{c.Group, c.ID, c.Title})
	}
	a.output = formatTSV
	if isTerminal(a.Stdout) {
		a.output = formatTable
	}
	return a.printRows([]string{"GROUP", "CASE", "WHAT MUST HOLD"}, rows)
}

func (a *app) writeJSON(v any) error {
	enc := json.NewEncoder(a.Stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// checkPlugin runs the check and tells what it found.
func (a *app) checkPlugin(ctx context.Context, binary string, flags *checkFlags) error {
	config := conformance.Config{
		Binary: binary, Only: flags.cases, HostVersion: a.Version,
		Host: []string{"/proc/self/exe", "plugin", checkHost},
	}
	if flags.examples != "" {
		text, err := os.ReadFile(flags.examples)
		if err == nil {
			config.Examples, err = conformance.ReadExamples(text)
		}
		if err != nil {
			return usagef("--examples: %w", err)
		}
	}
	text := &checkText{app: a, verbose: flags.verbose}
	if flags.output == "text" {
		config.Ended = text.tell
	}
	report, err := conformance.Check(ctx, config)
	if ctx.Err() != nil {
		return &codeError{code: ExitInterrupted, err: errors.New("interrupted")}
	}
	if _, ok := errors.AsType[*conformance.ArgumentError](err); ok {
		return usagef("%w", err)
	}
	if err == nil && flags.report != "" {
		err = writeReport(flags.report, report)
	}
	if err != nil {
		return &codeError{code: ExitServer, err: err}
	}
	if flags.output == "text" {
		text.sum(report)
	} else if err := a.writeJSON(report); err != nil {
		return err
	}
	if !report.Passed {
		return &codeError{code: ExitFailed, err: notPassed(report)}
	}
	return nil
}

func notPassed(report *checkreport.Report) error {
	if report.Counts.Failed == 0 {
		return errors.New("no case was exercised")
	}
	var failed []string
	for _, c := range report.Cases {
		if c.Result == checkreport.Failed {
			failed = append(failed, c.ID)
		}
	}
	return fmt.Errorf("plugin %s failed: %s", report.Plugin, strings.Join(failed, ", "))
}

// writeReport writes a report whole or not at all: a host may be looking for it.
func writeReport(file string, report *checkreport.Report) error {
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	temp := file + ".tmp"
	err = os.WriteFile(temp, append(text, '\n'), 0o644)
	if err == nil {
		err = os.Rename(temp, file)
	}
	if err != nil {
		if left := os.Remove(temp); !errors.Is(left, fs.ErrNotExist) {
			err = errors.Join(err, left)
		}
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// checkText tells people what a check finds, as it goes.
type checkText struct {
	*app
	verbose bool
	group   string
}

// tell writes the line of a case, and more for one that failed.
func (t *checkText) tell(c checkreport.Case) {
	if c.Group != t.group {
		t.group = c.Group
		fmt.Fprintln(t.Stdout, c.Group)
	}
	marks := map[checkreport.Result]string{
		checkreport.Passed:       t.paint("✓", "32"),
		checkreport.Failed:       t.paint("✗", "31"),
		checkreport.NotExercised: "–",
	}
	line := fmt.Sprintf("  %s %-22s %s", marks[c.Result], c.ID, c.Title)
	switch {
	case c.Result == checkreport.NotExercised:
		line += ": not exercised: " + clean(c.Detail)
	case t.verbose:
		line += fmt.Sprintf(" (%d ms)", c.MS)
	}
	fmt.Fprintln(t.Stdout, line)
	if c.Result == checkreport.Failed {
		for detail := range strings.Lines(c.Detail) {
			fmt.Fprintln(t.Stdout, "      "+clean(strings.TrimRight(detail, "\n")))
		}
	}
}

// sum writes the last line.
func (t *checkText) sum(report *checkreport.Report) {
	fmt.Fprintf(t.Stdout, "%s %s: %d passed, %d failed, %d not exercised\n",
		clean(report.Plugin), clean(report.Version), report.Counts.Passed, report.Counts.Failed, report.Counts.NotExercised)
}
