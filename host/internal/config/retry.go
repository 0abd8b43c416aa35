package config

import (
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Retry is the retry table of a command: when another attempt follows one that did
// not succeed.
type Retry struct {
	// Attempts is how many there may be in all, at most 100. Required.
	Attempts int `toml:"attempts"`
	// Backoff is the most time before the second attempt, more than 0s and at most
	// 10m; it doubles with each further one. Default: 1s.
	Backoff *time.Duration `toml:"backoff"`
	// On are the classes of errors that are retried. Default: unavailable,
	// transient, lost.
	On []string `toml:"on"`
}

func (r Retry) empty() bool { return r.Attempts == 0 && r.Backoff == nil && len(r.On) == 0 }

// catalog returns the policy; nil when there is none.
func (r Retry) catalog() *job.Retry {
	if r.empty() {
		return nil
	}
	policy := &job.Retry{Attempts: r.Attempts}
	if r.Backoff != nil {
		policy.Backoff = *r.Backoff
	}
	for _, class := range r.On {
		policy.On = append(policy.On, job.Class(class))
	}
	return policy
}

func checkRetry(found *faults, key string, r Retry) {
	if r.empty() {
		return
	}
	if r.Backoff != nil {
		if why := job.BackoffFault(*r.Backoff); why != "" {
			found.add(key+".backoff", "this %s", why)
		}
	}
	if field, why := r.catalog().Fault(); field != "" {
		found.add(key+"."+field, "this %s", why)
	}
}

// checkBounds judges what a command lets callers ask for, which is no less than what
// it says of jobs that ask for nothing.
func checkBounds(found *faults, key string, c Command) {
	checkNotNegative(found, key+".max_timeout", c.MaxTimeout)
	if n := c.MaxAttempts; n < 0 || n > job.MaxAttempts {
		found.add(key+".max_attempts", "%d is no bound; it must be between 1 and %d, or 0 for none", n, job.MaxAttempts)
	}
	if c.MaxTimeout > 0 && c.Timeout > c.MaxTimeout {
		found.add(key+".timeout", "%v is more than max_timeout lets callers ask for, which is %v; lower it, or raise that", c.Timeout, c.MaxTimeout)
	}
	if c.MaxAttempts > 0 && c.Retry.Attempts > c.MaxAttempts {
		found.add(key+".retry.attempts", "%d is more than max_attempts lets callers ask for, which is %d; lower it, or raise that", c.Retry.Attempts, c.MaxAttempts)
	}
	if p := c.MaxPriority; p != nil && (*p < job.MinPriority || *p > job.MaxPriority) {
		found.add(key+".max_priority", "%d is no priority; it must be between %d and %d", *p, job.MinPriority, job.MaxPriority)
	}
	checkNotNegative(found, key+".max_running", c.MaxRunning)
	checkNotNegative(found, key+".keep", c.Keep)
}
