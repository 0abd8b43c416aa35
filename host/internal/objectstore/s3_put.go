package objectstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

const (
	smallSize = 64 << 10 // what is read before a buffer for a part is taken
	partSize  = 8 << 20
	maxParts  = 10_000 // of the service
	// Parts double every so many, up to a size: memory is bounded, and an object
	// may have 500 GB.
	partsPerSize = 1000
	maxPartSize  = 64 << 20
	abortTime    = 10 * time.Second
	// uploadHeader names the upload that made an object, so that who lost the answer
	// to its end can know its own.
	uploadHeader = "Heimdall-Upload"
)

// sizeOfPart returns how large a part is that is not the last; parts begin with 1.
func sizeOfPart(number int) int {
	return min(partSize<<min((number-1)/partsPerSize, 30), maxPartSize)
}

// Put stores what it reads from r under a key, replacing what was there. It holds
// one part in memory. Not more than eight large objects are written at once: others
// wait.
func (s *S3) Put(ctx context.Context, key string, r io.Reader) (Stored, error) {
	if err := check(key); err != nil {
		return Stored{}, err
	}
	from := newReader(ctx, r)
	small := make([]byte, smallSize)
	n, err := fill(from, small)
	if err != nil {
		return Stored{}, fmt.Errorf("store %s: %w", key, err)
	}
	if n < len(small) {
		return from.stored(), s.put(ctx, key, small[:n])
	}
	select {
	case <-ctx.Done():
		return Stored{}, fmt.Errorf("store %s: %w", key, context.Cause(ctx))
	case s.transfers <- struct{}{}:
	}
	defer func() { <-s.transfers }()
	first := s.parts.Get().(*[partSize]byte)
	defer s.parts.Put(first)
	n = copy(first[:], small)
	m, err := fill(from, first[n:])
	n += m
	if err != nil {
		return Stored{}, fmt.Errorf("store %s: %w", key, err)
	}
	if n < partSize {
		return from.stored(), s.put(ctx, key, first[:n])
	}
	if err := s.putParts(ctx, key, from, first[:]); err != nil {
		return Stored{}, err
	}
	return from.stored(), nil
}

// put stores a small object with one request.
func (s *S3) put(ctx context.Context, key string, content []byte) error {
	sum := digest(content)
	return s.retry(ctx, "store", key, int64(len(content)), func(ctx context.Context) error {
		_, err := s.core.PutObject(ctx, s.bucket, s.key(key), bytes.NewReader(content), int64(len(content)), "", sum,
			minio.PutObjectOptions{DisableContentSha256: true}) // of pieces: that of all is there
		return err
	})
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Copy gives what one key has to another as well, replacing what that had;
// errs.NotFound when the first has nothing. The service copies by itself, up to 5 GiB.
func (s *S3) Copy(ctx context.Context, from, to string) error {
	if err := errors.Join(check(from), check(to)); err != nil {
		return err
	}
	found, err := s.stat(ctx, from)
	if err != nil {
		return err
	}
	return s.retry(ctx, "copy", from, found.Size, func(ctx context.Context) error {
		_, err := s.core.CopyObject(ctx, s.bucket, s.key(from), s.bucket, s.key(to), nil, minio.CopySrcOptions{}, minio.PutObjectOptions{})
		return err
	})
}

// putParts stores a large object, of which part is what was read of it. What was
// stored of one that fails is removed.
func (s *S3) putParts(ctx context.Context, key string, from io.Reader, part []byte) error {
	name := rand.Text()
	var upload string
	err := s.retry(ctx, "store", key, 0, func(ctx context.Context) (err error) {
		upload, err = s.core.NewMultipartUpload(ctx, s.bucket, s.key(key), minio.PutObjectOptions{UserMetadata: map[string]string{uploadHeader: name}})
		return err
	})
	if err != nil {
		return err
	}
	parts, err := s.upload(ctx, key, upload, from, part)
	if err == nil {
		err = s.complete(ctx, key, upload, name, parts)
	}
	if err == nil {
		return nil
	}
	aborting, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	// What cannot be removed now, Sweep removes later.
	_ = s.core.AbortMultipartUpload(aborting, s.bucket, s.key(key), upload)
	return err
}

func (s *S3) upload(ctx context.Context, key, upload string, from io.Reader, part []byte) (parts []minio.CompletePart, err error) {
	for n := len(part); n > 0; {
		number := len(parts) + 1
		if number > maxParts {
			return nil, errs.Errorf(errs.TooLarge, "store %s: it has more than the %d parts that the service takes", key, maxParts)
		}
		var done minio.ObjectPart
		sum := digest(part[:n])
		err := s.retry(ctx, "store", key, int64(n), func(ctx context.Context) (err error) {
			done, err = s.core.PutObjectPart(ctx, s.bucket, s.key(key), upload, number, bytes.NewReader(part[:n]), int64(n),
				minio.PutObjectPartOptions{Sha256Hex: sum, DisableContentSha256: true})
			return err
		})
		if err != nil {
			return nil, err
		}
		parts = append(parts, minio.CompletePart{PartNumber: number, ETag: done.ETag})
		if n < len(part) {
			break // that was the end
		}
		if size := sizeOfPart(number + 1); size != len(part) {
			part = make([]byte, size)
		}
		if n, err = fill(from, part); err != nil {
			return nil, fmt.Errorf("store %s: %w", key, err)
		}
	}
	return parts, nil
}

// complete makes the parts an object. The answer may be lost: the upload is then
// unknown the next time, and the object there.
func (s *S3) complete(ctx context.Context, key, upload, name string, parts []minio.CompletePart) error {
	return s.retry(ctx, "store", key, 0, func(ctx context.Context) error {
		_, err := s.core.CompleteMultipartUpload(ctx, s.bucket, s.key(key), upload, parts, minio.PutObjectOptions{})
		var answer minio.ErrorResponse
		if !errors.As(err, &answer) || answer.Code != "NoSuchUpload" {
			return err
		}
		found, statErr := s.core.StatObject(ctx, s.bucket, s.key(key), minio.StatObjectOptions{})
		if statErr != nil && transient(statErr) {
			return statErr
		}
		if statErr == nil && madeBy(found, name) {
			return nil
		}
		return err
	})
}

// madeBy reports whether an object was made by an upload.
func madeBy(found minio.ObjectInfo, name string) bool {
	for header, value := range found.UserMetadata {
		if strings.EqualFold(header, uploadHeader) && value == name {
			return true
		}
	}
	return false
}
