package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// wireJob is a job as clients know it. What is zero is left out.
type wireJob struct {
	ID              job.ID               `json:"id"`
	Name            string               `json:"name,omitempty"`
	Version         string               `json:"version,omitempty"`
	Description     string               `json:"description,omitempty"`
	User            string               `json:"user,omitempty"`
	Tags            tag.Set              `json:"tags,omitempty"` // with the system tags
	Context         json.RawMessage      `json:"context,omitempty"`
	Status          job.Status           `json:"status,omitempty"`
	Error           string               `json:"error,omitempty"`
	ErrorClass      job.Class            `json:"error_class,omitempty"`
	ExitCode        *int                 `json:"exit_code,omitempty"`
	Signal          string               `json:"signal,omitempty"`
	IsSync          bool                 `json:"is_sync,omitempty"`
	CommandCriteria tag.Set              `json:"command_criteria,omitempty"`
	ClusterCriteria any                  `json:"cluster_criteria,omitempty"` // one set: a list; several: a list of lists
	JobAttributes   map[string]attribute `json:"job_attributes,omitempty"`
	CommandID       string               `json:"command_id,omitempty"`
	CommandName     string               `json:"command_name,omitempty"`
	ClusterID       string               `json:"cluster_id,omitempty"`
	ClusterName     string               `json:"cluster_name,omitempty"`
	Timeout         string               `json:"timeout,omitempty"`
	Retry           *wireRetry           `json:"retry,omitempty"` // in effect: the job's own, or that of its command
	Priority        int                  `json:"priority,omitempty"`
	StartAfter      *time.Time           `json:"start_after,omitempty"`
	Deadline        *time.Time           `json:"deadline,omitempty"`
	UniqueKey       string               `json:"unique_key,omitempty"`
	Attachments     []wireAttachment     `json:"attachments,omitempty"`
	Attempt         int                  `json:"attempt,omitempty"`
	Logs            *wireLogs            `json:"logs,omitempty"`    // of its last attempt, once it has ended
	HostID          string               `json:"host_id,omitempty"` // while a host has it
	CanceledBy      string               `json:"canceled_by,omitempty"`
	CreatedAt       int64                `json:"created_at,omitempty"` // unix seconds
	UpdatedAt       int64                `json:"updated_at,omitempty"` // unix seconds
	CreatedTime     *time.Time           `json:"created_time,omitempty"`
	StartedTime     *time.Time           `json:"started_time,omitempty"`
	EndedTime       *time.Time           `json:"ended_time,omitempty"`

	// Of a single job only: why it waits, how far it is, and its attempts that have
	// ended.
	Waiting  *wireWaiting  `json:"waiting,omitempty"`
	Progress *wireProgress `json:"progress,omitempty"`
	Attempts []wireAttempt `json:"attempts,omitempty"`
}

// wireLogs says how much an attempt has written, and of what the middle was not kept.
type wireLogs struct {
	StdoutBytes int64        `json:"stdout_bytes"`
	StderrBytes int64        `json:"stderr_bytes"`
	Truncated   []job.Stream `json:"truncated,omitempty"`
}

func wireLogsOf(l job.Logs) *wireLogs {
	if l == (job.Logs{}) {
		return nil
	}
	w := &wireLogs{StdoutBytes: l.StdoutBytes, StderrBytes: l.StderrBytes}
	for _, s := range []job.Stream{job.Stdout, job.Stderr} {
		if l.Cut(s) {
			w.Truncated = append(w.Truncated, s)
		}
	}
	return w
}

// attribute is a named value shown with a job.
type attribute struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

