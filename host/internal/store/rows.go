package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// jobRequest lists the columns that requestFields reads, of the table job as j.
const jobRequest = `j.id,
	j.username,
	j.name,
	j.version,
	j.description,
	j.context,
	j.command_criteria,
	j.cluster_criteria,
	j.tags,
	j.timeout,
	j.command_id,
	j.command_name,
	j.cluster_id,
	j.cluster_name,
	j.is_sync,
	j.resolution,
	j.created_at,
	j.priority,
	j.retry,
	j.start_after,
	j.deadline,
	j.unique_key,
	j.trace,
	j.attachments`

// jobState lists the columns that state reads, behind those of jobRequest.
const jobState = `r.attempt,
	r.retries,
	r.updated_at,
	d.attempt,
	d.retries,
	d.due_at,
	d.updated_at,
	l.attempt,
	l.retries,
	l.resume,
	l.host_id,
	l.started_at,
	l.cancel_at,
	l.cancel_by,
	l.updated_at,
	e.attempt,
	e.status,
	e.cancel_by,
	e.error,
	e.outputs,
	e.result_type,
	e.result_rows,
	e.result_bytes,
	e.result_object,
	e.ended_at,
	a.host_id,
	a.stdout,
	a.stderr,
	a.stdout_bytes,
	a.stderr_bytes,
	a.started_at`

// jobTables joins to a job what has become of it.
const jobTables = `
	LEFT JOIN job_ready r ON r.job_id = j.id
	LEFT JOIN job_later d ON d.job_id = j.id
	LEFT JOIN job_lease l ON l.job_id = j.id
	LEFT JOIN job_end e ON e.job_id = j.id
	LEFT JOIN attempt a ON a.job_id = e.job_id AND a.attempt = e.attempt`

// requestFields returns where to scan the columns of jobRequest to.
func requestFields(j *job.Job) []any {
	return []any{
		(*string)(&j.ID),
		&j.User,
		&j.Name,
		&j.Version,
		&j.Description,
		column[json.RawMessage]{&j.Context, rawJSON},
		fromJSON(&j.CommandCriteria),
		fromJSON(&j.ClusterCriteria),
		fromJSON(&j.Tags),
		(*int64)(&j.Timeout),
		&j.Pair.CommandID,
		&j.Pair.CommandName,
		&j.Pair.ClusterID,
		&j.Pair.ClusterName,
		&j.Sync,
		column[json.RawMessage]{&j.Resolution, rawJSON},
		fromTime(&j.CreatedAt),
		&j.Priority,
		fromJSON(&j.Retry),
		fromTime(&j.StartAfter),
		fromTime(&j.Deadline),
		orZero(&j.UniqueKey),
		orZero((*string)(&j.Trace)),
		fromJSON(&j.Attachments),
	}
}

// state holds the columns of jobState. A table that has no row of the job gives
// zeroes.
type state struct {
	ready, later struct {
		attempt, retries int
		dueAt, updatedAt time.Time
	}
	lease struct {
		attempt, retries               int
		resume                         bool
		host, cancelBy                 string
		startedAt, cancelAt, updatedAt time.Time
	}
	end struct {
		attempt            int
		status, cancelBy   string
		err                *job.Error
		outputs            []job.Output
		resultType, object string
		rows, bytes        int64
		endedAt            time.Time
	}
	attempt struct {
		host      string
		logs      job.Logs
		startedAt time.Time
	}
}

func (s *state) fields() []any {
	return []any{
		orZero(&s.ready.attempt),
		orZero(&s.ready.retries),
		fromTime(&s.ready.updatedAt),
		orZero(&s.later.attempt),
		orZero(&s.later.retries),
		fromTime(&s.later.dueAt),
		fromTime(&s.later.updatedAt),
		orZero(&s.lease.attempt),
		orZero(&s.lease.retries),
		orZero(&s.lease.resume),
		orZero(&s.lease.host),
		fromTime(&s.lease.startedAt),
		fromTime(&s.lease.cancelAt),
		orZero(&s.lease.cancelBy),
		fromTime(&s.lease.updatedAt),
		orZero(&s.end.attempt),
		orZero(&s.end.status),
		orZero(&s.end.cancelBy),
		fromJSON(&s.end.err),
		fromJSON(&s.end.outputs),
		orZero(&s.end.resultType),
		orZero(&s.end.rows),
		orZero(&s.end.bytes),
		orZero(&s.end.object),
		fromTime(&s.end.endedAt),
		orZero(&s.attempt.host),
		orZero(&s.attempt.logs.Stdout),
		orZero(&s.attempt.logs.Stderr),
		orZero(&s.attempt.logs.StdoutBytes),
		orZero(&s.attempt.logs.StderrBytes),
		fromTime(&s.attempt.startedAt),
	}
}

