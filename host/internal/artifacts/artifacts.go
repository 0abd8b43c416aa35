// Package artifacts keeps what jobs bring and leave: the files that came with them, and
// the text streams and large results of their attempts.
package artifacts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strconv"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/objectstore"
	"github.com/heimdall-run/heimdall/host/internal/objectstore/location"
)

// objects is what the store needs of the place where bytes lie.
type objects interface {
	Put(ctx context.Context, key string, r io.Reader) (objectstore.Stored, error)
	Get(ctx context.Context, key string) (objectstore.Object, error)
	Stat(ctx context.Context, key string) (objectstore.Info, error)
	List(ctx context.Context, folder string) iter.Seq2[objectstore.Info, error]
	Copy(ctx context.Context, from, to string) error
	Delete(ctx context.Context, key string) error
	DeleteBelow(ctx context.Context, folder string) error
	Sweep(ctx context.Context, since time.Time) error
	Close() error
}

// Store keeps artifacts.
type Store struct {
	objects objects
}

// Open returns the store at an address: "file" is the folder "artifacts" of the
// data folder, "s3://bucket/prefix?endpoint=…" a bucket, which is asked for nothing
// before Check.
func Open(url, dataDir string) (*Store, error) {
	l, err := location.Parse(url)
	if err != nil {
		return nil, fmt.Errorf("artifacts.url: %w", err)
	}
	if !l.S3 {
		files, err := objectstore.OpenFile(filepath.Join(dataDir, "artifacts"))
		if err != nil {
			return nil, err
		}
		return &Store{objects: files}, nil
	}
	bucket, err := objectstore.OpenS3(objectstore.S3Config{Location: l})
	if err != nil {
		return nil, err
	}
	return &Store{objects: bucket}, nil
}

// Check returns why artifacts cannot be kept: errs.Unavailable when they may be a
// little later.
func (s *Store) Check(ctx context.Context) error {
	bucket, ok := s.objects.(interface {
		Check(ctx context.Context) error
	})
	if !ok {
		return nil // a folder that was opened is there
	}
	err := bucket.Check(ctx)
	if err != nil && ctx.Err() != nil {
		return errs.Errorf(errs.Unavailable, "the service of artifacts.url takes its time: %w", err)
	}
	return err
}

// Close gives the store's resources free.
func (s *Store) Close() error { return s.objects.Close() }

// Keep stores one file of an attempt and returns its key and size in bytes.
func (s *Store) Keep(ctx context.Context, id job.ID, attempt int, name string, r io.Reader) (key string, size int64, err error) {
	key = folder(id) + "/" + strconv.Itoa(attempt) + "/" + name
	stored, err := s.objects.Put(ctx, key, r)
	return key, stored.Bytes, err
}

// Get opens an artifact; errs.NotFound when there is none.
func (s *Store) Get(ctx context.Context, key string) (objectstore.Object, error) {
	return s.objects.Get(ctx, key)
}

// Remove removes all that the attempts of a job have left, also those whose end was
// never recorded; that there is nothing is no error.
func (s *Store) Remove(ctx context.Context, id job.ID) error {
	return s.objects.DeleteBelow(ctx, folder(id))
}

// folder returns what the keys of a job's artifacts lie below.
func folder(id job.ID) string { return "jobs/" + string(id) }

// Sweep removes what hosts that were killed had begun to store before a time, and the
// uploads of before it.
func (s *Store) Sweep(ctx context.Context, since time.Time) error {
	return errors.Join(s.objects.Sweep(ctx, since), s.sweepUploads(ctx, since))
}