// wire returns a job as clients know it, without its result.
func wire(j *job.Job) *wireJob {
	w := &wireJob{
		ID:              j.ID,
		Name:            j.Name,
		Version:         j.Version,
		Description:     j.Description,
		User:            j.User,
		Tags:            j.Tags.With(tag.System(string(j.ID), j.Name, j.Version)...),
		Context:         j.Context,
		Status:          j.Status,
		IsSync:          j.Sync,
		CommandCriteria: j.CommandCriteria,
		Logs:            wireLogsOf(j.Logs),
		CommandID:       j.Pair.CommandID,
		CommandName:     j.Pair.CommandName,
		ClusterID:       j.Pair.ClusterID,
		ClusterName:     j.Pair.ClusterName,
		Retry:           wirePolicy(j.Retry),
		Priority:        j.Priority,
		StartAfter:      moment(j.StartAfter),
		Deadline:        moment(j.Deadline),
		UniqueKey:       j.UniqueKey,
		Attachments:     wireAttachments(j.Attachments),
		Attempt:         j.Attempt,
		CanceledBy:      j.CanceledBy,
		CreatedAt:       seconds(j.CreatedAt),
		UpdatedAt:       seconds(j.UpdatedAt),
		CreatedTime:     moment(j.CreatedAt),
		StartedTime:     moment(j.StartedAt),
		EndedTime:       moment(j.EndedAt),
	}
	if j.Error != nil {
		w.Error, w.ErrorClass = j.Error.Message, j.Error.Class
		w.ExitCode, w.Signal = j.Error.ExitCode, j.Error.Signal
	}
	switch len(j.ClusterCriteria) {
	case 0:
	case 1:
		w.ClusterCriteria = j.ClusterCriteria[0]
	default:
		w.ClusterCriteria = j.ClusterCriteria
	}
	if !j.Status.Final() && j.Status != job.New {
		w.HostID = j.HostID
	}
	if j.Timeout > 0 {
		w.Timeout = j.Timeout.String()
	}
	w.JobAttributes = wireAttributes(j.Outputs)
	return w
}

func wireAttributes(outputs []job.Output) map[string]attribute {
	if len(outputs) == 0 {
		return nil
	}
	all := make(map[string]attribute, len(outputs))
	for _, o := range outputs {
		all[o.Key] = attribute{Kind: o.Kind, Value: o.Value}
	}
	return all
}

// wireStatus is the short answer about a job.
type wireStatus struct {
	UpdatedAt int64      `json:"updated_at,omitempty"` // unix seconds
	Status    job.Status `json:"status"`
	Error     string     `json:"error,omitempty"`
}

func statusOf(j *job.Job) wireStatus {
	s := wireStatus{UpdatedAt: seconds(j.UpdatedAt), Status: j.Status}
	if j.Error != nil {
		s.Error = j.Error.Message
	}
	return s
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Microsecond) // as it is stored
	return &t
}

// encoder is a buffer and the encoder that writes to it.
type encoder struct {
	buf bytes.Buffer
	enc *json.Encoder
}

// encoders keeps the encoders of answers for the next ones.
var encoders = sync.Pool{New: func() any {
	e := new(encoder)
	e.enc = json.NewEncoder(&e.buf)
	e.enc.SetEscapeHTML(false) // answers are never part of a page
	return e
}}

// encode returns v as JSON with a newline behind it. Free gives the encoder
// back when the bytes are no longer used.
func encode(v any) (*encoder, error) {
	e := encoders.Get().(*encoder)
	e.buf.Reset()
	if err := e.enc.Encode(v); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *encoder) free() {
	if e.buf.Cap() <= 64<<10 {
		encoders.Put(e)
	}
}

// writeJSON answers with JSON.
func (h *Handler) writeJSON(x *exchange, status int, v any) error {
	h.writeJSONAs(x, "application/json", status, v)
	return nil
}

func (h *Handler) writeJSONAs(x *exchange, contentType string, status int, v any) {
	e, err := encode(v)
	if err != nil {
		h.log.Error("encode an answer", x.fields("error", err)...)
		x.WriteHeader(http.StatusInternalServerError)
		return
	}
	defer e.free()
	x.writeText(contentType, status, e.buf.Bytes())
}

// writeText answers with text that is in memory.
func (x *exchange) writeText(contentType string, status int, text []byte) {
	if status == http.StatusOK && x.tagged(text) {
		return
	}
	header := x.Header()
	header["Content-Type"] = []string{contentType}
	if x.packed(contentType, int64(len(text))) {
		x.WriteHeader(status)
		p := newPatient(x)
		defer p.Close()
		_ = pack(p, bytes.NewReader(text)) // a client that is gone needs no answer
		return
	}
	header["Content-Length"] = []string{strconv.Itoa(len(text))}
	x.WriteHeader(status)
	// A client that is gone needs no answer.
	if len(text) <= maxWrite {
		_, _ = x.Write(text)
		return
	}
	p := newPatient(x) // what is large is not to be held for ever
	defer p.Close()
	_, _ = p.Write(text)
}
