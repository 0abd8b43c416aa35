package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// submitFlags are the flags of job submit that are no part of the submission.
type submitFlags struct {
	clusterCriteria []string
	context         string
	set             []string
	retry           client.Retry
	wait            waitFlag
	follow          bool
}

func (a *app) submitCommand() *cobra.Command {
	var s client.Submission
	var f submitFlags
	c := &cobra.Command{
		Use:   "submit --command-criteria TAG,…",
		Short: "Submit a job",
		Long: `Submit a job and print its id.

With --wait, wait for its end and print its result instead. With --follow, print
what it writes to stdout and stderr while it runs. Ctrl-C leaves the job alone.

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
  heimdall job submit --command-criteria type:shell --set arguments='["hello"]' --follow`,
		Args: noArgs,
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			var err error
			if s.Context, err = a.readContext(f.context, f.set); err != nil {
				return err
			}
			if len(f.clusterCriteria) > 0 {
				s.ClusterCriteria = f.clusterCriteria
			}
			switch {
			case f.retry.Attempts != 0:
				s.Retry = &f.retry
			case f.retry.Backoff != "" || len(f.retry.On) > 0:
				return usagef("--retry-backoff and --retry-on are for --retry")
			}
			return a.submit(ctx, c, s, f)
		}),
	}
	flags := c.Flags()
	flags.StringVar(&s.Name, "name", "", "name of the job")
	flags.StringVar(&s.Version, "version", "", "version of the job")
	flags.StringVar(&s.Description, "description", "", "what it is for")
	flags.StringSliceVar(&s.CommandCriteria, "command-criteria", nil, "tags that the command must have")
	flags.StringSliceVar(&f.clusterCriteria, "cluster-criteria", nil, "tags that the cluster must have")
	flags.StringSliceVar(&s.Tags, "tag", nil, "tags of the job")
	flags.StringVar(&f.context, "context", "", "input of the job: a JSON object, @FILE, or - for stdin")
	flags.StringArrayVar(&f.set, "set", nil, "one value of the input, path=value; JSON or else text")
	flags.StringVar(&s.Timeout, "timeout", "", "how long it may run, such as 30s")
	flags.IntVar(&s.Priority, "priority", 0, "-100 to 100; higher runs first")
	flags.Var((*timeFlag)(&s.StartAfter), "start-after", "when it may start: a time such as 2026-12-31T23:59:59Z, or in how long, such as 10m")
	flags.Var((*timeFlag)(&s.Deadline), "deadline", "when it must have ended, likewise")
	flags.IntVar(&f.retry.Attempts, "retry", 0, "how often it may be tried in all")
	flags.StringVar(&f.retry.Backoff, "retry-backoff", "", "the most time before the second attempt, such as 30s; it doubles")
	flags.StringSliceVar(&f.retry.On, "retry-on", nil, "classes of errors that are retried")
	flags.StringVar(&s.UniqueKey, "unique-key", "", "refuse it while another job of yours with this key waits or runs")
	flags.StringVar(&s.IdempotencyKey, "idempotency-key", "", "submit it once, however often this is repeated within a day")
	flags.BoolVar(&f.follow, "follow", false, "print its stdout and stderr while it runs")
	f.wait.add(c)
	return c
}

// submit submits a job and, if asked to, stays with it. The id is known before
// the wait begins, so that whoever is interrupted can come back.
func (a *app) submit(ctx context.Context, c *client.Client, s client.Submission, f submitFlags) error {
	if f.follow && f.wait.set {
		return usagef("--wait and --follow exclude each other")
	}
	j, err := c.Submit(ctx, s)
	if err != nil {
		return err
	}
	if !f.follow && !f.wait.set {
		if a.output == formatJSON {
			return a.printRaw(j.Raw)
		}
		_, err := fmt.Fprintln(a.Stdout, j.ID)
		return err
	}
	fmt.Fprintln(a.Stderr, "job "+j.ID)
	if f.follow {
		err = a.follow(ctx, c, j.ID, client.LogOptions{Follow: true})
	}
	if err == nil {
		j, err = a.await(ctx, c, j.ID, f.wait.limit)
	}
	if err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(a.Stderr, "the job goes on: heimdall job logs --follow "+j.ID)
		}
		return err
	}
	if f.follow {
		return endOf(j)
	}
	if err := a.finish(ctx, c, j); !client.IsNotFound(err) {
		return err
	}
	_, err = fmt.Fprintln(a.Stderr, "SUCCEEDED, no result")
	return err
}

