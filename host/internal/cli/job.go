package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/sdk/client"
)

func (a *app) jobCommand() *cobra.Command {
	c := group("job", "Submit and watch jobs",
		a.submitCommand(), a.getCommand(), a.listCommand(), a.logsCommand(),
		a.resultCommand(), a.cancelCommand(), a.explainCommand())
	a.clientFlags(c)
	return c
}

func (a *app) getCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "get ID",
		ValidArgsFunction: a.completes(jobIDs),
		Short:             "Show a job",
		Args:              oneArg("job"),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			j, err := c.Job(ctx, args[0])
			if err != nil {
				return err
			}
			if a.wantsAnswer() {
				return a.printRaw(j.Raw)
			}
			return a.printRows([]string{"FIELD", "VALUE"}, fieldsOf(j))
		}),
	}
}

// fieldsOf returns what there is to say about a job, a row for each field.
func fieldsOf(j *client.Job) [][]string {
	rows := [][]string{{"id", j.ID}, {"status", string(j.Status)}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	add("error", j.Error)
	add("error_class", j.ErrorClass)
	if j.ExitCode != nil {
		add("exit_code", strconv.Itoa(*j.ExitCode))
	}
	add("signal", j.Signal)
	add("name", j.Name)
	add("version", j.Version)
	add("description", j.Description)
	add("user", j.User)
	add("canceled_by", j.CanceledBy)
	add("command", j.CommandName)
	add("cluster", j.ClusterName)
	add("tags", strings.Join(j.Tags, ","))
	add("command_criteria", strings.Join(j.CommandCriteria, ","))
	add("cluster_criteria", criteriaText(j.ClusterCriteria))
	add("context", string(j.Context))
	add("timeout", j.Timeout)
	if j.Priority != 0 {
		add("priority", strconv.Itoa(j.Priority))
	}
	add("unique_key", j.UniqueKey)
	add("start_after", timeText(j.StartAfter))
	add("deadline", timeText(j.Deadline))
	if r := j.Retry; r != nil {
		add("retry", fmt.Sprintf("%d attempts, %s, on %s", r.Attempts, r.Backoff, strings.Join(r.On, ",")))
	}
	add("waiting", waitingText(j.Waiting))
	add("progress", progressText(j.Progress))
	if j.Attempt > 0 {
		add("attempt", strconv.Itoa(j.Attempt))
	}
	add("created", timeText(j.CreatedTime))
	add("started", timeText(j.StartedTime))
	add("ended", timeText(j.EndedTime))
	for _, key := range sortedKeys(j.JobAttributes) {
		add(key, j.JobAttributes[key].Value)
	}
	return rows
}

// criteriaText returns criteria on one line: tags with commas between, and
// between lists, which are preferences in order, semicolons.
func criteriaText(criteria json.RawMessage) string {
	var tags []string
	if json.Unmarshal(criteria, &tags) == nil {
		return strings.Join(tags, ",")
	}
	var lists [][]string
	if json.Unmarshal(criteria, &lists) != nil {
		return string(criteria)
	}
	texts := make([]string, len(lists))
	for i, list := range lists {
		texts[i] = strings.Join(list, ",")
	}
	return strings.Join(texts, "; ")
}

// waitingText says on one line why a job waits.
func waitingText(w *client.Waiting) string {
	switch {
	case w == nil:
		return ""
	case !w.Until.IsZero():
		return w.Reason + ", until " + timeText(w.Until)
	case w.Ahead > 0:
		return fmt.Sprintf("%s, %d before it", w.Reason, w.Ahead)
	}
	return w.Reason
}

// progressText says on one line how far a job is.
func progressText(p *client.Progress) string {
	if p == nil {
		return ""
	}
	text := strconv.FormatFloat(p.Done, 'f', -1, 64)
	if p.Total > 0 {
		text = fmt.Sprintf("%.0f %%", 100*p.Done/p.Total)
	}
	if p.Message != "" {
		text += ", " + p.Message
	}
	return text
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

func (a *app) listCommand() *cobra.Command {
	var f client.Filter
	var wanted []string
	var all bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List jobs, newest first",
		Long: `List jobs, newest first. In texts to compare with, % is any text, _ any character,
and \ escapes. The statuses are ` + statuses() + `.`,
		Args: noArgs,
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			for _, s := range wanted {
				f.Statuses = append(f.Statuses, client.Status(s))
			}
			head := []string{"ID", "NAME", "STATUS", "USER", "COMMAND", "CLUSTER", "CREATED"}
			return a.printPages(head, all, func(cursor string) (*page, error) {
				if cursor != "" {
					f.Cursor = cursor
				}
				p, err := c.Jobs(ctx, f)
				if err != nil {
					return nil, err
				}
				rows := make([][]string, len(p.Jobs))
				for i, j := range p.Jobs {
					rows[i] = []string{j.ID, j.Name, string(j.Status), j.User, j.CommandName, j.ClusterName, timeText(j.CreatedTime)}
				}
				return &page{rows, p.HasMore, p.NextCursor, p.Raw}, nil
			})
		}),
	}
	flags := c.Flags()
	flags.StringVar(&f.ID, "id", "", "id")
	flags.StringVar(&f.Name, "name", "", "name")
	flags.StringVar(&f.Version, "version", "", "version")
	flags.StringVar(&f.User, "username", "", "who submitted it")
	flags.StringVar(&f.Command, "command", "", "command")
	flags.StringVar(&f.Cluster, "cluster", "", "cluster")
	flags.StringSliceVar(&wanted, "status", nil, "status, any of these")
	flags.StringSliceVar(&f.Tags, "tags", nil, "tags, all of these")
	flags.Var((*pageSize)(&f.Limit), "limit", "how many, at most 100 (default 50)")
	flags.StringVar(&f.Cursor, "cursor", "", "go on where a list ended")
	flags.StringVar(&f.OrderBy, "order-by", "", "id, created_at or updated_at (default id)")
	flags.BoolVar(&f.Ascending, "ascending", false, "oldest first")
	flags.BoolVar(&all, "all", false, "all of them, however many pages that takes")
	a.completesList(c, "status", jobStatuses)
	a.completesList(c, "command", objectIDs((*client.Client).Commands))
	a.completesList(c, "cluster", objectIDs((*client.Client).Clusters))
	complete(c, "order-by", "id", "created_at", "updated_at")
	return c
}

// statuses names the states of a job.
func statuses() string {
	var names []string
	for _, s := range job.Statuses() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

func (a *app) cancelCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "cancel ID",
		ValidArgsFunction: a.completes(jobIDs),
		Short:             "Ask a job to stop",
		Args:              oneArg("job"),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			status, err := c.Cancel(ctx, args[0])
			if err != nil {
				return err
			}
			if a.wantsAnswer() {
				err = a.printRaw(json.RawMessage(fmt.Sprintf("{\"status\":%q}", status)))
			} else {
				_, err = fmt.Fprintln(a.Stdout, status)
			}
			return err
		}),
	}
}
