package queue

import (
	"math/rand/v2"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// retryAt returns when another attempt of a job is to follow; false when none is.
func retryAt(c job.Claimed, o job.Outcome, now time.Time) (time.Time, bool) {
	if o.Status == job.Succeeded || o.Status == job.Canceled || !c.Job.Retry.After(o.Error, c.Retries) {
		return time.Time{}, false
	}
	wait := backoff(c.Job.Retry.Backoff, c.Retries)
	if o.Error.Class == job.Shutdown || o.HostFault {
		wait = 0 // it is not the job's fault
	}
	at := now.Add(max(wait, o.Error.RetryAfter))
	if d := c.Job.Deadline; !d.IsZero() && !at.Before(d) {
		return time.Time{}, false
	}
	return at, true
}

// backoff returns a random time up to base, doubled with each retry: with full
// jitter, jobs that failed together do not come back together
// (aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter).
func backoff(base time.Duration, retries int) time.Duration {
	most := base
	for range retries {
		if most >= job.MaxBackoff {
			break
		}
		most *= 2
	}
	most = min(most, job.MaxBackoff)
	if most <= 0 {
		return 0
	}
	return rand.N(most)
}
