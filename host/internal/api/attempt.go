package api

import (
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// wireRetry is a retry policy as clients know it.
type wireRetry struct {
	Attempts int         `json:"attempts"`
	Backoff  string      `json:"backoff"`
	On       []job.Class `json:"on"`
}

func wirePolicy(r *job.Retry) *wireRetry {
	if r == nil {
		return nil
	}
	return &wireRetry{Attempts: r.Attempts, Backoff: r.Backoff.String(), On: r.On}
}

// wireWaiting is why a job waits.
type wireWaiting struct {
	Reason job.Reason `json:"reason"`
	Ahead  *int       `json:"ahead,omitempty"` // jobs before it, at most 10000; none while it is not in the queue
	Until  *time.Time `json:"until,omitempty"` // when it is due
}

func wireWait(w *job.Wait) *wireWaiting {
	if w == nil {
		return nil
	}
	wire := &wireWaiting{Reason: w.Reason, Until: moment(w.Until)}
	if w.Until.IsZero() {
		wire.Ahead = &w.Ahead
	}
	return wire
}

// wireAttempt is an attempt that has ended.
type wireAttempt struct {
	Attempt     int        `json:"attempt"`
	Status      job.Status `json:"status"`
	Error       string     `json:"error,omitempty"`
	ErrorClass  job.Class  `json:"error_class,omitempty"`
	ExitCode    *int       `json:"exit_code,omitempty"`
	Signal      string     `json:"signal,omitempty"`
	HostID      string     `json:"host_id,omitempty"`
	CommandID   string     `json:"command_id,omitempty"`
	ClusterID   string     `json:"cluster_id,omitempty"`
	Build       string     `json:"build,omitempty"`      // sha256 of the plugin's binary
	StartedAt   int64      `json:"started_at,omitempty"` // unix seconds
	EndedAt     int64      `json:"ended_at"`             // unix seconds
	StartedTime *time.Time `json:"started_time,omitempty"`
	EndedTime   *time.Time `json:"ended_time,omitempty"`
}

func wireAttempts(attempts []job.Attempt) []wireAttempt {
	list := make([]wireAttempt, len(attempts))
	for i, a := range attempts {
		list[i] = wireAttempt{
			Attempt: a.Attempt, Status: a.Status, HostID: a.HostID, CommandID: a.CommandID, ClusterID: a.ClusterID, Build: a.Build,
			StartedAt: seconds(a.StartedAt), EndedAt: seconds(a.EndedAt), StartedTime: moment(a.StartedAt), EndedTime: moment(a.EndedAt),
		}
		if e := a.Error; e != nil {
			list[i].Error, list[i].ErrorClass, list[i].ExitCode, list[i].Signal = e.Message, e.Class, e.ExitCode, e.Signal
		}
	}
	return list
}

// wireProgress is how far a running job is.
type wireProgress struct {
	Done    float64 `json:"done"`
	Total   float64 `json:"total,omitempty"` // left out: nobody knows
	Message string  `json:"message,omitempty"`
}

func wireProgressOf(p *job.Progress) *wireProgress {
	if p == nil {
		return nil
	}
	return &wireProgress{Done: p.Done, Total: p.Total, Message: p.Message}
}
