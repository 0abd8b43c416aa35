package objectstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// retry does something with the service, again while it fails in passing and there
// is patience left. bytes is how much is transferred: each try has time for it.
func (s *S3) retry(ctx context.Context, what, key string, bytes int64, do func(ctx context.Context) error) error {
	begun := time.Now()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := s.try(ctx, bytes, do)
		if err == nil {
			return nil
		}
		if canceled := context.Cause(ctx); canceled != nil {
			return fmt.Errorf("%s %s: %w", what, key, canceled)
		}
		wait := rand.N(pause) + pause/2
		if !transient(err) || time.Since(begun)+wait > s.patience {
			return s.fault(what, key, err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%s %s: %w", what, key, context.Cause(ctx))
		case <-timer.C:
		}
	}
}

func (s *S3) try(ctx context.Context, bytes int64, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime+duration(bytes))
	defer cancel()
	return do(ctx)
}

// passing are the codes of the service that say to try again, whatever the status.
var passing = []string{"RequestTimeout", "SlowDown", "InternalError", "Throttling", "ThrottlingException", "RequestThrottled", "ServiceUnavailable", "OperationAborted"}

// transient reports whether the same may go well a little later.
func transient(err error) bool {
	var answer minio.ErrorResponse
	if errors.As(err, &answer) {
		return slices.Contains(passing, answer.Code) || answer.StatusCode >= 500 && answer.StatusCode != http.StatusNotImplemented ||
			answer.StatusCode == http.StatusRequestTimeout || answer.StatusCode == http.StatusTooManyRequests
	}
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var certificate *tls.CertificateVerificationError
	return !errors.As(err, &unknown) && !errors.As(err, &host) && !errors.As(err, &certificate) &&
		!strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// hints say what to do about what the service says.
var hints = map[string]string{
	"NoSuchBucket":          "make the bucket, or correct artifacts.url",
	"AccessDenied":          "these keys need s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload, s3:ListBucket and s3:ListBucketMultipartUploads",
	"InvalidAccessKeyId":    "the service does not know the access key; see AWS_ACCESS_KEY_ID, or credentials_file",
	"SignatureDoesNotMatch": "the secret key is wrong, or the region; see AWS_SECRET_ACCESS_KEY, or credentials_file",
	"RequestTimeTooSkewed":  "set the clock of this machine",
	"PermanentRedirect":     "the bucket lies in another region; say which in artifacts.url",
}

// fault is what is said of a failure: what, where, why, and what to do.
func (s *S3) fault(what, key string, err error) error {
	where := fmt.Sprintf("bucket %q at %s", s.bucket, s.endpoint)
	if key != "" {
		where = s.key(key) + " in " + where
	}
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) {
		return errs.Errorf(errs.Unavailable, "%s %s: the service cannot be reached: %w", what, where, err)
	}
	switch {
	case answer.Code == "NoSuchKey":
		return errs.Errorf(errs.NotFound, "there is no artifact %s", key)
	case transient(err):
		return errs.Errorf(errs.Unavailable, "%s %s: the service fails: %s (%s)", what, where, answer.Error(), answer.Code)
	}
	if hint := hints[answer.Code]; hint != "" {
		return fmt.Errorf("%s %s: %w (%s): %s", what, where, err, answer.Code, hint)
	}
	return fmt.Errorf("%s %s: %w (%s)", what, where, err, answer.Code)
}

// dialer connects so that a connection on which nothing moves is given up.
func dialer(stall time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: min(stall, 10*time.Second)}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &moving{Conn: conn, stall: stall}, nil
	}
}

// moving is a connection on which something must move. That something is written
// counts for who waits for an answer, too.
type moving struct {
	net.Conn
	stall time.Duration
}

func (c *moving) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *moving) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// duration returns how long a transfer may take.
func duration(bytes int64) time.Duration {
	return time.Duration(bytes/slowest) * time.Second
}
