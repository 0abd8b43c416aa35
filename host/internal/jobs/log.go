package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Log is an open text stream of one attempt of a job. While that runs it grows.
type Log interface {
	io.ReaderAt
	io.Closer
	// Size returns how many bytes can be read now.
	Size() (int64, error)
	// Attempt is the one that writes the stream, or wrote it last: an attempt that
	// resumes the work of another one may go on with its streams.
	Attempt() int
	// Place returns where a byte of the stream stands that was written at an offset,
	// and Written the other way round. They differ where the middle was not kept.
	Place(written int64) int64
	Written(place int64) int64
	// Watch returns a channel that is closed once there is more to read, or nothing
	// will be written any more, which over says is so by now.
	Watch() (news <-chan struct{}, over bool)
}

// Elsewhere is the error for what only another host has.
type Elsewhere struct {
	Job     job.ID
	Host    string // the id of that one
	Attempt int    // that the stream asked for is of; 0: it is no stream
}

// Error names the host.
func (e *Elsewhere) Error() string {
	return fmt.Sprintf("host %s has what was asked for of job %s", e.Host, e.Job)
}

// lookAgain is when to ask again for what another host has that cannot be asked.
const lookAgain = 5 * time.Second

// Unavailable returns the error for callers when the host is not to be asked.
func (e *Elsewhere) Unavailable() error {
	return &errs.Error{
		Kind: errs.Unavailable, ID: string(e.Job), Retry: lookAgain, Err: e,
		Message: fmt.Sprintf("only host %s has this, and it cannot be asked from here; ask that host, see GET /api/v1/hosts", e.Host),
	}
}

// Log opens a text stream of an attempt of a job, 0 of the latest, at any time of its
// life. It is an *Elsewhere when another host has it.
func (s *Service) Log(ctx context.Context, id job.ID, stream job.Stream, attempt int) (Log, error) {
	j, err := s.Store.Job(ctx, id)
	if err != nil {
		return nil, err
	}
	if attempt > max(1, j.Attempt) {
		return nil, &errs.Error{
			Kind: errs.NotFound, ID: string(id),
			Message: fmt.Sprintf("job %s has had %d attempts, and no attempt %d", id, j.Attempt, attempt),
		}
	}
	newest := attempt == 0
	if newest {
		attempt = max(1, j.Attempt)
	}
	if attempt == j.Attempt && !j.Status.Final() && j.HostID != "" { // it runs
		if j.HostID != s.Host {
			return nil, &Elsewhere{Job: id, Host: j.HostID, Attempt: attempt}
		}
		return s.tails.open(tailKey{id, stream, attempt}, newest), nil
	}
	return s.ended(ctx, id, stream, attempt, j.Attempt)
}

// ended opens the stream of an attempt that has ended, or was never begun. Latest is
// the latest one of the job.
func (s *Service) ended(ctx context.Context, id job.ID, stream job.Stream, attempt, latest int) (Log, error) {
	attempts, err := s.Store.Attempts(ctx, id)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(attempts, func(a job.Attempt) bool { return a.Attempt == attempt })
	if i < 0 {
		return &endedLog{attempt: attempt}, nil
	}
	for i+1 < len(attempts) && attempts[i].Logs.GoesOn(stream) {
		i++
	}
	a := attempts[i]
	attempt = a.Attempt
	here := a.HostID == s.Host
	key := a.Logs.Key(stream)
	switch {
	case key == "" && here: // it was empty, or could not be stored
		live, err := s.live(tailKey{id, stream, attempt})
		if live == nil || err != nil {
			return &endedLog{attempt: attempt}, err
		}
		return newEndedLog(live, attempt)
	case a.Logs.GoesOn(stream) && latest > attempt:
		return s.Log(ctx, id, stream, attempt+1)
	case key == "" && a.Error != nil && a.Error.Class == job.Lost:
		return nil, &Elsewhere{Job: id, Host: a.HostID, Attempt: attempt}
	case key == "":
		return &endedLog{attempt: attempt}, nil
	}
	kept, err := s.Artifacts.Get(ctx, key)
	if errs.Is(err, errs.NotFound) && !here {
		return nil, &Elsewhere{Job: id, Host: a.HostID, Attempt: attempt}
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of job %s: %w", stream, id, err)
	}
	l, err := newEndedLog(kept, attempt)
	if err == nil && a.Logs.Cut(stream) {
		l.kept, l.missing = (l.size-job.CutMarkBytes)/2, a.Logs.Bytes(stream)-(l.size-job.CutMarkBytes)
	}
	return l, err
}

// source is where the bytes of a stream are.
type source interface {
	io.ReaderAt
	io.Closer
}

// sizeOf returns the size of a file or an object.
func sizeOf(from source) (int64, error) {
	switch from := from.(type) {
	case *os.File:
		info, err := from.Stat()
		if err != nil {
			return 0, err
		}
		return info.Size(), nil
	case io.Seeker:
		return from.Seek(0, io.SeekEnd)
	}
	return 0, errors.New("it has no size")
}

// endedLog is a stream that does not grow any more.
type endedLog struct {
	source  source // nil: it is empty
	size    int64
	attempt int
	kept    int64 // of its begin, when some of it is missing
	missing int64
}

// Place returns where a byte stands that was written at an offset.
func (l *endedLog) Place(written int64) int64 {
	switch {
	case l.missing == 0 || written <= l.kept:
		return written
	case written < l.kept+l.missing:
		return l.kept // what is missing is said
	default:
		return written - l.missing + job.CutMarkBytes
	}
}

// Written returns at which offset the byte at a place was written.
func (l *endedLog) Written(place int64) int64 {
	switch {
	case l.missing == 0 || place <= l.kept:
		return place
	case place < l.kept+job.CutMarkBytes:
		return l.kept
	default:
		return place + l.missing - job.CutMarkBytes
	}
}

func newEndedLog(from source, attempt int) (*endedLog, error) {
	size, err := sizeOf(from)
	if err != nil {
		_ = from.Close()
		return nil, fmt.Errorf("size of a stream: %w", err)
	}
	return &endedLog{source: from, size: size, attempt: attempt}, nil
}

// ReadAt reads what was written; see io.ReaderAt.
func (l *endedLog) ReadAt(p []byte, offset int64) (int, error) {
	if l.source == nil {
		return 0, io.EOF
	}
	return l.source.ReadAt(p, offset)
}

// Size returns how many bytes there are.
func (l *endedLog) Size() (int64, error) { return l.size, nil }

// Attempt is the one that wrote the stream.
func (l *endedLog) Attempt() int { return l.attempt }

// Watch says that it is over.
func (l *endedLog) Watch() (news <-chan struct{}, over bool) { return nil, true }

// Close gives the stream's resources free.
func (l *endedLog) Close() error {
	if l.source == nil {
		return nil
	}
	return l.source.Close()
}
