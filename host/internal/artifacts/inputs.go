package artifacts

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/objectstore"
)

// uploads is what the files lie below that were sent and that no job has taken yet.
const uploads = "uploads"

// Upload stores a file of a user for jobs to take, by the SHA-256 of its content; a
// user does not see those of others. When wanted is not "", a content with another
// digest is errs.Invalid, and nothing is stored. It stays until Sweep is asked for a
// later time.
func (s *Store) Upload(ctx context.Context, user, wanted string, r io.Reader) (objectstore.Stored, error) {
	if wanted != "" {
		return s.objects.Put(ctx, uploaded(user, wanted), &verifier{from: r, sum: sha256.New(), wanted: wanted})
	}
	// It has no name before its end.
	draft := uploaded(user, "draft-"+rand.Text())
	stored, err := s.objects.Put(ctx, draft, r)
	if err != nil {
		return objectstore.Stored{}, err
	}
	if err := s.objects.Copy(ctx, draft, uploaded(user, stored.SHA256)); err != nil {
		return objectstore.Stored{}, err
	}
	_ = s.objects.Delete(ctx, draft) // else Sweep does
	return stored, nil
}

// Uploaded returns what is known of a file that a user has sent; errs.NotFound when
// there is none, or not any more.
func (s *Store) Uploaded(ctx context.Context, user, sum string) (objectstore.Info, error) {
	return s.objects.Stat(ctx, uploaded(user, sum))
}

// Attach gives a file that a user has sent to a job, as the attachment of an index;
// errs.NotFound when there is none.
func (s *Store) Attach(ctx context.Context, user, sum string, id job.ID, index int) error {
	return s.objects.Copy(ctx, uploaded(user, sum), attachment(id, index))
}

// Attachment opens a file that came with a job; errs.NotFound when it is not here.
func (s *Store) Attachment(ctx context.Context, id job.ID, index int) (objectstore.Object, error) {
	return s.objects.Get(ctx, attachment(id, index))
}

// sweepUploads removes what was sent before a time.
func (s *Store) sweepUploads(ctx context.Context, since time.Time) error {
	for info, err := range s.objects.List(ctx, uploads) {
		if err == nil && info.Modified.Before(since) {
			err = s.objects.Delete(ctx, info.Key)
		}
		if err != nil {
			return fmt.Errorf("remove old uploads: %w", err)
		}
	}
	return nil
}

// uploaded returns the key of a file that a user has sent. A user may have any name.
func uploaded(user, name string) string {
	sum := sha256.Sum256([]byte(user))
	return uploads + "/" + hex.EncodeToString(sum[:16]) + "/" + name
}

func attachment(id job.ID, index int) string {
	return folder(id) + "/inputs/" + strconv.Itoa(index)
}

// verifier reads to the end only what has the digest that is wanted.
type verifier struct {
	from   io.Reader
	sum    hash.Hash
	wanted string
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.from.Read(p)
	_, _ = v.sum.Write(p[:n]) // a hash takes everything
	if err == io.EOF {
		if got := hex.EncodeToString(v.sum.Sum(nil)); got != v.wanted {
			return n, errs.Errorf(errs.Invalid, "the content has the SHA-256 %s, not %s", got, v.wanted)
		}
	}
	return n, err
}
