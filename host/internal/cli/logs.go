package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/heimdall-run/heimdall/sdk/client"
)

func (a *app) logsCommand() *cobra.Command {
	var o client.LogOptions
	var stdout, stderr bool
	c := &cobra.Command{
		Use:               "logs ID",
		ValidArgsFunction: a.completes(jobIDs),
		Short:             "Print what a job wrote to stdout and stderr",
		Long: `Print what a job wrote to stdout on stdout, and what it wrote to stderr on stderr.
With --stdout or --stderr, print only that one, on stdout.

With --follow, the exit code tells how the job ended, as that of job submit does. A
job that is tried again is followed on; with --attempt, only that attempt is.`,
		Args: oneArg("job"),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			streams := []client.Stream{client.Stdout, client.Stderr}
			switch {
			case stdout == stderr:
			case stdout:
				streams = streams[:1]
			default:
				streams = streams[1:]
			}
			f := &follower{a: a, c: c, id: args[0], alone: len(streams) == 1}
			if !o.Follow {
				return f.print(ctx, streams, o)
			}
			j, err := f.follow(ctx, streams, o)
			if err != nil || !j.Status.Final() {
				return err
			}
			return endOf(j)
		}),
	}
	flags := c.Flags()
	flags.BoolVar(&stdout, "stdout", false, "only stdout")
	flags.BoolVar(&stderr, "stderr", false, "only stderr")
	flags.IntVar(&o.Tail, "tail", 0, "only so many last lines (default all)")
	flags.IntVar(&o.Attempt, "attempt", 0, "what this attempt wrote (default the latest)")
	flags.BoolVar(&o.Follow, "follow", false, "go on until the job has ended")
	return c
}

// followBoth prints both streams of a job as they come, until it has ended.
func (a *app) followBoth(ctx context.Context, c *client.Client, id string) (*client.Job, error) {
	f := &follower{a: a, c: c, id: id}
	return f.follow(ctx, []client.Stream{client.Stdout, client.Stderr}, client.LogOptions{})
}

// follower prints the streams of a job.
type follower struct {
	a     *app
	c     *client.Client
	id    string
	alone bool // there is one stream, which goes to stdout whichever it is

	places map[client.Stream]*place
}

// place is how far a stream was printed.
type place struct {
	begun   bool  // else the rest is not known yet
	attempt int   // 0: the host does not say
	offset  int64 // in the stream of that
}

// follow prints streams as they come, until the job has ended, or the attempt that is
// asked for, and returns it. It goes on where it was when the host was away for a
// while.
func (f *follower) follow(ctx context.Context, streams []client.Stream, o client.LogOptions) (*client.Job, error) {
	o.Follow = true
	f.places = map[client.Stream]*place{}
	for _, s := range streams {
		f.places[s] = &place{}
	}
	var since time.Time // that the streams could not be read; zero: they could
	for {
		err := f.print(ctx, streams, o)
		switch {
		case err == nil:
			since = time.Time{}
		case !f.a.reached.Load() || !passing(err):
			return nil, err
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > patience:
			return nil, err
		}
		// A log ends with the attempt, and when its host stops.
		j, troubled, lookErr := f.a.look(ctx, f.c, f.id, holdShown)
		if lookErr != nil {
			return nil, lookErr
		}
		if err != nil && pause(ctx, pauseFor) != nil {
			return nil, ctx.Err()
		}
		if err != nil || troubled {
			continue
		}
		if o.Attempt > 0 {
			if j.Status.Final() || j.Attempt > o.Attempt {
				return j, nil
			}
			continue
		}
		if !f.advance(j) && j.Status.Final() {
			return j, nil
		}
	}
}

// advance goes on to the next attempt of a job, whose streams were printed to their
// ends, and reports whether there is one.
func (f *follower) advance(j *client.Job) (more bool) {
	next := 0
	for _, p := range f.places {
		if p.attempt > 0 && p.attempt < j.Attempt {
			p.attempt, p.offset = p.attempt+1, 0
			next = max(next, p.attempt)
		}
	}
	if next > 0 {
		fmt.Fprintf(f.a.Stderr, "the job was tried again; this is attempt %d\n", next)
	}
	return next > 0
}

// print prints streams at the same time, without what was printed before.
func (f *follower) print(ctx context.Context, streams []client.Stream, o client.LogOptions) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range streams {
		g.Go(func() error { return f.copy(ctx, s, o) })
	}
	return g.Wait()
}

func (f *follower) copy(ctx context.Context, s client.Stream, o client.LogOptions) error {
	at := f.places[s]
	if at == nil {
		at = &place{}
	}
	if o.Follow && o.Attempt == 0 {
		o.Attempt = client.LatestAttempt
	}
	if at.begun {
		o.Tail, o.From = 0, at.offset
		if at.attempt > 0 {
			o.Attempt = at.attempt
		}
	}
	log, err := f.c.Log(ctx, f.id, s, o)
	if err != nil {
		return err
	}
	defer log.Close()
	f.a.reached.Store(true)
	at.begun, at.attempt, at.offset = true, log.Attempt, max(log.Offset, o.From)
	w := f.a.Stdout
	if s == client.Stderr && !f.alone {
		w = f.a.Stderr
	}
	n, err := io.Copy(w, log)
	at.offset += n
	if err == nil {
		at.attempt = log.LastAttempt()
	}
	return err
}
