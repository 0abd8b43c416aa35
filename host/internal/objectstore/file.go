package objectstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

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

// Put stores what it reads from r under a key, replacing what was there. When it
// returns, the object survives a power loss.
func (s *File) Put(ctx context.Context, key string, r io.Reader) (stored Stored, err error) {
	if err := check(key); err != nil {
		return Stored{}, err
	}
	temporary := path.Join(drafts, rand.Text())
	f, err := s.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return Stored{}, fmt.Errorf("store %s: %w", key, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("store %s: %w", key, err), s.discard(temporary))
		}
	}()
	from := newReader(ctx, r)
	_, err = io.Copy(f, from)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return Stored{}, err
	}
	if err := s.publish(temporary, key); err != nil {
		return Stored{}, err
	}
	return from.stored(), s.syncFolders(path.Dir(key))
}

// Copy gives what one key has to another as well, replacing what that had;
// errs.NotFound when the first has nothing. Both become as new as if they were just
// written. It takes no space where the file system has links.
func (s *File) Copy(ctx context.Context, from, to string) (err error) {
	if err := errors.Join(check(from), check(to)); err != nil {
		return err
	}
	if _, err := s.Stat(ctx, from); err != nil {
		return err
	}
	draft := path.Join(drafts, rand.Text())
	switch err := s.root.Link(from, draft); {
	case errors.Is(err, fs.ErrNotExist):
		return missing(from, err)
	case err != nil: // not every file system has links, or as many
		return s.copyContent(ctx, from, to)
	}
	now := time.Now()
	if err := errors.Join(s.root.Chtimes(draft, now, now), s.publish(draft, to)); err != nil {
		return errors.Join(fmt.Errorf("copy %s to %s: %w", from, to, err), s.discard(draft))
	}
	// A rename to a link of the same file leaves the draft.
	return errors.Join(s.discard(draft), s.syncFolders(path.Dir(to)))
}

func (s *File) copyContent(ctx context.Context, from, to string) error {
	content, err := s.Get(ctx, from)
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = s.Put(ctx, to, content)
	return err
}

// discard removes a draft, if it is still one.
func (s *File) discard(draft string) error {
	if err := s.root.Remove(draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// publish gives a draft its key. Who deletes beside it may take the folder away
// just before, again and again.
func (s *File) publish(draft, key string) (err error) {
	for range 1000 {
		if err = s.root.MkdirAll(path.Dir(key), 0o700); err == nil {
			err = s.root.Rename(draft, key)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return err
}

// Get opens an object; errs.NotFound when there is none.
func (s *File) Get(_ context.Context, key string) (Object, error) {
	if err := check(key); err != nil {
		return nil, err
	}
	f, err := s.root.Open(key)
	if err != nil {
		return nil, missing(key, err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(missing(key, err), f.Close())
	}
	return f, nil
}

// missing is what is said of an object that cannot be opened.
func missing(key string, err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return errs.Errorf(errs.NotFound, "there is no artifact %s", key)
	}
	return fmt.Errorf("read %s: %w", key, err)
}

// Stat returns what is known of an object; errs.NotFound when there is none.
func (s *File) Stat(_ context.Context, key string) (Info, error) {
	if err := check(key); err != nil {
		return Info{}, err
	}
	info, err := s.root.Lstat(key)
	if err != nil || !info.Mode().IsRegular() {
		return Info{}, missing(key, err)
	}
	return Info{Key: key, Bytes: info.Size(), Modified: info.ModTime()}, nil
}

// List goes through the objects below a folder, "" for all, in no order. What
// comes or goes meanwhile may be missed. It ends after the first error.
func (s *File) List(ctx context.Context, folder string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := checkFolder(folder); err != nil {
			yield(Info{}, err)
			return
		}
		s.list(ctx, cmp.Or(folder, "."), yield)
	}
}

// list reports whether to go on. It reads folders a piece at a time: one may have
// a million entries.
func (s *File) list(ctx context.Context, folder string, yield func(Info, error) bool) bool {
	d, err := s.root.Open(folder)
	if err != nil {
		if gone(err) {
			return true
		}
		yield(Info{}, fmt.Errorf("list %s: %w", folder, err))
		return false
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(256)
		if err == nil {
			err = context.Cause(ctx)
		}
		switch {
		case err == io.EOF, gone(err):
			return true
		case err != nil:
			yield(Info{}, fmt.Errorf("list %s: %w", folder, err))
			return false
		}
		for _, entry := range entries {
			key := path.Join(folder, entry.Name())
			if entry.IsDir() {
				if key != drafts && !s.list(ctx, key, yield) {
					return false
				}
				continue
			}
			info, err := entry.Info()
			if gone(err) || err == nil && !info.Mode().IsRegular() {
				continue
			}
			if err != nil {
				yield(Info{}, fmt.Errorf("list %s: %w", folder, err))
				return false
			}
			if !yield(Info{Key: key, Bytes: info.Size(), Modified: info.ModTime()}, nil) {
				return false
			}
		}
	}
}

// gone reports whether something was deleted, or is no folder.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// DeleteBelow removes all objects below a folder; that there are none is no error.
func (s *File) DeleteBelow(_ context.Context, folder string) error {
	if err := check(folder); err != nil {
		return err
	}
	info, err := s.root.Lstat(folder)
	switch {
	case gone(err), err == nil && !info.IsDir():
		return nil // no folder: nothing is below it
	case err != nil:
		return fmt.Errorf("delete what is below %s: %w", folder, err)
	}
	for range 100 { // who writes beside it may put something new there
		if err = s.root.RemoveAll(folder); !errors.Is(err, syscall.ENOTEMPTY) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("delete what is below %s: %w", folder, err)
	}
	return nil
}

// Sweep does nothing: what was not written to its end goes when the store is
// opened.
func (s *File) Sweep(context.Context, time.Time) error { return nil }

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
		if errors.Is(err, fs.ErrNotExist) {
			continue // who deletes beside it took it away, with what was in it
		}
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil || folder == "." {
			return err
		}
	}
}
