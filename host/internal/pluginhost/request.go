package pluginhost

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Request is an attempt to be run.
type Request struct {
	Plugin        string
	PluginVersion string // "": the newest; else "1.2.3", "~1.2" or "^1.2"

	AttemptID string // unique over all hosts and times
	Attempt   int    // ordinal within the job, from 1

	Checkpoint *Checkpoint // the last one of an earlier attempt; nil when there is none
	Resume     bool        // the outside work of that attempt is followed, and none begins

	Job      JobInfo
	Command  Object
	Cluster  Object
	Settings json.RawMessage   // command and cluster context merged, without secrets
	Input    json.RawMessage   // the job's context
	Secrets  map[string][]byte // by JSON pointer into Settings
	User     string
	Groups   []string // of the user, sorted

	Inputs        []Input // files that came with the job
	Folders       Folders
	Limits        Limits
	Timeout       time.Duration // from when the attempt begins, not counting what it waits for its turn; 0: none
	Grace         time.Duration // for an orderly stop when that time is up
	Deadline      time.Time     // of the job, whatever it waits for; zero: none
	OrphanTimeout time.Duration // how long work that is not retryable goes on unfollowed; 0: no limit
	Retryable     bool          // it may be run again elsewhere
	TraceParent   string        // W3C trace context of the submission
}

// JobInfo is the job as plugins see it.
type JobInfo struct {
	ID          job.ID
	Name        string
	Version     string
	Description string
	Tags        []string // sorted
	Created     time.Time
}

// Input is a file that came with the job.
type Input struct {
	Name        string // without folders
	Path        string // where it lies, absolute
	Bytes       int64
	SHA256      []byte
	ContentType string
}

// Object is a command or a cluster as plugins see it.
type Object struct {
	ID      string
	Name    string
	Version string
	Tags    []string        // sorted
	Context json.RawMessage // as written, without secrets
}

// Folders are the absolute paths of an attempt's folders. The plugin makes them
// when it first needs them.
type Folders struct {
	Work   string // the current folder of its children
	Logs   string // holds the files "stdout" and "stderr"
	Result string
}

// message returns the request in the words of the protocol.
func (r *Request) message() *pluginpb.StartRequest {
	m := &pluginpb.StartRequest{
		AttemptId:     r.AttemptID,
		Mode:          pluginpb.StartMode_START_MODE_FRESH,
		AttemptNumber: int32(r.Attempt),
		Job: &pluginpb.JobInfo{
			Id:          string(r.Job.ID),
			Name:        r.Job.Name,
			Version:     r.Job.Version,
			Description: r.Job.Description,
			Tags:        r.Job.Tags,
		},
		Settings:    r.Settings,
		Command:     r.Command.message(),
		Cluster:     r.Cluster.message(),
		Input:       r.Input,
		User:        &pluginpb.User{Name: r.User, Groups: r.Groups},
		Folders:     &pluginpb.Folders{Work: r.Folders.Work, Logs: r.Folders.Logs, Result: r.Folders.Result},
		Limits:      r.Limits.message(),
		Traceparent: r.TraceParent,
		Retryable:   r.Retryable,
	}
	for _, f := range r.Inputs {
		m.Inputs = append(m.Inputs, &pluginpb.InputFile{Name: f.Name, Path: f.Path, Size: f.Bytes, Sha256: f.SHA256, ContentType: f.ContentType})
	}
	m.Secrets = secretMessages(r.Secrets)
	if r.Checkpoint != nil {
		m.Checkpoint = &pluginpb.Checkpoint{Format: r.Checkpoint.Format, Data: r.Checkpoint.Data}
	}
	if r.Resume {
		m.Mode = pluginpb.StartMode_START_MODE_RESUME
	}
	if !r.Job.Created.IsZero() {
		m.Job.CreatedAt = timestamppb.New(r.Job.Created)
	}
	if at, _ := r.end(time.Now()); !at.IsZero() {
		m.Deadline = timestamppb.New(at)
	}
	if r.OrphanTimeout > 0 {
		m.OrphanTimeout = durationpb.New(r.OrphanTimeout)
	}
	return m
}

func secretMessages(secrets map[string][]byte) (messages []*pluginpb.Secret) {
	for pointer, value := range secrets {
		messages = append(messages, &pluginpb.Secret{Pointer: pointer, Value: value})
	}
	return messages
}

func (o *Object) message() *pluginpb.ObjectInfo {
	return &pluginpb.ObjectInfo{Id: o.ID, Name: o.Name, Version: o.Version, Tags: o.Tags, Context: o.Context}
}

func (l *Limits) message() *pluginpb.Limits {
	return &pluginpb.Limits{
		MemoryBytes:       l.MemoryBytes,
		CpuSeconds:        l.CPUSeconds,
		OpenFiles:         l.OpenFiles,
		CoreBytes:         l.CoreBytes,
		LogBytes:          l.LogBytes,
		ResultBytes:       l.ResultBytes,
		InlineResultBytes: l.InlineResultBytes,
	}
}

// end returns when an attempt that begins at a time must have ended, and the
// sentence that says so; zero when there is no such time.
func (r *Request) end(begun time.Time) (at time.Time, late string) {
	if r.Timeout > 0 {
		at, late = begun.Add(r.Timeout), fmt.Sprintf("the job took longer than its timeout of %v", r.Timeout)
	}
	if d := r.Deadline; !d.IsZero() && (at.IsZero() || d.Before(at)) {
		at, late = d, fmt.Sprintf("the job had not ended at its deadline, %s", d.Format(time.RFC3339))
	}
	return at, late
}
