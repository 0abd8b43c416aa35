package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/sdk/client"
)

func (a *app) hostsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:               "hosts",
		Short:             "List the hosts of the store",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			h, err := c.Hosts(ctx)
			if err != nil {
				return err
			}
			if a.wantsAnswer() {
				return a.printRaw(h.Raw)
			}
			rows := make([][]string, len(h.Hosts))
			for i, host := range h.Hosts {
				rows[i] = []string{
					host.ID, host.Name, host.State, yesNo(host.This), host.Address, host.Version,
					fmt.Sprintf("%d/%d", host.Running, host.Slots), pluginsText(host.Plugins), timeText(host.StartedTime),
				}
			}
			if err := a.printRows([]string{"ID", "NAME", "STATE", "THIS", "ADDRESS", "VERSION", "JOBS", "PLUGINS", "STARTED"}, rows); err != nil {
				return err
			}
			if h.CatalogsDiffer {
				fmt.Fprintln(a.Stderr, "the hosts that take jobs do not all have the same catalog")
			}
			return nil
		}),
	}
	a.clientFlags(c)
	return c
}

// pluginsText returns plugins on one line, with their versions.
func pluginsText(plugins map[string][]string) string {
	var texts []string
	for _, name := range sortedKeys(plugins) {
		var versions []string
		for _, v := range plugins[name] {
			if v != "" {
				versions = append(versions, v)
			}
		}
		if len(versions) > 0 {
			name += " " + strings.Join(versions, "/")
		}
		texts = append(texts, name)
	}
	return strings.Join(texts, ", ")
}
