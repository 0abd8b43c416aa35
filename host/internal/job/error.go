package job

import "time"

// Class says whose fault an error of an attempt was and what may be done.
type Class string

// The classes of errors.
const (
	Invalid     Class = "invalid"     // the caller's fault
	WorkFailed  Class = "failed"      // the work itself said no
	Denied      Class = "denied"      // not allowed
	Quota       Class = "quota"       // a limit is used up
	Unavailable Class = "unavailable" // the cluster is down or full
	Transient   Class = "transient"   // it may work when tried again
	TimedOut    Class = "timeout"     // it took too long
	WasCanceled Class = "canceled"    // it was asked to stop
	Lost        Class = "lost"        // the outcome is unknown
	Internal    Class = "internal"    // a defect of plugin or host
	Shutdown    Class = "shutdown"    // the host stopped
)

// Error is why an attempt did not end well.
type Error struct {
	Class      Class         `json:"class"`
	Message    string        `json:"message"` // one sentence for the caller
	ExitCode   *int          `json:"exit_code,omitempty"`
	Signal     string        `json:"signal,omitempty"`
	RetryAfter time.Duration `json:"retry_after,omitempty"` // nanoseconds
	RetrySafe  bool          `json:"retry_safe,omitempty"`  // nothing happened outside
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }
