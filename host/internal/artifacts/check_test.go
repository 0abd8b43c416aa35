package artifacts_test

import (
	"context"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/artifacts"
	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// A service that is away is that, and not a wrong address.
func TestCheckOfAServiceThatIsAway(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	s, err := artifacts.Open("s3://bucket/prefix?endpoint=http://127.0.0.1:1&region=here", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.Check(ctx); !errs.Is(err, errs.Unavailable) {
		t.Errorf("Check = %v, want unavailable", err)
	}
	if err := open(t).Check(t.Context()); err != nil {
		t.Errorf("Check of a folder = %v, want nil", err)
	}
}
