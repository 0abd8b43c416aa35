package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// submitFlags are the flags of job submit.
type submitFlags struct {
	submissionFlags
	wait   waitFlag
	follow bool
	attach []string
	batch  string
}

func (a *app) submitCommand() *cobra.Command {
	f := &submitFlags{}
	var cmd *cobra.Command
	cmd = &cobra.Command{
		Use:   "submit --command-criteria TAG,…",
		Short: "Submit a job",
		Long: `Submit a job and print its id.

With --wait, wait for its end and print its result instead. With --follow, print
what it writes to stdout and stderr while it runs, until its end. Ctrl-C leaves the job alone.

With --attach, send files with it, which it finds in the folder inputs of its own.

With --batch, submit a job for each line of a file, a JSON object as the API
takes it, and print for each line in turn its number, the status of its
submission and the id of its job. The exit code is 0 if all were taken.

Exit codes:
    0  submitted; with --wait or --follow, the job succeeded
    1  the job failed; of a program, its own exit code instead
    2  the arguments, or what was submitted, make no sense
    4  not authorized
  124  the time of --wait is over; the job goes on
  125  the server could not be reached, or failed
  130  interrupted
  137  the job was killed
  143  the job was canceled`,
		Example: `  heimdall job submit --name ping-test --command-criteria type:ping --cluster-criteria type:localhost --wait
  heimdall job submit --command-criteria type:shell --set arguments='["hello"]' --follow
  heimdall job submit --command-criteria type:shell --set arguments='["sort inputs/words"]' --attach words.txt=words --follow
  heimdall job submit --batch jobs.ndjson`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			s, err := f.read(a)
			if f.batch != "" {
				err = alone(cmd, "batch")
			}
			switch {
			case err != nil:
				return err
			case f.follow && f.wait.limit > 0:
				return usagef("--follow waits as long as it takes; leave out =%v of --wait", f.wait.limit)
			case f.batch == "":
				files, err := openFiles(f.attach)
				if err != nil {
					return err
				}
				defer files.close()
				s.Files = files.list
				return a.submit(ctx, c, s, f)
			}
			return a.submitBatch(ctx, c, f.batch)
		}),
	}
	f.add(a, cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.follow, "follow", false, "print its stdout and stderr while it runs")
	flags.StringArrayVar(&f.attach, "attach", nil, "file to send with it, FILE or FILE=NAME, by which the job knows it (repeatable)")
	flags.StringVar(&f.batch, "batch", "", "file with a job a line, or - for stdin; not with the other flags of a job")
	f.wait.add(cmd)
	return cmd
}

// submit submits a job and, if asked to, stays with it. The id is known before
// the wait begins, so that whoever is interrupted can come back.
func (a *app) submit(ctx context.Context, c *client.Client, s client.Submission, f *submitFlags) error {
	j, err := c.Submit(ctx, s)
	if err != nil {
		return err
	}
	a.reached.Store(true)
	if !f.follow && !f.wait.set {
		if a.wantsAnswer() {
			return a.printRaw(j.Raw)
		}
		_, err := fmt.Fprintln(a.Stdout, j.ID)
		return err
	}
	id := j.ID
	fmt.Fprintln(a.Stderr, "job "+id)
	if f.follow {
		j, err = a.followBoth(ctx, c, id)
	} else {
		j, err = a.await(ctx, c, id, f.wait.limit)
	}
	if err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(a.Stderr, "the job goes on: heimdall job logs --follow "+id)
		}
		return err
	}
	if f.follow {
		return endOf(j)
	}
	if err := a.finish(ctx, c, j, nil); !client.IsNotFound(err) {
		return err
	}
	_, err = fmt.Fprintln(a.Stderr, "SUCCEEDED, no result")
	return err
}

// submitBatch submits the jobs of a file, and prints a line for each.
func (a *app) submitBatch(ctx context.Context, c *client.Client, name string) error {
	lines := a.Stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return usagef("--batch: %w", err)
		}
		defer file.Close()
		lines = file
	}
	rows := a.newRows([]string{"LINE", "STATUS", "ID", "ERROR"})
	count, refused := 0, 0
	// A reader of its own: the transport would close a file.
	err := c.SubmitBatch(ctx, struct{ io.Reader }{lines}, func(item *client.Item) error {
		count++
		if item.Err() != nil {
			refused++
		}
		if a.wantsAnswer() {
			return a.printRaw(item.Raw)
		}
		return rows.add([]string{fmt.Sprint(item.Index + 1), fmt.Sprint(item.Status), item.ID, item.Message})
	})
	err = errors.Join(err, rows.stop())
	if err == nil && refused > 0 {
		err = &codeError{code: ExitFailed, err: fmt.Errorf("%d of %d jobs were refused", refused, count)}
	}
	return err
}