// apply completes a job with its state.
func (s *state) apply(j *job.Job) error {
	switch {
	case s.end.status != "":
		j.Status = job.Status(s.end.status)
		j.Attempt = s.end.attempt
		j.Error, j.Outputs = s.end.err, s.end.outputs
		if j.Status == job.Canceled {
			j.CanceledBy = s.end.cancelBy
		}
		if s.end.resultType != "" {
			j.Result = &job.Result{ContentType: s.end.resultType, Rows: s.end.rows, Bytes: s.end.bytes, Object: s.end.object}
		}
		j.HostID, j.Logs, j.StartedAt = s.attempt.host, s.attempt.logs, s.attempt.startedAt
		j.EndedAt, j.UpdatedAt = s.end.endedAt, s.end.endedAt
	case s.lease.attempt != 0:
		j.Status = job.Accepted
		if !s.lease.startedAt.IsZero() {
			j.Status = job.Running
		}
		if !s.lease.cancelAt.IsZero() {
			j.Status = job.Canceling
			j.CanceledBy = s.lease.cancelBy
		}
		j.Attempt, j.Retries, j.HostID = s.lease.attempt, s.lease.retries, s.lease.host
		j.StartedAt, j.UpdatedAt = s.lease.startedAt, s.lease.updatedAt
	case s.ready.attempt != 0:
		j.Status = job.New
		j.Attempt, j.Retries = s.ready.attempt-1, s.ready.retries
		j.UpdatedAt = s.ready.updatedAt
	case s.later.attempt != 0:
		j.Status = job.New
		j.Attempt, j.Retries = s.later.attempt-1, s.later.retries
		j.DueAt, j.UpdatedAt = s.later.dueAt, s.later.updatedAt
	default:
		return corrupt{fmt.Errorf("job %s has no state: rows of it are missing", j.ID)}
	}
	return nil
}

// column scans one column into a field; null leaves the field as it is.
type column[T any] struct {
	field *T
	read  func(src any) (T, error)
}

// Scan implements sql.Scanner.
func (c column[T]) Scan(src any) error {
	if src == nil {
		return nil
	}
	v, err := c.read(src)
	if err != nil {
		return corrupt{err}
	}
	*c.field = v
	return nil
}

// fromTime reads a time: PostgreSQL gives one, SQLite microseconds.
func fromTime(field *time.Time) column[time.Time] {
	return column[time.Time]{field, func(src any) (time.Time, error) {
		switch v := src.(type) {
		case time.Time:
			return v.UTC(), nil
		case int64:
			return time.UnixMicro(v).UTC(), nil
		}
		return time.Time{}, fmt.Errorf("a %T is not a time", src)
	}}
}

// fromJSON reads JSON.
func fromJSON[T any](field *T) column[T] {
	return column[T]{field, func(src any) (v T, err error) {
		raw, err := rawJSON(src)
		if err == nil {
			err = json.Unmarshal(raw, &v)
		}
		return v, err
	}}
}

func rawJSON(src any) (json.RawMessage, error) {
	switch v := src.(type) {
	case string:
		return json.RawMessage(v), nil
	case []byte:
		return append(json.RawMessage(nil), v...), nil
	}
	return nil, fmt.Errorf("a %T is not JSON", src)
}

// orZero reads a column that is null where an outer join found nothing.
func orZero[T any](field *T) column[T] {
	return column[T]{field, func(src any) (T, error) {
		var v sql.Null[T]
		err := v.Scan(src)
		return v.V, err
	}}
}

// onlyColumn reads the rows of a query for one column of text, and closes them.
func onlyColumn[T ~string](rows *sql.Rows, err error) (values []T, _ error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		values = append(values, T(v))
	}
	return values, rows.Err()
}

// toJSON returns v as JSON; nil, so null, when there is nothing in it.
func toJSON[T any](v []T) *string { return encode(v, len(v) == 0) }

// encodeList returns v as JSON, also when it is empty.
func encodeList(v []string) *string {
	if len(v) == 0 {
		return new("[]")
	}
	return toJSON(v)
}

func encode(v any, none bool) *string {
	if none {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil { // a number that JSON does not have
		return nil
	}
	return new(string(b))
}

// toText returns JSON text, nil when there is none.
func toText(raw json.RawMessage) *string {
	if len(raw) == 0 {
		return nil
	}
	return new(string(raw))
}

// orNull returns text, nil when there is none.
func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// toTime returns what a time is written as, nil when it is zero.
func toTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(stamp(t))
}
