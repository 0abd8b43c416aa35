// Package s3test gives tests a real S3 server with buckets of their own.
package s3test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	accessKey = "heimdall"
	secretKey = "not/a+secret"
)

// Server is a server that ends with its test.
type Server struct {
	Address string        // host:port
	Core    *minio.Core   // speaks to it past what is tested
	keys    string        // a file with the keys
	output  *bytes.Buffer // of the process; read when it has ended
}

// Start starts a server on this machine, building it first where it is missing.
func Start(t testing.TB) *Server {
	t.Helper()
	binary := build(t)
	folder := t.TempDir()
	s := &Server{keys: filepath.Join(folder, "keys"), output: &bytes.Buffer{}}
	text := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", accessKey, secretKey)
	if err := os.WriteFile(s.keys, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	objects := filepath.Join(folder, "objects")
	if err := os.Mkdir(objects, 0o700); err != nil {
		t.Fatal(err)
	}
	s.Address = free(t)
	server := exec.Command(binary, "--port", s.Address, "--access", accessKey, "--secret", secretKey, "--quiet", "--keep-alive",
		"posix", objects)
	server.Stdout, server.Stderr = s.output, s.output
	if err := server.Start(); err != nil {
		t.Fatalf("start the S3 server: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Wait() // it is killed
	}()
	t.Cleanup(func() {
		_ = server.Process.Kill() // it may have ended
		<-ended
		if t.Failed() {
			t.Logf("the S3 server wrote:\n%s", s.output)
		}
	})
	var err error
	s.Core, err = minio.NewCore(s.Address, &minio.Options{Creds: credentials.NewStaticV4(accessKey, secretKey, ""), Region: "us-east-1", MaxRetries: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, err := s.Core.ListBuckets(ctx); err != nil; _, err = s.Core.ListBuckets(ctx) {
		select {
		case <-ended:
			t.Fatalf("the S3 server ended at once: %s", s.output)
		case <-ctx.Done():
			t.Fatalf("the S3 server does not answer: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return s
}

// build returns the path of the server.
func build(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	for err == nil {
		if script := filepath.Join(folder, "scripts", "s3.sh"); exists(script) {
			build := exec.Command(script)
			build.Stderr = os.Stderr
			path, err := build.Output()
			if err != nil {
				t.Fatalf("%s: %v", script, err)
			}
			return strings.TrimSpace(string(path))
		}
		if folder == filepath.Dir(folder) {
			break
		}
		folder = filepath.Dir(folder)
	}
	t.Fatalf("there is no scripts/s3.sh above this package: %v", err)
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// free returns an address that nobody listens at.
func free(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Bucket makes a bucket and returns its name.
func (s *Server) Bucket(t testing.TB) string {
	t.Helper()
	name := "test-" + strings.ToLower(rand.Text())
	if err := s.Core.MakeBucket(t.Context(), name, minio.MakeBucketOptions{}); err != nil {
		t.Fatalf("make a bucket: %v", err)
	}
	return name
}

// URL returns what artifacts.url is for keys of a bucket that begin with "some
// place/", by way of an address, such as that of the server or of who stands
// between.
func (s *Server) URL(bucket, address string) string {
	return "s3://" + bucket + "/some%20place?" + url.Values{
		"endpoint": {"http://" + address}, "region": {"us-east-1"}, "credentials_file": {s.keys},
	}.Encode()
}
