package job

import (
	"fmt"
	"slices"
	"strings"
)

// Status is the state of a job, by its name on the wire.
type Status string

// The states of a job.
const (
	New       Status = "NEW"       // waits
	Accepted  Status = "ACCEPTED"  // claimed by a host
	Running   Status = "RUNNING"   // the plugin has it
	Canceling Status = "CANCELING" // asked to stop
	Succeeded Status = "SUCCEEDED" // final
	Failed    Status = "FAILED"    // final
	Killed    Status = "KILLED"    // final: ended by the system
	Canceled  Status = "CANCELED"  // final: ended by a person
)

// Statuses returns all states, sorted by name.
func Statuses() []Status {
	return []Status{Accepted, Canceled, Canceling, Failed, Killed, New, Running, Succeeded}
}

// ParseStatus reads the name of a state, in any case.
func ParseStatus(s string) (Status, error) {
	status := Status(strings.ToUpper(strings.TrimSpace(s)))
	if !slices.Contains(Statuses(), status) {
		return "", fmt.Errorf("%q is not a job status", s)
	}
	return status, nil
}

// Final reports whether a job in this state has ended. A final state never
// changes.
func (s Status) Final() bool {
	return s == Succeeded || s == Failed || s == Killed || s == Canceled
}

// Guard is what must hold, in the statement that makes a transition, for it to
// happen.
type Guard string

// The guards of transitions.
const (
	Recorded  Guard = "the job's row is written in the same commit"
	Waiting   Guard = "the job's waiting row is taken away"
	HoldsLane Guard = "the job's waiting row is taken away by a live host"
	HasLease  Guard = "a lease of the job exists"
	OwnsLease Guard = "the lease has this attempt, host and epoch"

	HostLost  Guard = "the host's right to run is over, and nobody can run this attempt any more"
	OwnerGone Guard = "the host is lost for longer than its jobs wait for it"

	DeadlinePassed Guard = "the job's waiting row is taken away, its deadline being over"
)

// Transition is an allowed change of state.
type Transition struct {
	From, To Status // From is empty for a submission
	Guard    Guard
}

// Transitions returns every allowed change of state.
func Transitions() []Transition {
	return []Transition{
		{"", New, Recorded},
		{"", Accepted, Recorded},
		{New, Accepted, HoldsLane},
		{New, Canceled, Waiting},
		{New, Killed, DeadlinePassed},
		{Accepted, New, OwnsLease},
		{Running, New, OwnsLease},
		{Accepted, New, HostLost},
		{Running, New, HostLost},
		{Accepted, Running, OwnsLease},
		{Accepted, Canceling, HasLease},
		{Running, Canceling, HasLease},
		{Accepted, Succeeded, OwnsLease},
		{Accepted, Failed, OwnsLease},
		{Accepted, Killed, OwnsLease},
		{Running, Succeeded, OwnsLease},
		{Running, Failed, OwnsLease},
		{Running, Killed, OwnsLease},
		{Accepted, Failed, OwnerGone},
		{Running, Failed, OwnerGone},
		{Canceling, Canceled, OwnsLease},
		{Canceling, Canceled, HostLost},
		{Canceling, Canceled, OwnerGone},
		{Canceling, Succeeded, OwnsLease},
		{Canceling, Failed, OwnsLease},
		{Canceling, Killed, OwnsLease},
	}
}
