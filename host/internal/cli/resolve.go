package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/sdk/client"
)

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "explain ID",
		Short:             "Say why a job has its command and cluster",
		Args:              oneArg("job"),
		ValidArgsFunction: a.completes(jobIDs),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			e, err := c.Explain(ctx, args[0])
			if err != nil {
				return err
			}
			fmt.Fprintln(a.Stderr, clean(e.Summary))
			return a.printExplanation(e)
		}),
	}
}

func (a *app) resolveCommand() *cobra.Command {
	f := &submissionFlags{}
	c := &cobra.Command{
		Use:   "resolve --command-criteria TAG,…",
		Short: "Say which command and cluster a job would get, and why; run nothing",
		Long: `Say which command and cluster a job would get now, and why the others would not
be taken. Nothing is recorded, nothing is run. The flags are those of job submit.

The exit code is 0 if there is a pair, 2 if there is none.`,
		Example:           `  heimdall resolve --command-criteria type:ping --cluster-criteria type:localhost`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			s, err := f.read(a)
			if err != nil {
				return err
			}
			e, refused := c.Resolve(ctx, s)
			if e == nil {
				return refused
			}
			if refused == nil {
				fmt.Fprintln(a.Stderr, clean(e.Summary))
			}
			return errors.Join(a.printExplanation(e), refused)
		}),
	}
	f.add(a, c)
	a.clientFlags(c)
	return c
}

// printExplanation prints the chosen pair and behind it the candidates that were
// not taken.
func (a *app) printExplanation(e *client.Explanation) error {
	if a.wantsAnswer() {
		return a.printRaw(e.Raw)
	}
	var rows [][]string
	if e.Chosen != nil {
		rows = append(rows, []string{e.Chosen.CommandID, e.Chosen.ClusterID, "chosen", ""})
	}
	for _, c := range e.NotChosen {
		detail := c.Detail
		if detail == "" && len(c.Lacks) > 0 {
			detail = "lacks " + strings.Join(c.Lacks, ", ")
		}
		rows = append(rows, []string{c.CommandID, c.ClusterID, c.Verdict, detail})
	}
	if e.NotListed > 0 {
		fmt.Fprintf(a.Stderr, "%d more were not chosen\n", e.NotListed)
	}
	return a.printRows([]string{"COMMAND", "CLUSTER", "VERDICT", "WHY"}, rows)
}
