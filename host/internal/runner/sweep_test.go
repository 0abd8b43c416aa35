package runner_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// known is what the store knows of jobs.
type known map[job.ID]*job.Job

func (k known) Job(_ context.Context, id job.ID) (*job.Job, error) {
	if k[id] == nil {
		return nil, errs.Errorf(errs.NotFound, "there is no job %s", id)
	}
	return k[id], nil
}

func TestSweep(t *testing.T) {
	for name, tt := range map[string]struct {
		job   *job.Job // nil: the store does not know it
		log   string
		stays bool
	}{
		"its end is recorded":     {&job.Job{Status: job.Succeeded, Attempt: 1, Logs: job.Logs{Stdout: "jobs/x/1/stdout"}}, "text", false},
		"it has written nothing":  {&job.Job{Status: job.Failed, Attempt: 1}, "", false},
		"its log was not stored":  {&job.Job{Status: job.Failed, Attempt: 1}, "text", true},
		"it runs":                 {&job.Job{Status: job.Running, Attempt: 1}, "text", true},
		"a later one has its log": {&job.Job{Status: job.Failed, Attempt: 3}, "", false},
		"it was tried again":      {&job.Job{Status: job.Failed, Attempt: 2}, "text", false},
		"it is from another life": {nil, "text", true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			id := job.NewID()
			jobs := known{}
			if tt.job != nil {
				jobs[id] = tt.job
				tt.job.ID = id
			}
			folder := filepath.Join(f.folder, string(id), "1")
			write(t, filepath.Join(folder, "logs"), "stdout", tt.log)
			write(t, filepath.Join(f.folder, "no job"), "file", "")
			f.runner(nil).Sweep(t.Context(), jobs)
			if _, err := os.Stat(folder); (err == nil) != tt.stays {
				t.Errorf("the folder: %v, want that it stays: %v", err, tt.stays)
			}
			if _, err := os.Stat(filepath.Dir(folder)); (err == nil) != tt.stays {
				t.Errorf("the folder of the job: %v, want that it stays: %v", err, tt.stays)
			}
			if _, err := os.Stat(filepath.Join(f.folder, "no job")); err != nil {
				t.Errorf("what is no folder of a job: %v, want it untouched", err)
			}
		})
	}
	newFixture(t).runner(nil).Sweep(t.Context(), known{}) // there is no folder yet
}
