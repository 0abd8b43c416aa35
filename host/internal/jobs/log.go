package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/folder"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Log is an open text stream of a job. While the job runs it grows.
type Log interface {
	io.ReaderAt
	io.Closer
	// Size returns how many bytes can be read now.
	Size() (int64, error)
	// Done is closed when nothing more will be written.
	Done() <-chan struct{}
}

type openLog struct {
	service *Service
	id      job.ID
	stream  job.Stream
	attempt int
	done    chan struct{}
	cancel  context.CancelFunc

	mu     sync.Mutex
	source source   // nil until something was written
	ended  *job.Job // set before done is closed
	err    error    // why the end could not be learned
}

type source interface {
	io.ReaderAt
	io.Closer
}

// Log opens a text stream of a job, at any time of its life.
func (s *Service) Log(ctx context.Context, id job.ID, stream job.Stream) (Log, error) {
	j, err := s.Store.Job(ctx, id)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l := &openLog{service: s, id: id, stream: stream, attempt: max(1, j.Attempt), done: make(chan struct{}), cancel: cancel}
	if j.Status.Final() {
		cancel()
		l.ended = j
		close(l.done)
		return l, nil
	}
	go func() {
		defer close(l.done)
		j, err := s.Wait(ctx, id)
		l.mu.Lock()
		l.ended, l.err = j, err
		l.mu.Unlock()
	}()
	return l, nil
}

// Done is closed when nothing more will be written.
func (l *openLog) Done() <-chan struct{} { return l.done }

// Size returns how many bytes can be read now.
func (l *openLog) Size() (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil || l.source == nil {
		return 0, err
	}
	switch source := l.source.(type) {
	case *os.File:
		info, err := source.Stat()
		if err != nil {
			return 0, fmt.Errorf("read %s of job %s: %w", l.stream, l.id, err)
		}
		return info.Size(), nil
	case io.Seeker:
		return source.Seek(0, io.SeekEnd)
	}
	return 0, fmt.Errorf("%s of job %s has no size", l.stream, l.id)
}

// ReadAt reads what was written; see io.ReaderAt.
func (l *openLog) ReadAt(p []byte, offset int64) (int, error) {
	l.mu.Lock()
	err := l.open()
	source := l.source
	l.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if source == nil {
		return 0, io.EOF
	}
	return source.ReadAt(p, offset)
}

// Close gives the log's resources free.
func (l *openLog) Close() error {
	l.cancel()
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.source == nil {
		return nil
	}
	return l.source.Close()
}

// open finds the stream where it now is: in the attempt's folder while that is
// there, among the artifacts after. A file that was open before its folder went
// stays readable.
func (l *openLog) open() error {
	if l.source != nil || l.err != nil {
		return l.err
	}
	live, err := l.live()
	if live != nil || err != nil {
		l.source = live
		return err
	}
	if l.ended == nil || !l.ended.Status.Final() {
		return nil
	}
	key := l.ended.Logs.Stdout
	if l.stream == job.Stderr {
		key = l.ended.Logs.Stderr
	}
	if key == "" {
		return nil
	}
	kept, err := l.service.Artifacts.Get(context.Background(), key)
	if err != nil {
		return fmt.Errorf("read %s of job %s: %w", l.stream, l.id, err)
	}
	l.source = kept
	return nil
}

// live opens the file that the plugin appends to; nil when there is none. A job
// that put something else in its place has itself to blame: errs.Conflict.
func (l *openLog) live() (source, error) {
	odd := func(err error) error {
		return errs.Errorf(errs.Conflict, "the job has made something of its %s that cannot be read: %w", l.stream, err)
	}
	root, err := l.folder()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, odd(err)
	}
	defer root.Close()
	f, err := root.OpenFile("logs/"+string(l.stream), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return nil, fmt.Errorf("read %s of job %s: %w", l.stream, l.id, err)
	}
	if err != nil {
		return nil, odd(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, odd(err)
	}
	return f, nil
}

// folder opens the folder of the attempt, or of the latest one that has resumed
// its work since: the streams have moved there.
func (l *openLog) folder() (*os.Root, error) {
	attempts := filepath.Join(l.service.Folder, string(l.id))
	entries, err := os.ReadDir(attempts)
	if err != nil {
		return nil, err
	}
	latest := l.attempt
	for _, entry := range entries {
		if n, err := strconv.Atoi(entry.Name()); err == nil {
			latest = max(latest, n)
		}
	}
	return folder.Open(filepath.Join(attempts, strconv.Itoa(latest)))
}

// inline is a small content that is held in memory.
func inline(content []byte) io.ReadSeekCloser { return memory{bytes.NewReader(content)} }

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }
