package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/sdk/client"
)

func (a *app) healthCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "health [ID]",
		Short: "Ask the plugins how clusters are",
		Long: `Ask the plugins how all clusters are, or one. The exit code is 0 if none of them
failed, 1 if one did.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%s takes at most one argument", nameOf(cmd))
			}
			return nil
		},
		ValidArgsFunction: a.completes(objectIDs((*client.Client).Clusters)),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			var h *client.Health
			var err error
			if len(args) == 1 {
				h, err = c.ClusterHealth(ctx, args[0])
			} else {
				h, err = c.Health(ctx)
			}
			if err != nil {
				return err
			}
			if a.wantsAnswer() {
				err = a.printRaw(h.Raw)
			} else {
				err = a.printHealth(h)
			}
			if err == nil && !h.Healthy {
				err = &codeError{code: ExitFailed, err: errors.New(failing(h))}
			}
			return err
		}),
	}
}

func (a *app) printHealth(h *client.Health) error {
	rows := make([][]string, len(h.Checks))
	for i, check := range h.Checks {
		rows[i] = []string{check.ClusterID, check.Plugin, check.Status, strconv.FormatInt(check.LatencyMS, 10) + " ms", check.Error}
		if check.Status == "unchecked" {
			rows[i][3] = ""
		}
	}
	return a.printRows([]string{"CLUSTER", "PLUGIN", "STATUS", "LATENCY", "ERROR"}, rows)
}

// failing says how many checks failed.
func failing(h *client.Health) string {
	failed := 0
	for _, check := range h.Checks {
		if check.Status == "error" {
			failed++
		}
	}
	return fmt.Sprintf("%d of %d clusters failed their check", failed, len(h.Checks))
}
