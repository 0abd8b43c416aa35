package job

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds of what a retry policy may say.
const (
	MaxAttempts = 100
	MaxBackoff  = 10 * time.Minute
)

// Retry says when another attempt follows one that did not succeed.
type Retry struct {
	Attempts int           `json:"attempts"`     // in all, the first one too
	Backoff  time.Duration `json:"backoff"`      // nanoseconds; doubles with each retry; 0: none is said
	On       []Class       `json:"on,omitempty"` // the classes of errors that are retried
}

// After reports whether an attempt follows one that failed with this error, when
// some were retried before. One that the host stopped for itself is like one that
// was lost.
func (r *Retry) After(e *Error, retries int) bool {
	if r == nil || e == nil || retries+1 >= r.Attempts {
		return false
	}
	return slices.Contains(r.On, e.Class) || e.Class == Shutdown && slices.Contains(r.On, Lost)
}

// RunsElsewhere reports whether an attempt may follow one whose host was lost.
func (r *Retry) RunsElsewhere(retries int) bool { return r.After(&Error{Class: Lost}, retries) }

// RetryClasses returns the classes of errors that may be retried. The others may
// not: an invalid input would be refused again, somebody wanted the end of what was
// canceled, and what a host stopped for itself is retried with what was lost.
func RetryClasses() []Class {
	return []Class{WorkFailed, Denied, Quota, Unavailable, Transient, TimedOut, Lost, Internal}
}

// BackoffFault says what is wrong with a backoff that somebody says; "" when nothing is.
func BackoffFault(d time.Duration) string {
	if d <= 0 || d > MaxBackoff {
		return fmt.Sprintf("is %s; it must be more than 0s, and at most %s", d, MaxBackoff)
	}
	return ""
}

// Fault says what is wrong with a policy: of which of its fields (attempts,
// backoff, on), and why; both are empty when nothing is.
func (r *Retry) Fault() (field, why string) {
	switch {
	case r.Attempts < 1 || r.Attempts > MaxAttempts:
		return "attempts", fmt.Sprintf("is %d; it must be between 1 and %d, the first attempt included", r.Attempts, MaxAttempts)
	case r.Backoff < 0 || r.Backoff > MaxBackoff:
		return "backoff", BackoffFault(r.Backoff)
	}
	known := RetryClasses()
	for _, class := range r.On {
		if !slices.Contains(known, class) {
			names := make([]string, len(known))
			for i, k := range known {
				names[i] = string(k)
			}
			return "on", fmt.Sprintf("names %.40q; what can be retried is %s", string(class), strings.Join(names, ", "))
		}
	}
	return "", ""
}
