package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/config"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/queue"
	"github.com/heimdall-run/heimdall/host/internal/spool"
)

// While the database does not answer, warnings that something is away are left out,
// and nothing else is.
func TestQuiet(t *testing.T) {
	away := fmt.Errorf("claim jobs: %w", errs.Errorf(errs.Unavailable, "the store is not available"))
	lines := func(log hclog.Logger) {
		log.Warn("a claim failed", "error", away, "again_in", 1)
		log.Named("queue").Warn("an end failed", "job_id", "j", "error", away)
		log.Warn("another fault", "error", errors.New("odd"))
		log.Warn("no fault", "job_id", "j")
		log.Error("memory only", "error", away)
	}
	for name, c := range map[string]struct {
		level  string
		speaks func() bool
		want   int // lines
	}{
		"the database answers":  {"info", func() bool { return false }, 5},
		"before there is one":   {"info", nil, 5},
		"it does not":           {"info", func() bool { return true }, 3},
		"who wants to know all": {"debug", func() bool { return true }, 5},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			q := &quiet{}
			if c.speaks != nil {
				q.while(c.speaks)
			}
			lines(newLog(config.Log{Level: c.level, Format: "text"}, &out, q))
			if got := strings.Count(out.String(), "\n"); got != c.want {
				t.Errorf("%d lines, want %d:\n%s", got, c.want, out.String())
			}
		})
	}
}

// The process is shown on loopback only, and to nobody who comes by another name.
func TestDebug(t *testing.T) {
	if l, err := listenDebug(""); l != nil || err != nil {
		t.Errorf("no address: got %v and error %v, want none", l, err)
	}
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "256.0.0.1:1"} {
		if l, err := listenDebug(address); err == nil || !strings.Contains(err.Error(), "server.debug_listen") {
			t.Errorf("%s: got %v and error %v, want a refusal that names the key", address, l, err)
		}
	}
	l, err := listenDebug("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{debug: l, log: hclog.NewNullLogger()}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- h.serveDebug(ctx) }()
	for _, c := range []struct {
		host, path string
		want       int
	}{
		{"", "/debug/pprof/", http.StatusOK},
		{"localhost", "/debug/pprof/goroutine?debug=1", http.StatusOK},
		{"", "/debug/pprof/cmdline", http.StatusOK},
		{"rebound.example.org", "/debug/pprof/cmdline", http.StatusForbidden},
		{"", "/", http.StatusNotFound},
	} {
		r, err := http.NewRequestWithContext(ctx, "GET", "http://"+l.Addr().String()+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = c.host
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if answer.StatusCode != c.want {
			t.Errorf("%s of %q: status = %d, want %d", c.path, c.host, answer.StatusCode, c.want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	stop()
	if err := <-served; err != nil {
		t.Errorf("serving ended with %v, want nil", err)
	}
}

// ear is an observer that hears of attempts, and a store of one job.
type ear struct {
	queue.Observer
	job   *job.Job
	heard []string
}

func (e *ear) Job(context.Context, job.ID) (*job.Job, error) {
	if e.job == nil {
		return nil, errs.Errorf(errs.Unavailable, "away")
	}
	return e.job, nil
}

func (e *ear) Ended(c job.Claimed, o job.Outcome, again bool) {
	e.heard = append(e.heard, fmt.Sprintf("attempt %d of %s: %s %t", c.Lease.Attempt, c.Job.Pair.CommandID, o.Status, again))
}

// What an earlier life of the host has spooled is told like what this one records.
func TestTellLeft(t *testing.T) {
	end := func(s job.Status) job.End {
		return job.End{Lease: job.Lease{JobID: "j", Attempt: 2}, Outcome: job.Outcome{Status: s}}
	}
	later := time.Now()
	known := &job.Job{ID: "j", Pair: job.Pair{CommandID: "c"}}
	for name, c := range map[string]struct {
		job    *job.Job
		record spool.Record
		want   string
		fails  bool
	}{
		"an end":                     {job: known, record: spool.Record{End: end(job.Succeeded)}, want: "attempt 2 of c: SUCCEEDED false"},
		"one that is retried":        {job: known, record: spool.Record{End: end(job.Failed), Retry: later}, want: "attempt 2 of c: FAILED true"},
		"one that was canceled":      {job: known, record: spool.Record{End: end(job.Canceled), Retry: later}, want: "attempt 2 of c: CANCELED false"},
		"one that never began":       {job: known, record: spool.Record{End: end(job.Killed), Back: true}},
		"one that cannot be read of": {record: spool.Record{End: end(job.Failed)}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			e := &ear{job: c.job}
			err := tellLeft(e, e, c.record)
			if got := strings.Join(e.heard, "; "); got != c.want || (err != nil) != c.fails {
				t.Errorf("heard %q, error %v; want %q, an error: %t", got, err, c.want, c.fails)
			}
		})
	}
}
