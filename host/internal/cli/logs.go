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
With --stdout or --stderr, print only that one, on stdout.`,
		Args: cobra.ExactArgs(1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			switch {
			case stdout == stderr:
				return a.follow(ctx, c, args[0], o)
			case stdout:
				return copyLog(ctx, a.Stdout, c, args[0], client.Stdout, o)
			}
			return copyLog(ctx, a.Stdout, c, args[0], client.Stderr, o)
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
		Long:  "Print the result of a job: a table in the format of -o, a document as it is.",
		Args:  cobra.ExactArgs(1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			if wait.set {
				if _, err := a.await(ctx, c, args[0], wait.limit); err != nil {
					return err
				}
			}
			return a.printResultOf(ctx, c, args[0])
		}),
	}
	wait.add(c)
	return c
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
