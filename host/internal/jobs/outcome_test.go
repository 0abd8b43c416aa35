package jobs_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/artifacts"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
)

func TestResult(t *testing.T) {
	w := &world{}
	s := service(w)
	for name, tt := range map[string]struct {
		job  job.Job
		kind errs.Kind
		want string
	}{
		"not ended":      {job.Job{Status: job.Running}, errs.Conflict, ""},
		"without result": {job.Job{Status: job.Failed}, errs.NotFound, ""},
		"inline":         {job.Job{Status: job.Succeeded, Result: &job.Result{Inline: []byte("content")}}, "", "content"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.job.ID = job.NewID()
			w.put(&tt.job)
			_, r, err := s.Result(t.Context(), tt.job.ID)
			if errs.KindOf(err) != tt.kind {
				t.Fatalf("Result = %v, want kind %q", err, tt.kind)
			}
			if err == nil {
				if got, err := io.ReadAll(r); err != nil || string(got) != tt.want {
					t.Errorf("content = %q, %v, want %q", got, err, tt.want)
				}
			}
		})
	}
}

// A log that was opened before anything was written is read to its end, also
// when its file moves to the artifacts in between.
func TestLog(t *testing.T) {
	data := t.TempDir()
	kept, err := artifacts.Open("file", data)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	for name, openEarly := range map[string]bool{"opened while the file is there": true, "opened before": false} {
		t.Run(name, func(t *testing.T) {
			w := &world{}
			s := jobs.New(jobs.Config{Store: w, Catalog: w, Artifacts: kept, Folder: filepath.Join(data, "jobs"), Host: here})
			s.Use(w, w)
			j := &job.Job{ID: job.NewID(), Status: job.Running, Attempt: 1, HostID: here}
			w.put(j)
			log, err := s.Log(t.Context(), j.ID, job.Stdout, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			size(t, log, 0)

			folder := filepath.Join(data, "jobs", string(j.ID), "1", "logs")
			if err := os.MkdirAll(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(folder, "stdout")
			if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
				t.Fatal(err)
			}
			if openEarly {
				size(t, log, 5)
			}
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			e := ended(j)
			e.Logs.Stdout, e.Logs.StdoutBytes, err = kept.Keep(t.Context(), j.ID, 1, "stdout", f)
			if err := errors.Join(err, f.Close(), os.RemoveAll(folder)); err != nil {
				t.Fatal(err)
			}
			w.attempts = map[job.ID][]job.Attempt{j.ID: {{Attempt: 1, HostID: here, Logs: e.Logs}}}
			w.put(e)
			s.Ended(e)
			for {
				news, over := log.Watch()
				if over {
					break
				}
				<-news
			}
			size(t, log, 5)
			got := make([]byte, 4)
			if _, err := log.ReadAt(got, 1); err != nil || string(got) != "ello" {
				t.Errorf("ReadAt = %q, %v", got, err)
			}
		})
	}
}

func size(t *testing.T, log jobs.Log, want int64) {
	t.Helper()
	if got, err := log.Size(); err != nil || got != want {
		t.Errorf("Size = %d, %v, want %d", got, err, want)
	}
}

// A link in place of the file leads nowhere.
func TestLogFollowsNoLink(t *testing.T) {
	data := t.TempDir()
	secret := filepath.Join(data, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &world{}
	s := jobs.New(jobs.Config{Store: w, Catalog: w, Folder: filepath.Join(data, "jobs"), Host: here})
	s.Use(w, w)
	j := &job.Job{ID: job.NewID(), Status: job.Running, Attempt: 1, HostID: here}
	w.put(j)
	folder := filepath.Join(data, "jobs", string(j.ID), "1", "logs")
	if err := errors.Join(os.MkdirAll(folder, 0o700), os.Symlink(secret, filepath.Join(folder, "stdout"))); err != nil {
		t.Fatal(err)
	}
	log, err := s.Log(t.Context(), j.ID, job.Stdout, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if n, err := log.Size(); !errs.Is(err, errs.Conflict) {
		t.Errorf("Size = %d, %v, want a conflict", n, err)
	}
}
