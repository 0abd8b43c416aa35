package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// side is one kind of objects of the catalog, as the command line knows it.
type side struct {
	kind client.Kind
	of   func(*client.Client) client.Catalog
}

// commands and clusters return the sides of the catalog.
func commands() side { return side{client.CommandKind, (*client.Client).Commands} }

func clusters() side { return side{client.ClusterKind, (*client.Client).Clusters} }

// many names several objects of the kind.
func (s side) many() string { return string(s.kind) + "s" }

func (a *app) catalogCommand(s side) *cobra.Command {
	c := group(string(s.kind), "Look at and change "+s.many(),
		a.objectsCommand(s), a.objectCommand(s), a.historyCommand(s), a.applyCommand(s), a.statusCommand(s))
	if s.kind == client.ClusterKind {
		c.AddCommand(a.healthCommand())
	}
	a.clientFlags(c)
	return c
}

func (a *app) objectsCommand(s side) *cobra.Command {
	var f client.ObjectFilter
	var all bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List " + s.many(),
		Long: `List ` + s.many() + `. In texts to compare with, % is any text, _ any character, and \
escapes. The statuses are ACTIVE, INACTIVE and DELETED.`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			head := []string{"ID", "VERSION", "STATUS", "MANAGED BY", "TAGS", "DESCRIPTION"}
			if s.kind == client.CommandKind {
				head = []string{"ID", "VERSION", "STATUS", "MANAGED BY", "PLUGIN", "SYNC", "TAGS", "CLUSTER TAGS", "DESCRIPTION"}
			}
			return a.printPages(head, all, func(cursor string) (*page, error) {
				if cursor != "" {
					f.Cursor = cursor
				}
				p, err := s.of(c).List(ctx, f)
				if err != nil {
					return nil, err
				}
				rows := make([][]string, len(p.Objects))
				for i := range p.Objects {
					rows[i] = s.row(&p.Objects[i])
				}
				return &page{rows, p.HasMore, p.NextCursor, p.Raw}, nil
			})
		}),
	}
	flags := c.Flags()
	flags.StringVar(&f.ID, "id", "", "id")
	flags.StringVar(&f.Name, "name", "", "name")
	flags.StringVar(&f.Version, "version", "", "version")
	flags.StringSliceVar(&f.Statuses, "status", nil, "status, any of these")
	flags.StringSliceVar(&f.Tags, "tags", nil, "tags, all of these")
	if s.kind == client.CommandKind {
		flags.StringVar(&f.Plugin, "plugin", "", "plugin")
		a.completesList(c, "plugin", pluginNames)
	}
	flags.Var((*pageSize)(&f.Limit), "limit", "how many, at most 100 (default 50)")
	flags.StringVar(&f.Cursor, "cursor", "", "go on where a list ended")
	flags.StringVar(&f.OrderBy, "order-by", "", "id, created_at or updated_at")
	flags.StringVar(&f.Direction, "direction", "", "asc or desc")
	flags.BoolVar(&all, "all", false, "all of them, however many pages that takes")
	a.completesList(c, "status", words("ACTIVE", "INACTIVE", "DELETED"))
	a.completesList(c, "tags", objectTags(s.of))
	a.completesList(c, "id", objectIDs(s.of))
	complete(c, "order-by", "id", "created_at", "updated_at")
	complete(c, "direction", "asc", "desc")
	return c
}

// row returns an object as a row of a list.
func (s side) row(o *client.Object) []string {
	tags := strings.Join(ownTags(o), ",")
	if s.kind == client.ClusterKind {
		return []string{o.ID, o.Version, o.Status, o.ManagedBy, tags, o.Description}
	}
	return []string{
		o.ID, o.Version, o.Status, o.ManagedBy, o.Plugin, yesNo(o.IsSync), tags, criteriaText(o.ClusterTags), o.Description,
	}
}

// ownTags are the tags of an object without those that every object has.
func ownTags(o *client.Object) []string {
	var own []string
	for _, t := range o.Tags {
		if t != "_id:"+o.ID && t != "_name:"+o.Name && t != "_version:"+o.Version {
			own = append(own, t)
		}
	}
	return own
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (a *app) objectCommand(s side) *cobra.Command {
	return &cobra.Command{
		Use:               "get ID",
		Short:             "Show a " + string(s.kind),
		Args:              oneArg(string(s.kind)),
		ValidArgsFunction: a.completes(objectIDs(s.of)),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			o, err := s.of(c).Get(ctx, args[0])
			if err != nil {
				return err
			}
			if a.wantsAnswer() {
				return a.printRaw(o.Raw)
			}
			return a.printRows([]string{"FIELD", "VALUE"}, objectFields(o))
		}),
	}
}

// objectFields returns what there is to say about an object, a row for each field:
// first what people ask for most, then what else the host has said, as it did.
func objectFields(o *client.Object) [][]string {
	var rows [][]string
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	add("id", o.ID)
	add("status", o.Status)
	add("status_override", o.StatusOverride)
	add("name", o.Name)
	add("version", o.Version)
	add("description", o.Description)
	add("plugin", o.Plugin)
	add("tags", strings.Join(o.Tags, ","))
	add("cluster_tags", criteriaText(o.ClusterTags))
	add("context", string(o.Context))
	add("managed_by", o.ManagedBy)
	add("file", o.File)
	add("revision", numberText(o.Revision))
	add("created", secondsText(o.CreatedAt))
	add("updated", secondsText(o.UpdatedAt))
	add("updated_by", o.UpdatedBy)
	said := map[string]bool{"created_at": true, "updated_at": true}
	for _, row := range rows {
		said[row[0]] = true
	}
	var other map[string]json.RawMessage
	_ = json.Unmarshal(o.Raw, &other) // it was read from there
	for _, name := range sortedKeys(other) {
		if !said[name] {
			var text string
			if json.Unmarshal(other[name], &text) != nil {
				text = string(other[name])
			}
			add(name, text)
		}
	}
	return rows
}

func numberText(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func secondsText(unix int64) string {
	if unix == 0 {
		return ""
	}
	return time.Unix(unix, 0).UTC().Format(time.RFC3339)
}

func (a *app) statusCommand(s side) *cobra.Command {
	var reset bool
	c := &cobra.Command{
		Use:   "status ID [active|inactive|deleted]",
		Short: "Show or set the status of a " + string(s.kind),
		Long: `Show the status of a ` + string(s.kind) + `, or set it: on every host, over what its
declaration says, until --clear takes that back.`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usagef("name the %s: %s", s.kind, cmd.UseLine())
			case len(args) > 2:
				return usagef("%s takes an id and a status", nameOf(cmd))
			case len(args) == 2 && reset:
				return usagef("--clear takes no status")
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []string{"active", "inactive", "deleted"}, cobra.ShellCompDirectiveNoFileComp
			}
			return a.completes(objectIDs(s.of))(cmd, args, begin)
		},
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			var answer *client.ObjectStatus
			var err error
			switch {
			case reset:
				answer, err = s.of(c).ClearStatus(ctx, args[0])
			case len(args) == 2:
				answer, err = s.of(c).SetStatus(ctx, args[0], strings.ToUpper(args[1]))
			default:
				answer, err = s.of(c).Status(ctx, args[0])
			}
			if err != nil {
				return err
			}
			if a.wantsAnswer() {
				return a.printRaw(answer.Raw)
			}
			_, err = fmt.Fprintln(a.Stdout, clean(answer.Status))
			return err
		}),
	}
	c.Flags().BoolVar(&reset, "clear", false, "take back a status that was set: what the declaration says holds again")
	return c
}
