package jobs

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// defaultBackoff is the base of the time between attempts where nobody says one.
const defaultBackoff = time.Second

// retried are the classes of errors that are retried where nobody says which: what
// may be over soon, and what was cut off.
var retried = []job.Class{job.Unavailable, job.Transient, job.Lost}

// bound refuses what a command does not let callers ask for, and what cannot be any
// more, and adds to a request what the command says of all its jobs.
func bound(r *job.Request, c *catalog.Command, now time.Time) error {
	var faults []errs.Field
	refuse := func(field, format string, args ...any) {
		faults = append(faults, errs.Field{Pointer: "/" + field, Detail: field + " " + fmt.Sprintf(format, args...)})
	}
	b := c.Bounds
	if b.Timeout > 0 && r.Timeout > b.Timeout {
		refuse("timeout", "is %s; command %q allows at most %s (max_timeout)", r.Timeout, c.ID, b.Timeout)
	}
	if b.Priority != nil && r.Priority == 0 { // what who says nothing asks for
		r.Priority = min(0, *b.Priority)
	}
	if b.Priority != nil && r.Priority > *b.Priority {
		refuse("priority", "is %d; command %q allows at most %d (max_priority)", r.Priority, c.ID, *b.Priority)
	}
	if r.Retry != nil && b.Attempts > 0 && r.Retry.Attempts > b.Attempts {
		refuse("retry/attempts", "is %d; command %q allows at most %d (max_attempts)", r.Retry.Attempts, c.ID, b.Attempts)
	}
	if !r.Deadline.IsZero() && !r.Deadline.After(now) {
		refuse("deadline", "is %s, which is over", r.Deadline.Format(time.RFC3339))
	}
	if len(faults) > 0 {
		return &errs.Error{Kind: errs.Invalid, Message: faults[0].Detail, Fields: faults}
	}
	r.Retry = policy(r.Retry, c.Retry)
	if r.Timeout == 0 && c.Timeout == 0 {
		r.Timeout = b.Timeout // what bounds callers bounds those who say nothing
	}
	return nil
}

// policy returns the retry policy of a job: its own, where it says something, over
// that of its command. A job that is tried once has none.
func policy(own, command *job.Retry) *job.Retry {
	said := own
	if said == nil {
		said = command
	}
	if said == nil || said.Attempts <= 1 {
		return nil
	}
	p := *said
	if p.Backoff == 0 {
		p.Backoff = defaultBackoff
	}
	if len(p.On) == 0 {
		p.On = slices.Clone(retried)
	}
	return &p
}

// digest names the content of a request: the same request has the same one,
// however it was written.
func digest(r job.Request) []byte {
	content, err := json.Marshal(r)
	if err != nil {
		return nil // raw JSON in it was checked
	}
	sum := sha256.Sum256(content)
	return sum[:]
}
