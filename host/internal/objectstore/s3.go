package objectstore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/objectstore/location"
)

// S3 keeps objects in a bucket of an S3 service.
type S3 struct {
	bucket, prefix, endpoint string

	core      *minio.Core
	transport *http.Transport
	patience  time.Duration
	// transfers bounds how many large objects are written at once, and parts keeps
	// their buffers for the next.
	transfers chan struct{}
	parts     sync.Pool
}

// S3Config says which bucket, and how its service is spoken to.
type S3Config struct {
	Location location.Location
	// Patience is how long is tried again what failed in passing. Default: 30s.
	Patience time.Duration
	// Stall is how long the service may be silent. Default: 30s.
	Stall time.Duration
}

const (
	amazon   = "s3.amazonaws.com"
	transfer = 8 // large objects that are written at once
	// requestTime is for a request, without the time that its content may take.
	requestTime = time.Minute
	// slowest is the speed, in bytes a second, that content is transferred with
	// at least.
	slowest = 64 << 10
)

// OpenS3 returns the store in a bucket. It does not speak to the service: see
// Check.
func OpenS3(c S3Config) (*S3, error) {
	l := c.Location
	s := &S3{
		bucket: l.Bucket, prefix: l.Prefix,
		patience:  cmp.Or(c.Patience, 30*time.Second),
		transfers: make(chan struct{}, transfer),
		parts:     sync.Pool{New: func() any { return new([partSize]byte) }},
	}
	stall := cmp.Or(c.Stall, 30*time.Second)
	s.transport = &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer(stall),
		TLSHandshakeTimeout:   min(stall, 10*time.Second),
		ResponseHeaderTimeout: stall,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       min(stall, 15*time.Second),
		DisableCompression:    true, // of content that is asked for as it is
	}
	if l.CAFile != "" {
		roots, err := trusted(l.CAFile)
		if err != nil {
			return nil, err
		}
		s.transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	endpoint, region := cmp.Or(l.Endpoint, amazon), cmp.Or(l.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"))
	if l.Endpoint != "" {
		region = cmp.Or(region, "us-east-1") // what services answer to that have none
	}
	lookup := minio.BucketLookupAuto
	if l.PathStyle != nil {
		lookup = minio.BucketLookupDNS
		if *l.PathStyle {
			lookup = minio.BucketLookupPath
		}
	}
	var err error
	s.core, err = minio.NewCore(endpoint, &minio.Options{
		Creds: keys(l), Secure: !l.Insecure, Transport: s.transport, Region: region, BucketLookup: lookup,
		MaxRetries: 1, // retry does so, with deadlines
	})
	if err != nil {
		return nil, fmt.Errorf("artifacts.url: %w", err)
	}
	s.endpoint = s.core.EndpointURL().String()
	return s, nil
}

// keys returns where the keys of the service come from: the file that is named, or
// what the environment says, or what the machine has been given.
func keys(l location.Location) *credentials.Credentials {
	file := &credentials.FileAWSCredentials{Filename: l.CredentialsFile, Profile: l.Profile}
	if l.CredentialsFile != "" || l.Profile != "" {
		return credentials.New(file)
	}
	chain := []credentials.Provider{&credentials.EnvAWS{}, file}
	_, token := os.LookupEnv("AWS_WEB_IDENTITY_TOKEN_FILE")
	_, container := os.LookupEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	if l.Endpoint == "" || token || container {
		chain = append(chain, &credentials.IAM{})
	}
	return credentials.NewChainCredentials(chain)
}

// trusted returns the certificates of the system and those of a file.
func trusted(file string) (*x509.CertPool, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("artifacts.url: read ca_file: %w", err)
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("artifacts.url: ca_file %s has no certificate in PEM", file)
	}
	return roots, nil
}

// Close lets go of the connections.
func (s *S3) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// Check writes, reads, lists and removes a small object, so that a wrong address or
// a missing right shows before the first job.
func (s *S3) Check(ctx context.Context) error {
	value, err := s.core.GetCreds()
	if err != nil {
		return s.fault("check", "", err)
	}
	if value.SignerType.IsAnonymous() || value.AccessKeyID == "" {
		return fmt.Errorf("there are no keys for bucket %q: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a credentials_file in artifacts.url", s.bucket)
	}
	folder := "checks"
	key, content := path.Join(folder, rand.Text()), []byte("heimdall can write here\n")
	if _, err := s.Put(ctx, key, bytes.NewReader(content)); err != nil {
		return err
	}
	o, err := s.Get(ctx, key)
	if err != nil {
		return err
	}
	defer o.Close()
	read, err := io.ReadAll(o)
	if err != nil {
		return err
	}
	if !bytes.Equal(read, content) {
		return fmt.Errorf("bucket %q at %s gives back other bytes than were put into it", s.bucket, s.endpoint)
	}
	listed := false
	for info, err := range s.List(ctx, folder) {
		if err != nil {
			return err
		}
		listed = listed || info.Key == key
	}
	if !listed {
		return fmt.Errorf("bucket %q at %s does not list what was put into it", s.bucket, s.endpoint)
	}
	return s.Delete(ctx, key)
}

// key returns the key of the service for one of ours.
func (s *S3) key(key string) string { return path.Join(s.prefix, key) }

// Stat returns what is known of an object; errs.NotFound when there is none.
func (s *S3) Stat(ctx context.Context, key string) (Info, error) {
	if err := check(key); err != nil {
		return Info{}, err
	}
	found, err := s.stat(ctx, key)
	if err != nil {
		return Info{}, err
	}
	return Info{Key: key, Bytes: found.Size, Modified: found.LastModified}, nil
}

func (s *S3) stat(ctx context.Context, key string) (found minio.ObjectInfo, err error) {
	err = s.retry(ctx, "read", key, 0, func(ctx context.Context) (err error) {
		found, err = s.core.StatObject(ctx, s.bucket, s.key(key), minio.StatObjectOptions{})
		return err
	})
	return found, err
}

// Delete removes an object; that there is none is no error.
func (s *S3) Delete(ctx context.Context, key string) error {
	if err := check(key); err != nil {
		return err
	}
	err := s.retry(ctx, "delete", key, 0, func(ctx context.Context) error {
		return s.core.RemoveObject(ctx, s.bucket, s.key(key), minio.RemoveObjectOptions{})
	})
	if errs.Is(err, errs.NotFound) {
		return nil // some services say so
	}
	return err
}
