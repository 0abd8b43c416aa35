package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/heimdall-run/heimdall/sdk/client"
)

func (a *app) logsCommand() *cobra.Command {
	var o client.LogOptions
	var stdout, stderr bool
	c := &cobra.Command{
		Use:   "logs ID",
		Short: "Print what a job wrote to stdout and stderr",
		Long: `Print what a job wrote to stdout on stdout, and what it wrote to stderr on stderr.
With --stdout or --stderr, print only that one, on stdout.

With --follow, the exit code tells how the job ended, as that of job submit does.`,
		Args: oneArg("job"),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			var err error
			switch {
			case stdout == stderr:
				err = a.follow(ctx, c, args[0], o)
			case stdout:
				err = copyLog(ctx, a.Stdout, c, args[0], client.Stdout, o)
			default:
				err = copyLog(ctx, a.Stdout, c, args[0], client.Stderr, o)
			}
			if err != nil || !o.Follow {
				return err
			}
			j, err := a.await(ctx, c, args[0], 0)
			if err != nil {
				return err
			}
			return endOf(j)
		}),
	}
	flags := c.Flags()
	flags.BoolVar(&stdout, "stdout", false, "only stdout")
	flags.BoolVar(&stderr, "stderr", false, "only stderr")
	flags.IntVar(&o.Tail, "tail", 0, "only so many last lines (default all)")
	flags.BoolVar(&o.Follow, "follow", false, "go on until the job has ended")
	return c
}

// follow prints both streams of a job at the same time.
func (a *app) follow(ctx context.Context, c *client.Client, id string, o client.LogOptions) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return copyLog(ctx, a.Stdout, c, id, client.Stdout, o) })
	g.Go(func() error { return copyLog(ctx, a.Stderr, c, id, client.Stderr, o) })
	return g.Wait()
}

func copyLog(ctx context.Context, w io.Writer, c *client.Client, id string, s client.Stream, o client.LogOptions) error {
	log, err := c.Log(ctx, id, s, o)
	if err != nil {
		return err
	}
	defer log.Close()
	_, err = io.Copy(w, log)
	return err
}

func (a *app) resultCommand() *cobra.Command {
	var wait waitFlag
	c := &cobra.Command{
		Use:   "result ID",
		Short: "Print the result of a job",
		Long: `Print the result of a job: a table in the format of -o, a text and a document as
they are.

With --wait, wait for its end first; the exit code tells how it ended, as that
of job submit does.`,
		Args: oneArg("job"),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			if !wait.set {
				return a.printResultOf(ctx, c, args[0])
			}
			j, err := a.await(ctx, c, args[0], wait.limit)
			if err != nil {
				return err
			}
			return a.finish(ctx, c, j)
		}),
	}
	wait.add(c)
	return c
}

// finish prints the result of a job that has ended and returns how the program
// ends after it. That there is no result is an error only if the job succeeded.
func (a *app) finish(ctx context.Context, c *client.Client, j *client.Job) error {
	err := a.printResultOf(ctx, c, j.ID)
	if err == nil || client.IsNotFound(err) && j.Status != client.StatusSucceeded {
		return endOf(j)
	}
	return err
}

// printResultOf prints the result of a job that has ended.
func (a *app) printResultOf(ctx context.Context, c *client.Client, id string) error {
	r, err := c.Result(ctx, id)
	if err != nil {
		return err
	}
	defer r.Close()
	return a.printResult(r)
}
