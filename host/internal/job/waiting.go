package job

import "time"

// Reason says why a job waits.
type Reason string

// Reasons why a job waits.
const (
	Scheduled    Reason = "scheduled"     // it is not to start before a time
	Retrying     Reason = "retry"         // an attempt has failed, and the next one is due at a time
	NoHost       Reason = "no host"       // no host runs
	NoPlugin     Reason = "no plugin"     // no host that runs can run its command
	NoRoom       Reason = "no room"       // those that can begin nothing, for want of room on their disk
	CommandLimit Reason = "command limit" // as many jobs of its command run as may
	ClusterLimit Reason = "cluster limit" // as many run on its cluster
	UserLimit    Reason = "user limit"    // as many of its user
	Queued       Reason = "queued"        // others are before it
	NoFreeSlot   Reason = "no free slot"  // the hosts that can run it are busy, or about to look
)

// MaxAhead is how far the jobs before one are counted.
const MaxAhead = 10_000

// Wait is why a job waits.
type Wait struct {
	Reason Reason
	Ahead  int       // jobs that come before it in the queue, at most MaxAhead
	Until  time.Time // when it is due, if it waits for a time; else zero
}

// Attempt is one that has ended.
type Attempt struct {
	Attempt   int // its ordinal, from 1
	HostID    string
	CommandID string
	ClusterID string
	Build     string // digest of the plugin build that ran it, hex; "" when none did
	Status    Status // a final one
	Error     *Error
	StartedAt time.Time // zero when it never began
	EndedAt   time.Time
	Logs      Logs // where its streams are kept
}
