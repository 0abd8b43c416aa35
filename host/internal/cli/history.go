package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/sdk/client"
)

func (a *app) historyCommand(s side) *cobra.Command {
	var limit int
	var cursor string
	var all bool
	c := &cobra.Command{
		Use:               "history ID",
		Short:             "List who has changed a " + string(s.kind) + ", and when",
		Long:              `List the revisions of a ` + string(s.kind) + `, the newest first. -o json shows each as a whole.`,
		Args:              oneArg(string(s.kind)),
		ValidArgsFunction: a.completes(objectIDs(s.of)),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			head := []string{"REVISION", "TIME", "BY", "MANAGED BY", "STATUS", "CHANGED"}
			return a.printPages(head, all, func(next string) (*page, error) {
				if next != "" {
					cursor = next
				}
				p, err := s.of(c).History(ctx, args[0], limit, cursor)
				if err != nil {
					return nil, err
				}
				rows := make([][]string, len(p.Revisions))
				for i, r := range p.Revisions {
					rows[i] = []string{
						numberText(r.Revision), secondsText(r.UpdatedAt), r.UpdatedBy, r.ManagedBy, r.Status, strings.Join(r.Changed, ","),
					}
				}
				return &page{rows, p.HasMore, p.NextCursor, p.Raw}, nil
			})
		}),
	}
	flags := c.Flags()
	flags.Var((*pageSize)(&limit), "limit", "how many, at most 100 (default 50)")
	flags.StringVar(&cursor, "cursor", "", "go on where a list ended")
	flags.BoolVar(&all, "all", false, "all of them, however many pages that takes")
	return c
}
