package api_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heimdall-run/heimdall/host/internal/api"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

func TestJobThatWaits(t *testing.T) {
	f := newFake()
	s := serve(t, f)
	due := time.Date(2026, 12, 24, 17, 0, 0, 0, time.UTC)
	j := &job.Job{
		ID: job.NewID(), Status: job.New, Attempt: 1, CreatedAt: clock, UpdatedAt: clock,
		Request: job.Request{
			Retry: &job.Retry{Attempts: 3, Backoff: 90 * time.Second, On: []job.Class{job.WorkFailed}}, Priority: 5,
			StartAfter: due, Deadline: due.Add(time.Hour), UniqueKey: "nightly",
		},
	}
	f.add(j)
	f.wait = &job.Wait{Reason: job.Retrying, Until: due}
	three := 3
	f.attempts = []job.Attempt{{
		Attempt: 1, HostID: "h", CommandID: "c", ClusterID: "k", Build: "ab12", Status: job.Failed,
		Error:     &job.Error{Class: job.WorkFailed, Message: "exit status 3", ExitCode: &three},
		StartedAt: clock, EndedAt: clock.Add(time.Minute),
	}}
	got := s.do(t, "GET", "/api/v1/job/"+string(j.ID), "").json(t)
	want := map[string]any{
		"retry": map[string]any{"attempts": 3.0, "backoff": "1m30s", "on": []any{"failed"}}, "priority": 5.0,
		"start_after": "2026-12-24T17:00:00Z", "deadline": "2026-12-24T18:00:00Z", "unique_key": "nightly",
		"waiting": map[string]any{"reason": "retry", "until": "2026-12-24T17:00:00Z"},
		"attempts": []any{map[string]any{
			"attempt": 1.0, "status": "FAILED", "error": "exit status 3", "error_class": "failed", "exit_code": 3.0, "host_id": "h",
			"command_id": "c", "cluster_id": "k", "build": "ab12", "started_at": float64(clock.Unix()), "ended_at": float64(clock.Unix() + 60),
			"started_time": "2026-11-23T07:32:03.93409Z", "ended_time": "2026-11-23T07:33:03.93409Z",
		}},
	}
	for name, value := range want {
		if diff := cmp.Diff(value, got[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}

	// How many come before it is told of one in the queue, also when none do.
	for _, ahead := range []int{0, 12} {
		f.wait = &job.Wait{Reason: job.Queued, Ahead: ahead}
		got = s.do(t, "GET", "/api/v1/job/"+string(j.ID), "").json(t)
		if diff := cmp.Diff(any(map[string]any{"reason": "queued", "ahead": float64(ahead)}), got["waiting"]); diff != "" {
			t.Errorf("waiting (-want +got):\n%s", diff)
		}
	}

	// What is not so is not told.
	plain := &job.Job{ID: job.NewID(), Status: job.Running, Attempt: 1, CreatedAt: clock}
	f.add(plain)
	got = s.do(t, "GET", "/api/v1/job/"+string(plain.ID), "").json(t)
	for name := range want {
		if got[name] != nil {
			t.Errorf("%s of a job in its first attempt: got %v, want none", name, got[name])
		}
	}
}

func TestJobThatSaysHowFarItIs(t *testing.T) {
	f := newFake()
	far := &job.Progress{Done: 2, Message: "second"}
	s := serve(t, f, func(c *api.Config) {
		c.Report = func(context.Context, *job.Job) job.Report {
			return job.Report{Progress: far, Outputs: []job.Output{{Key: "a", Value: "v", Kind: "text"}}}
		}
	})
	running := &job.Job{ID: job.NewID(), Status: job.Running, Attempt: 1, CreatedAt: clock}
	ended := &job.Job{ID: job.NewID(), Status: job.Succeeded, Attempt: 1, CreatedAt: clock}
	f.add(running)
	f.add(ended)
	for name, c := range map[string]struct {
		id   job.ID
		far  *job.Progress
		want any
	}{
		"of an unknown end": {running.ID, far, map[string]any{"done": 2.0, "message": "second"}},
		"half":              {running.ID, &job.Progress{Done: 2, Total: 4}, map[string]any{"done": 2.0, "total": 4.0}},
		"silent":            {running.ID, nil, nil},
		"ended":             {ended.ID, far, nil},
	} {
		far = c.far
		got := s.do(t, "GET", "/api/v1/job/"+string(c.id), "").json(t)
		if diff := cmp.Diff(c.want, got["progress"]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if shows := got["job_attributes"] != nil; shows != (c.id == running.ID) {
			t.Errorf("%s: attributes = %v, want them while it runs", name, got["job_attributes"])
		}
	}
}
