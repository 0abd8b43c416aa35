package runner

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Jobs knows what became of jobs.
type Jobs interface {
	Job(ctx context.Context, id job.ID) (*job.Job, error)
}

// Sweep removes the folders of attempts whose end is recorded. Mostly there are
// none: it is for what a host leaves that dies between the record and the
// removal. Folders with logs that are kept nowhere else stay.
func (r *Runner) Sweep(ctx context.Context, jobs Jobs) {
	folders, err := os.ReadDir(r.Folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Log.Warn("old folders of jobs could not be looked for", "error", err)
	}
	for _, folder := range folders {
		id, err := job.ParseID(folder.Name())
		if err != nil {
			continue
		}
		switch j, err := jobs.Job(ctx, id); {
		case ctx.Err() != nil:
			return
		case errs.Is(err, errs.NotFound):
			r.Log.Warn("a folder belongs to a job that the store does not know; it stays", "folder", folder.Name())
		case err != nil:
			r.Log.Warn("old folders of jobs could not be looked for", "error", err)
			return
		case j.Status.Final():
			r.sweep(j)
		}
	}
}

// sweep removes the folder of the last attempt of an ended job.
func (r *Runner) sweep(j *job.Job) {
	folder := r.folder(j.ID, j.Attempt)
	if _, err := os.Lstat(folder); err != nil {
		return
	}
	if unkept(folder, "stdout", j.Logs.Stdout) || unkept(folder, "stderr", j.Logs.Stderr) {
		r.Log.Warn("a folder has logs of an ended job that could not be stored; it stays", "folder", folder)
		return
	}
	r.remove(folder)
	r.Log.Info("the folder of an ended attempt was removed", "job", j.ID, "attempt", j.Attempt)
}

// unkept reports whether a folder has a stream that is not stored under a key.
func unkept(folder, stream, key string) bool {
	if key != "" {
		return false
	}
	info, err := os.Lstat(filepath.Join(folder, "logs", stream))
	return err == nil && info.Size() > 0
}
