// Package objectstore keeps objects: whole, immutable byte strings under keys
// such as "jobs/018f…/1/stdout". An object becomes visible whole or not at all.
package objectstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// Object is an open object.
type Object interface {
	io.ReadSeekCloser
	io.ReaderAt
}

// File keeps objects as files below one folder.
type File struct {
	root *os.Root
}

// drafts is the folder of objects that are being written.
const drafts = ".drafts"

// OpenFile returns the store in a folder, which is made when it is missing. Only
// one may be open at a time: it removes what the one before had not finished.
func OpenFile(folder string) (*File, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the artifact folder: %w", err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("open the artifact folder: %w", err)
	}
	if err := errors.Join(root.RemoveAll(drafts), root.Mkdir(drafts, 0o700)); err != nil {
		return nil, errors.Join(fmt.Errorf("clear the artifact folder: %w", err), root.Close())
	}
	return &File{root: root}, nil
}

// Close gives the folder free.
func (s *File) Close() error { return s.root.Close() }

// Put stores what it reads from r under a key, replacing what was there, and
// returns its size in bytes. When it returns, the object survives a power loss.
func (s *File) Put(ctx context.Context, key string, r io.Reader) (size int64, err error) {
	if err := check(key); err != nil {
		return 0, err
	}
	temporary := path.Join(drafts, rand.Text())
	f, err := s.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, fmt.Errorf("store %s: %w", key, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("store %s: %w", key, err), s.root.Remove(temporary))
		}
	}()
	size, err = io.Copy(f, reader{ctx, r})
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	folder := path.Dir(key)
	if err := s.root.MkdirAll(folder, 0o700); err != nil {
		return 0, err
	}
	if err := s.root.Rename(temporary, key); err != nil {
		return 0, err
	}
	return size, s.syncFolders(folder)
}

// Get opens an object; errs.NotFound when there is none.
func (s *File) Get(_ context.Context, key string) (Object, error) {
	if err := check(key); err != nil {
		return nil, err
	}
	f, err := s.root.Open(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errs.Errorf(errs.NotFound, "there is no artifact %s", key)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return f, nil
}

// Delete removes an object; that there is none is no error. Folders that it leaves
// empty go as well, but for the first of its key: others may be about to use that.
func (s *File) Delete(_ context.Context, key string) error {
	if err := check(key); err != nil {
		return err
	}
	if err := s.root.Remove(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	for folder := path.Dir(key); strings.Contains(folder, "/"); folder = path.Dir(folder) {
		if s.root.Remove(folder) != nil {
			break // something else lies in it
		}
	}
	return nil
}

// syncFolders makes a rename into a folder durable, and the folder itself, which
// may be new: the first sync is what takes time, those of the folders above find
// little left to do.
func (s *File) syncFolders(folder string) error {
	for ; ; folder = path.Dir(folder) {
		d, err := s.root.Open(folder)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil || folder == "." {
			return err
		}
	}
}

func check(key string) error {
	if first, _, _ := strings.Cut(key, "/"); !fs.ValidPath(key) || key == "." || first == drafts {
		return fmt.Errorf("%q cannot be the key of an object", key)
	}
	return nil
}

// reader ends a copy when its context is done.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
