package live_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/live"
)

// shelf keeps reports in memory.
type shelf struct {
	mu     sync.Mutex
	writes int
	kept   map[job.Lease]job.Report
	err    error
}

func (s *shelf) SaveReports(_ context.Context, host string, epoch int64, reports map[job.Lease]job.Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if host != "h" || epoch != 3 {
		return errors.New("another host")
	}
	s.writes++
	if s.err == nil {
		maps.Copy(s.kept, reports)
	}
	return s.err
}

// fail has further writes end with an error.
func (s *shelf) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// Others know what is said by jobs that take a while, once for each change; short jobs,
// and a host that is alone, write nothing.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r live.Reports
		s := &shelf{kept: map[job.Lease]job.Report{}}
		var company atomic.Bool
		ctx, stop := context.WithCancel(t.Context())
		var served sync.WaitGroup
		served.Go(func() {
			_ = r.Share(ctx, live.Sharing{Store: s, Host: "h", Epoch: 3, Company: company.Load, Log: hclog.NewNullLogger()})
		})
		defer served.Wait()
		defer stop()
		after := func(d time.Duration, writes int, what string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.writes != writes {
				t.Errorf("%s: %d writes, want %d", what, s.writes, writes)
			}
		}
		long, short := job.Lease{JobID: "long", Attempt: 1}, job.Lease{JobID: "short", Attempt: 1}
		r.Progress(long, job.Progress{Done: 1})
		after(3*time.Second, 0, "alone")

		company.Store(true)
		after(2*time.Second, 1, "in company")
		after(10*time.Second, 1, "nothing new")
		time.Sleep(1500 * time.Millisecond)
		r.Progress(short, job.Progress{Done: 1})
		time.Sleep(900 * time.Millisecond)
		r.Forget(short)
		after(4*time.Second, 1, "a short job")

		s.fail(errors.New("away"))
		outputs := []job.Output{{Key: "a", Value: "b"}}
		r.Outputs(long, outputs)
		after(2*time.Second, 2, "the store is away")
		s.fail(nil)
		after(2*time.Second, 3, "it is back")
		want := map[job.Lease]job.Report{long: {Progress: &job.Progress{Done: 1}, Outputs: outputs}}
		if diff := cmp.Diff(want, s.kept); diff != "" {
			t.Errorf("kept (-want +got):\n%s", diff)
		}

		r.Outputs(long, []job.Output{{Key: "large", Value: strings.Repeat("x", 65<<10)}})
		after(2*time.Second, 4, "large outputs")
		if got := s.kept[long]; got.Outputs != nil || got.Progress == nil {
			t.Errorf("kept = %d outputs, progress %v, want the progress alone", len(got.Outputs), got.Progress)
		}
	})
}
