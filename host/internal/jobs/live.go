package jobs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/folder"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// live opens the file that a plugin appends to; nil when there is none. A job that
// put something else in its place has itself to blame: errs.Conflict.
func (s *Service) live(k tailKey) (source, error) {
	odd := func(err error) error {
		return errs.Errorf(errs.Conflict, "the job has made something of its %s that cannot be read: %w", k.stream, err)
	}
	root, err := folder.Open(filepath.Join(s.Folder, string(k.id), strconv.Itoa(k.attempt)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, odd(err)
	}
	defer root.Close()
	f, err := root.OpenFile("logs/"+string(k.stream), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return nil, fmt.Errorf("read %s of job %s: %w", k.stream, k.id, err)
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

// carried reports whether the file of an attempt has become that of another one,
// which goes on with its work.
func (s *Service) carried(from source, to tailKey) bool {
	before, ok := from.(*os.File)
	if !ok {
		return false
	}
	next, err := s.live(to)
	if next == nil || err != nil {
		return false
	}
	defer next.Close()
	a, err := before.Stat()
	if err != nil {
		return false
	}
	after, ok := next.(*os.File)
	if !ok {
		return false
	}
	b, err := after.Stat()
	return err == nil && os.SameFile(a, b)
}

// tailKey names a stream of an attempt.
type tailKey struct {
	id      job.ID
	stream  job.Stream
	attempt int
}
