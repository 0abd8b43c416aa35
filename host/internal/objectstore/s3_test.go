package objectstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/objectstore"
	"github.com/heimdall-run/heimdall/host/internal/objectstore/location"
	"github.com/heimdall-run/heimdall/host/internal/objectstore/objectstoretest"
	"github.com/heimdall-run/heimdall/host/internal/objectstore/s3test"
)

// openS3 opens the store at a URL, which is not patient.
func openS3(t *testing.T, url string, patience time.Duration) *objectstore.S3 {
	t.Helper()
	l, err := location.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	s, err := objectstore.OpenS3(objectstore.S3Config{Location: l, Patience: patience, Stall: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestS3(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	objectstoretest.Test(t, func(t *testing.T) objectstoretest.Store {
		bucket := server.Bucket(t)
		s := openS3(t, server.URL(bucket, server.Address), 20*time.Second)
		if err := s.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { noUploads(t, server, bucket) })
		return s
	})
}

// noUploads fails when something was begun in a bucket and not ended.
func noUploads(t *testing.T, server *s3test.Server, bucket string) {
	t.Helper()
	found, err := server.Core.ListMultipartUploads(context.WithoutCancel(t.Context()), bucket, "", "", "", "", 100)
	if err != nil || len(found.Uploads) > 0 {
		t.Errorf("uploads left = %v, %v, want none", found.Uploads, err)
	}
}
