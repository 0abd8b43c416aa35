package sdk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// Stream is stdout or stderr of a job: a file that only grows and is made by the
// first write. It may be written to concurrently.
type Stream struct {
	attempt *attempt
	name    string
	kind    pluginpb.LogStream
	limit   int64 // bytes; 0: none

	mu     sync.Mutex
	file   *os.File
	size   int64
	cut    bool // the limit was reached
	closed bool
}

// Write appends p. What passes the limit of the job's logs is dropped without an
// error, and the job says so.
func (s *Stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		return len(p), nil
	}
	if err := s.open(); err != nil {
		return 0, err
	}

	keep := p
	if s.limit > 0 && s.size+int64(len(p)) > s.limit {
		keep = p[:max(0, s.limit-s.size)]
	}
	n, err := s.file.Write(keep)
	s.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("write %s: %w", s.name, err)
	}
	if len(keep) < len(p) {
		s.truncate()
	}
	return len(p), nil
}

// WriteString appends text.
func (s *Stream) WriteString(text string) (int, error) { return s.Write([]byte(text)) }

// File returns the file, for programs to write to. It is closed when the job
// ends. The limit of the job's logs does not hold for what they write.
func (s *Stream) File() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.open()
	return s.file, err
}

// forPrograms returns what programs write to: the file itself, or, where the
// stream has a limit, what counts and cuts.
func (s *Stream) forPrograms() io.Writer {
	if s.limit > 0 {
		return struct{ io.Writer }{s} // without File
	}
	return s
}

func (s *Stream) open() error {
	switch folder := s.attempt.request.GetFolders().GetLogs(); {
	case s.closed:
		return fmt.Errorf("write %s: the job has ended", s.name)
	case s.file != nil:
		return nil
	case folder == "":
		return Errorf(Internal, "write %s: the host named no folder for logs", s.name)
	default:
		return s.create(folder)
	}
}

func (s *Stream) create(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return Errorf(Internal, "make the folder for logs: %w", err)
	}

	// Programs of the job may write here too: a link must not be followed and a
	// pipe must not hold us.
	const flags = os.O_APPEND | os.O_CREATE | os.O_WRONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK
	file, err := os.OpenFile(filepath.Join(folder, s.name), flags, 0o600)
	if err != nil {
		return Errorf(Internal, "open %s: %w", s.name, err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err == nil {
		err = unix.SetNonblock(int(file.Fd()), false) // programs inherit the flag
	}
	if err != nil {
		return Errorf(Internal, "open %s: %w", s.name, errors.Join(err, file.Close()))
	}
	s.file, s.size = file, info.Size()
	return nil
}

func (s *Stream) truncate() {
	s.cut = true
	s.attempt.log.add(&pluginpb.Event{Kind: &pluginpb.Event_LogTruncated{LogTruncated: &pluginpb.LogTruncated{
		Stream: s.kind,
		Offset: s.size,
	}}}, false)
}

func (s *Stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.file != nil {
		_ = s.file.Close() // what was written is the kernel's; there is nothing to do about it
		s.file = nil
	}
}
