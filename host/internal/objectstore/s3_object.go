package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/minio/minio-go/v7"
)

// What is asked for at once: little where somebody looks here and there, more the
// longer somebody reads on.
const (
	leastAhead = 256 << 10
	mostAhead  = 64 << 20
)

// Get opens an object; errs.NotFound when there is none.
func (s *S3) Get(ctx context.Context, key string) (Object, error) {
	if err := check(key); err != nil {
		return nil, err
	}
	found, err := s.stat(ctx, key)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return &remote{store: s, key: key, etag: found.ETag, size: found.Size, ctx: ctx, cancel: cancel}, nil
}

// remote is an open object of a bucket. Of many readers at once one reads and the
// others wait.
type remote struct {
	store  *S3
	key    string
	etag   string
	size   int64
	ctx    context.Context // done: closed
	cancel context.CancelFunc

	mu     sync.Mutex
	offset int64 // of Read and Seek
	body   io.ReadCloser
	stop   context.CancelFunc // of body
	at     int64              // where body goes on
	left   int64              // bytes of body
	ahead  int64              // what was asked for last
}

// Read reads on; see io.Reader.
func (o *remote) Read(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.readAt(p, o.offset)
	o.offset += int64(n)
	return n, err
}

// ReadAt reads at a place; see io.ReaderAt.
func (o *remote) ReadAt(p []byte, offset int64) (n int, err error) {
	if offset < 0 {
		return 0, fmt.Errorf("read %s at %d: before its beginning", o.key, offset)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for n < len(p) && err == nil {
		var m int
		m, err = o.readAt(p[n:], offset+int64(n))
		n += m
	}
	if n == len(p) {
		return n, nil
	}
	return n, err
}

// Seek says where to read on; see io.Seeker.
func (o *remote) Seek(offset int64, whence int) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += o.offset
	case io.SeekEnd:
		offset += o.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek in %s to %d: before its beginning", o.key, offset)
	}
	o.offset = offset
	return offset, nil
}

// Close ends reads that wait.
func (o *remote) Close() error {
	o.cancel()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop()
	return nil
}

// readAt reads something at a place. A connection that breaks in between is made
// anew from there on.
func (o *remote) readAt(p []byte, offset int64) (n int, err error) {
	if o.ctx.Err() != nil {
		return 0, fmt.Errorf("read %s: it is closed", o.key)
	}
	if offset >= o.size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	err = o.store.retry(o.ctx, "read", o.key, mostAhead, func(context.Context) error {
		if o.body == nil || o.at != offset || o.left == 0 {
			if err := o.ask(offset, int64(len(p))); err != nil {
				return err
			}
		}
		n, err = o.body.Read(p[:min(int64(len(p)), o.left)])
		o.at, o.left = o.at+int64(n), o.left-int64(n)
		if n > 0 {
			return nil
		}
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		o.drop()
		return err
	})
	return n, err
}

// ask begins to read at a place. Who reads on gets more at once.
func (o *remote) ask(offset, wanted int64) error {
	on := o.at == offset && o.ahead > 0
	o.drop()
	if on {
		o.ahead = min(4*o.ahead, mostAhead)
	} else {
		o.ahead = leastAhead
	}
	n := min(max(o.ahead, wanted), o.size-offset)
	options := minio.GetObjectOptions{}
	if err := errors.Join(options.SetRange(offset, offset+n-1), options.SetMatchETag(o.etag)); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(o.ctx, requestTime+duration(n))
	body, found, _, err := o.store.core.GetObject(ctx, o.store.bucket, o.store.key(o.key), options)
	if err != nil {
		stop()
		var answer minio.ErrorResponse
		if errors.As(err, &answer) && (answer.Code == "PreconditionFailed" || answer.StatusCode == http.StatusPreconditionFailed) {
			return fmt.Errorf("it was replaced meanwhile: %w", err)
		}
		return err
	}
	if found.ETag != o.etag {
		_ = body.Close() // it is another object's
		stop()
		return minio.ErrorResponse{Code: "PreconditionFailed", StatusCode: http.StatusPreconditionFailed, Message: "it was replaced meanwhile"}
	}
	o.body, o.stop, o.at, o.left = body, stop, offset, n
	return nil
}

// drop ends what was asked for.
func (o *remote) drop() {
	if o.body == nil {
		return
	}
	_ = o.body.Close() // it was only read
	o.stop()
	o.body, o.stop, o.left = nil, nil, 0
}
