// Package artifacts keeps what ended attempts have left: their text streams and
// their large results.
package artifacts

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/objectstore"
)

// objects is what the store needs of the place where bytes lie.
type objects interface {
	Put(ctx context.Context, key string, r io.Reader) (size int64, err error)
	Get(ctx context.Context, key string) (objectstore.Object, error)
	Delete(ctx context.Context, key string) error
	Close() error
}

// Store keeps artifacts.
type Store struct {
	objects objects
}

// Open returns the store at an address: "file" is the folder "artifacts" of the
// data folder.
func Open(url, dataDir string) (*Store, error) {
	if url != "file" {
		return nil, fmt.Errorf("artifacts.url %q is not supported; it is \"file\"", url)
	}
	files, err := objectstore.OpenFile(filepath.Join(dataDir, "artifacts"))
	if err != nil {
		return nil, err
	}
	return &Store{objects: files}, nil
}

// Close gives the store's resources free.
func (s *Store) Close() error { return s.objects.Close() }

// Keep stores one file of an attempt and returns its key and size in bytes.
func (s *Store) Keep(ctx context.Context, id job.ID, attempt int, name string, r io.Reader) (key string, size int64, err error) {
	key = "jobs/" + string(id) + "/" + strconv.Itoa(attempt) + "/" + name
	size, err = s.objects.Put(ctx, key, r)
	return key, size, err
}

// Get opens an artifact; errs.NotFound when there is none.
func (s *Store) Get(ctx context.Context, key string) (objectstore.Object, error) {
	return s.objects.Get(ctx, key)
}

// Delete removes an artifact; that there is none is no error.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.objects.Delete(ctx, key)
}
