package client

import (
	"encoding/json"
	"time"
)

// Status is the state of a job.
type Status string

// The states of a job. The last four are final.
const (
	StatusNew       Status = "NEW"
	StatusAccepted  Status = "ACCEPTED"
	StatusRunning   Status = "RUNNING"
	StatusCanceling Status = "CANCELING"
	StatusSucceeded Status = "SUCCEEDED"
	StatusFailed    Status = "FAILED"
	StatusKilled    Status = "KILLED"
	StatusCanceled  Status = "CANCELED"
)

// Final reports whether a job in this state has ended.
func (s Status) Final() bool {
	return s == StatusSucceeded || s == StatusFailed || s == StatusKilled || s == StatusCanceled
}

// Job is a job as the host tells it.
type Job struct {
	ID              string               `json:"id"`
	Name            string               `json:"name"`
	Version         string               `json:"version"`
	Description     string               `json:"description"`
	User            string               `json:"user"`
	Tags            []string             `json:"tags"`
	Context         json.RawMessage      `json:"context"`
	Status          Status               `json:"status"`
	Error           string               `json:"error"`
	ErrorClass      string               `json:"error_class"`
	ExitCode        *int                 `json:"exit_code"` // of a job that is a process
	Signal          string               `json:"signal"`
	IsSync          bool                 `json:"is_sync"`
	CommandCriteria []string             `json:"command_criteria"`
	ClusterCriteria json.RawMessage      `json:"cluster_criteria"` // a list, or a list of lists
	JobAttributes   map[string]Attribute `json:"job_attributes"`
	CommandID       string               `json:"command_id"`
	CommandName     string               `json:"command_name"`
	ClusterID       string               `json:"cluster_id"`
	ClusterName     string               `json:"cluster_name"`
	Timeout         string               `json:"timeout"`
	Retry           *Retry               `json:"retry"` // nil: it is tried once
	Priority        int                  `json:"priority"`
	StartAfter      time.Time            `json:"start_after"` // zero: at once
	Deadline        time.Time            `json:"deadline"`    // zero: none
	UniqueKey       string               `json:"unique_key"`
	Attachments     []Attachment         `json:"attachments"` // files that came with it
	Attempt         int                  `json:"attempt"`
	CanceledBy      string               `json:"canceled_by"`
	CreatedAt       int64                `json:"created_at"` // unix seconds
	UpdatedAt       int64                `json:"updated_at"` // unix seconds
	CreatedTime     time.Time            `json:"created_time"`
	StartedTime     time.Time            `json:"started_time"` // zero before
	EndedTime       time.Time            `json:"ended_time"`   // zero before

	// Waiting, Progress and Attempts are there where one job was asked for.
	Waiting  *Waiting  `json:"waiting"`  // nil when it does not wait
	Progress *Progress `json:"progress"` // nil when the host does not know it
	Attempts []Attempt `json:"attempts"` // that have ended, the first one first

	// Result is there in the answer to a submit that waited: a table, or the
	// description of what is too large or no table.
	Result json.RawMessage `json:"result"`

	// Raw is the answer that the job was read from, as it came; nil in a list.
	Raw json.RawMessage `json:"-"`
}

// Retry says when another attempt follows one that did not succeed.
type Retry struct {
	Attempts int      `json:"attempts"`          // in all, the first one too
	Backoff  string   `json:"backoff,omitempty"` // such as 30s; the most time before the second one, which doubles
	On       []string `json:"on,omitempty"`      // classes of errors; none: as the host has it
}

// Waiting is why a job waits.
type Waiting struct {
	Reason string    `json:"reason"`
	Ahead  int       `json:"ahead"` // jobs that come before it in the queue, at most 10000; 0 while it is not in it
	Until  time.Time `json:"until"` // when it is due; zero when it does not wait for a time
}

// Progress is how far a job says it is, while it runs on the host that was asked.
type Progress struct {
	Done    float64 `json:"done"`
	Total   float64 `json:"total"` // 0: nobody knows
	Message string  `json:"message"`
}

// Attempt is one that has ended.
type Attempt struct {
	Attempt     int       `json:"attempt"` // its ordinal, from 1
	Status      Status    `json:"status"`
	Error       string    `json:"error"`
	ErrorClass  string    `json:"error_class"`
	ExitCode    *int      `json:"exit_code"`
	Signal      string    `json:"signal"`
	HostID      string    `json:"host_id"`
	CommandID   string    `json:"command_id"`
	ClusterID   string    `json:"cluster_id"`
	Build       string    `json:"build"`        // sha256 of the plugin's binary
	StartedTime time.Time `json:"started_time"` // zero when it never began
	EndedTime   time.Time `json:"ended_time"`
}

// Attribute is a named value shown with a job.
type Attribute struct {
	Kind  string `json:"kind"` // link or text
	Value string `json:"value"`
}
