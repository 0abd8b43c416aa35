package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// submissionFlags are the flags that say what a job is to be.
type submissionFlags struct {
	s           client.Submission
	cluster     []string
	preferences []string
	input       inputFlags
	retry       client.Retry
	startAfter  timeFlag
	deadline    timeFlag

	retryGiven func() bool
}

// add adds the flags to a command: those that the choice of a pair depends on, and
// those of the queue.
func (f *submissionFlags) add(a *app, c *cobra.Command) {
	flags := c.Flags()
	s := &f.s
	flags.StringVar(&s.Name, "name", "", "name of the job")
	flags.StringVar(&s.Version, "version", "", "version of the job")
	flags.StringVar(&s.Description, "description", "", "what it is for")
	flags.StringSliceVar(&s.CommandCriteria, "command-criteria", nil, "tags that the command must have")
	flags.StringSliceVar(&f.cluster, "cluster-criteria", nil, "tags that the cluster must have")
	flags.StringArrayVar(&f.preferences, "cluster-preference", nil, "likewise, but one list of several: the first that yields a pair is used (repeatable)")
	flags.StringSliceVar(&s.Tags, "tag", nil, "tags of the job")
	f.input.add(c)
	flags.StringVar(&s.Timeout, "timeout", "", "how long it may run, such as 30s")
	flags.IntVar(&s.Priority, "priority", 0, "-100 to 100; higher runs first")
	flags.Var(&f.startAfter, "start-after", "when it may start: a time such as 2026-12-31T23:59:59Z, or in how long, such as 10m")
	flags.Var(&f.deadline, "deadline", "when it must have ended, likewise")
	flags.IntVar(&f.retry.Attempts, "retry", 0, "how often it may be tried in all; 1 takes back what the command says")
	flags.StringVar(&f.retry.Backoff, "retry-backoff", "", "the most time before the second attempt, such as 30s; it doubles")
	flags.StringSliceVar(&f.retry.On, "retry-on", nil, "classes of errors that are retried")
	flags.StringVar(&s.UniqueKey, "unique-key", "", "refuse it while another job of yours with this key waits or runs")
	flags.StringVar(&s.IdempotencyKey, "idempotency-key", "", "submit it once, however often this is repeated within a day")
	f.retryGiven = func() bool { return flags.Changed("retry") }

	a.completesList(c, "command-criteria", objectTags((*client.Client).Commands))
	a.completesList(c, "cluster-criteria", objectTags((*client.Client).Clusters))
	a.completesList(c, "cluster-preference", objectTags((*client.Client).Clusters))
	complete(c, "retry-on", "failed", "denied", "quota", "unavailable", "transient", "timeout", "lost", "internal")
	for _, name := range []string{
		"name", "version", "description", "tag", "set", "set-string", "timeout", "priority", "start-after", "deadline",
		"retry", "retry-backoff", "unique-key", "idempotency-key",
	} {
		complete(c, name)
	}
}

// read returns the submission that the flags describe.
func (f *submissionFlags) read(a *app) (client.Submission, error) {
	s := f.s
	var err error
	if s.Context, err = f.input.read(a); err != nil {
		return s, err
	}
	switch {
	case len(f.cluster) > 0 && len(f.preferences) > 0:
		return s, usagef("--cluster-criteria and --cluster-preference exclude each other: name what all must have in each preference")
	case len(f.cluster) > 0:
		s.ClusterCriteria = f.cluster
	case len(f.preferences) > 0:
		s.ClusterCriteria = split(f.preferences)
	}
	switch {
	case f.retryGiven() && f.retry.Attempts < 1:
		return s, usagef("--retry %d: it is how often the job may be tried in all, at least 1", f.retry.Attempts)
	case f.retryGiven():
		s.Retry = &f.retry
	case f.retry.Backoff != "" || len(f.retry.On) > 0:
		return s, usagef("--retry-backoff and --retry-on are for --retry")
	}
	s.StartAfter, s.Deadline = f.startAfter.at, f.deadline.at
	if s.IdempotencyKey != "" {
		for name, at := range map[string]timeFlag{"start-after": f.startAfter, "deadline": f.deadline} {
			if at.relative {
				return s, usagef("--%s from now on is another time when this is repeated, and so another request; with --idempotency-key give the time itself, such as %s",
					name, at.at.Format(time.RFC3339))
			}
		}
	}
	return s, nil
}
