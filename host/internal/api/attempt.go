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
	Ahead  int        `json:"ahead"`           // jobs before it, at most 10000
	Until  *time.Time `json:"until,omitempty"` // when it is due
}

func wireWait(w *job.Wait) *wireWaiting {
	if w == nil {
		return nil
	}
	return &wireWaiting{Reason: w.Reason, Ahead: w.Ahead, Until: moment(w.Until)}
}

// wireAttempt is an attempt that has ended.
type wireAttempt struct {
	Attempt     int        `json:"attempt"`
	Status      job.Status `json:"status"`
	Error       string     `json:"error,omitempty"`
	Class       job.Class  `json:"class,omitempty"` // of the error
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
			list[i].Error, list[i].Class, list[i].ExitCode, list[i].Signal = e.Message, e.Class, e.ExitCode, e.Signal
		}
	}
	return list
}
