// Package job says what a job is: a caller's request for work, its attempts and
// its end. It does no input or output.
package job

import (
	"encoding/json"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// Request is what a caller asked for. A field that is added later is to be left
// out of its JSON while it is zero: repeats of a submission are known by that.
type Request struct {
	Name            string
	Version         string
	Description     string
	Context         json.RawMessage // the plugin's input: a JSON object
	CommandCriteria tag.Set
	ClusterCriteria []tag.Set // ordered preference; empty: any cluster
	Tags            tag.Set
	Timeout         time.Duration // 0: the command's

	Retry      *Retry    // nil: the job is tried once
	Priority   int       // higher runs first, MinPriority to MaxPriority
	StartAfter time.Time // zero: at once
	Deadline   time.Time // when it must have ended; zero: none
	UniqueKey  string    // no two jobs of a user with the same one wait or run at once; "": any number

	Attachments []Attachment `json:",omitempty"` // files that come with the job

	Trace Trace `json:"-"` // that the request belongs to; a repeat of it belongs to another
}

// Bounds of what a job may ask for.
const (
	MinPriority  = -100
	MaxPriority  = 100
	MaxUniqueKey = 255 // bytes
)

// Pair is a command and the cluster that it runs on.
type Pair struct {
	CommandID   string
	CommandName string
	ClusterID   string
	ClusterName string
}

// Job is a request and what became of it.
type Job struct {
	ID   ID
	User string
	Request
	Pair       Pair
	Sync       bool            // its command answers the submit with the result
	Resolution json.RawMessage // the record of how the pair was chosen

	Status     Status
	Error      *Error // why it did not succeed
	CanceledBy string
	Attempt    int       // ordinal of the latest attempt; 0 before the first
	Retries    int       // attempts that were retried
	DueAt      time.Time // when it may run: of a job that waits for that time, else zero
	Outputs    []Output
	Result     *Result // nil when there is none
	Logs       Logs    // where the streams of the last attempt are kept, once it ended
	HostID     string  // the host that runs or ran it; empty before
	CreatedAt  time.Time
	UpdatedAt  time.Time // of the latest change of state
	StartedAt  time.Time // zero before
	EndedAt    time.Time // zero before
}

// Lease is a host's right to run one attempt of a job. Ending the job consumes
// it.
type Lease struct {
	JobID   ID
	Attempt int
	HostID  string
	Epoch   int64 // of the host: it grows with each start
}

// Claimed is a job together with the lease that allows to run it.
type Claimed struct {
	Job        *Job
	Lease      Lease
	Checkpoint *Checkpoint // the last one of any attempt; nil when there is none
	// Resume says that the attempt goes on with the outside work of an earlier one
	// from the checkpoint, and begins none.
	Resume  bool
	Retries int // attempts that were retried before this one
}

// Outcome is how an attempt ended.
type Outcome struct {
	Status    Status // a final one
	Error     *Error // nil exactly when Status is Succeeded
	Result    *Result
	Outputs   []Output
	Usage     map[string]float64
	Logs      Logs
	Build     string // digest of the plugin build that ran it, hex
	StartedAt time.Time
	EndedAt   time.Time

	Checkpoint *Checkpoint // the last one that was saved, or may have been
	// Resumable says that the attempt was lost, and that another one can go on from
	// the checkpoint.
	Resumable bool
	HostFault bool // its host has stopped it for itself: a retry need not wait
	// Unstarted says that nothing was begun: the host had no right to run then.
	Unstarted bool
	// Elsewhere says that nothing was begun: only other hosts can run the job, which this
	// one did not know when it took it.
	Elsewhere bool
	Remains   string // one sentence: why it may have left something outside; "" when it has not
}

// End is the end of a job.
type End struct {
	Lease
	Outcome
	Saved  bool // the job may have a checkpoint
	Unique bool // it has a unique key
}

// TableType is the media type of a table: {"columns":[{"name","type"}],"data":[[…]]}.
const TableType = "application/vnd.heimdall.table+json"

// Result is the result of a job: a table or a document.
type Result struct {
	ContentType string // TableType, or the document's own
	Rows        int64  // of a table
	Bytes       int64
	Inline      []byte // the content, when it is small
	Object      string // else the key of the artifact that holds it
}

// Table reports whether the result is a typed table.
func (r *Result) Table() bool { return r.ContentType == TableType }