// await waits for the end of a job, no longer than the limit; 0: no limit.
func (a *app) await(ctx context.Context, c *client.Client, id string, limit time.Duration) (*client.Job, error) {
	waiting := ctx
	if limit > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	j, err := c.Wait(waiting, id)
	if err != nil && ctx.Err() == nil && waiting.Err() != nil {
		err = &codeError{
			code: ExitWaited,
			err:  fmt.Errorf("job %s has not ended after %s; it goes on", id, limit),
		}
	}
	if err != nil {
		return &client.Job{ID: id}, err
	}
	return j, nil
}

// endOf returns how the program ends after a job: nil if it succeeded.
func endOf(j *client.Job) error {
	code := ExitFailed
	switch j.Status {
	case client.StatusSucceeded:
		return nil
	case client.StatusKilled:
		code = ExitKilled
	case client.StatusCanceled:
		code = ExitCanceled
	default:
		if j.ExitCode != nil && *j.ExitCode > 0 && *j.ExitCode < 256 {
			code = *j.ExitCode
		}
	}
	err := fmt.Errorf("job %s %s", j.ID, j.Status)
	if j.Error != "" {
		err = fmt.Errorf("%w: %s", err, j.Error)
	}
	return &codeError{code: code, err: err}
}

// waitFlag is --wait, with or without a limit.
type waitFlag struct {
	set   bool
	limit time.Duration // 0: none
}

// add adds the flag to a command.
func (w *waitFlag) add(c *cobra.Command) {
	c.Flags().Var(w, "wait", "wait for the end, with =DURATION no longer than that")
	c.Flags().Lookup("wait").NoOptDefVal = "true"
}

// Set reads the flag.
func (w *waitFlag) Set(text string) error {
	w.set, w.limit = true, 0
	switch text {
	case "true":
		return nil
	case "false":
		w.set = false
		return nil
	}
	d, err := time.ParseDuration(text)
	if err == nil && d <= 0 {
		err = errors.New("it is not positive")
	}
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 30s", text)
	}
	w.limit = d
	return nil
}

// String returns the flag as it is written.
func (w *waitFlag) String() string {
	if w.limit > 0 {
		return w.limit.String()
	}
	return ""
}

// Type names what the flag takes.
func (w *waitFlag) Type() string { return "duration" }

// timeFlag is a time, or a duration from now.
type timeFlag time.Time

// Set reads the flag.
func (f *timeFlag) Set(text string) error {
	if d, err := time.ParseDuration(text); err == nil {
		*f = timeFlag(time.Now().Add(d).UTC().Truncate(time.Millisecond))
		return nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return fmt.Errorf("%q is neither a time such as 2026-12-31T23:59:59Z nor a duration such as 10m", text)
	}
	*f = timeFlag(at)
	return nil
}

// String returns the flag as it is written.
func (f *timeFlag) String() string {
	if at := time.Time(*f); !at.IsZero() {
		return at.Format(time.RFC3339)
	}
	return ""
}

// Type names what the flag takes.
func (f *timeFlag) Type() string { return "time" }

// readText reads an argument that may name a file or stdin.
func (a *app) readText(argument string) ([]byte, error) {
	if argument == "-" {
		return io.ReadAll(a.Stdin)
	}
	if len(argument) > 1 && argument[0] == '@' {
		return os.ReadFile(argument[1:])
	}
	return []byte(argument), nil
}
