package objectstore

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

const page = 1000 // objects that are listed, and removed, with one request

// List goes through the objects below a folder, "" for all, in the order of their
// keys. What comes or goes meanwhile may be missed. It ends after the first error.
func (s *S3) List(ctx context.Context, folder string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := checkFolder(folder); err != nil {
			yield(Info{}, err)
			return
		}
		after := ""
		for more := true; more; {
			var found []Info
			var err error
			if found, after, more, err = s.page(ctx, folder, after); err != nil {
				yield(Info{}, err)
				return
			}
			for _, info := range found {
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// page returns the objects that follow a key of the service, the last key that was
// looked at, and whether there may be more.
func (s *S3) page(ctx context.Context, folder, after string) (found []Info, last string, more bool, err error) {
	below := s.below(folder)
	err = s.retry(ctx, "list", folder, 0, func(ctx context.Context) error {
		seen := 0
		found, last = found[:0], after
		for o := range s.core.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: below, Recursive: true, StartAfter: after, MaxKeys: page}) {
			if o.Err != nil {
				return o.Err
			}
			last = o.Key
			key := strings.TrimPrefix(o.Key, s.below(""))
			if !strings.HasSuffix(key, "/") { // else a folder, as some tools make them
				found = append(found, Info{Key: key, Bytes: o.Size, Modified: o.LastModified})
			}
			if seen++; seen == page {
				break
			}
		}
		more = seen == page
		return ctx.Err()
	})
	return found, last, more, err
}

// below returns what the keys of the service begin with that lie below a folder.
func (s *S3) below(folder string) string {
	if prefix := s.key(folder); prefix != "" {
		return prefix + "/"
	}
	return ""
}

// DeleteBelow removes all objects below a folder; that there are none is no error.
func (s *S3) DeleteBelow(ctx context.Context, folder string) error {
	if err := check(folder); err != nil {
		return err
	}
	for info, err := range s.List(ctx, folder) {
		if err != nil {
			return err
		}
		if err := s.Delete(ctx, info.Key); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes the parts of objects that nobody has gone on with since a time, as a
// host leaves them that was killed.
func (s *S3) Sweep(ctx context.Context, since time.Time) error {
	for key, upload := "", ""; ; {
		var found minio.ListMultipartUploadsResult
		err := s.retry(ctx, "list what was begun in", "", 0, func(ctx context.Context) (err error) {
			found, err = s.core.ListMultipartUploads(ctx, s.bucket, s.below(""), key, upload, "", page)
			return err
		})
		if err != nil {
			return err
		}
		for _, u := range found.Uploads {
			if !u.Initiated.Before(since) {
				continue
			}
			ours := strings.TrimPrefix(u.Key, s.below(""))
			err := s.retry(ctx, "abort", ours, 0, func(ctx context.Context) error {
				return s.core.AbortMultipartUpload(ctx, s.bucket, u.Key, u.UploadID)
			})
			if err != nil && !errs.Is(err, errs.NotFound) {
				return err
			}
		}
		if !found.IsTruncated || found.NextKeyMarker == "" {
			return nil
		}
		key, upload = found.NextKeyMarker, found.NextUploadIDMarker
	}
}
