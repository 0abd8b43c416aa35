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
			r.Log.Warn("a folder belongs to a job that the store does not know: it was not kept, or is of a time that a restore has undone. Remove it by hand", "folder", filepath.Join(r.Folder, folder.Name()))
		case err != nil:
			r.Log.Warn("old folders of jobs could not be looked for", "error", err)
			return
		case j.Status.Final():
			r.sweep(j)
		}
	}
}

// Discard removes the folder of an attempt of an earlier life of this host, whose
// end is recorded now. It stays where it has logs that are kept nowhere else.
func (r *Runner) Discard(e job.End) { r.sweepOne(e.JobID, e.Attempt, e.Logs) }

// sweep removes the folders of the attempts of an ended job. The logs of earlier ones
// were stored or handed on when they ended; where that could not be, because the job
// went to another host, they are those of an attempt that does not count any more.
func (r *Runner) sweep(j *job.Job) {
	for attempt := 1; attempt < j.Attempt; attempt++ {
		if folder := r.folder(j.ID, attempt); exists(folder) {
			r.remove(folder)
			r.Log.Info("the folder of an earlier attempt of an ended job was removed", "job_id", j.ID, "attempt", attempt)
		}
	}
	r.sweepOne(j.ID, j.Attempt, j.Logs)
}

func (r *Runner) sweepOne(id job.ID, attempt int, stored job.Logs) {
	folder := r.folder(id, attempt)
	if !exists(folder) {
		return
	}
	if unkept(folder, "stdout", stored.Stdout) || unkept(folder, "stderr", stored.Stderr) {
		r.Log.Warn("a folder has logs of an ended job that could not be stored; it stays", "folder", folder)
		return
	}
	r.remove(folder)
	r.Log.Info("the folder of an ended attempt was removed", "job_id", id, "attempt", attempt)
}

func exists(folder string) bool {
	_, err := os.Lstat(folder)
	return err == nil
}

// unkept reports whether a folder has a stream that is not stored under a key.
func unkept(folder, stream, key string) bool {
	if key != "" {
		return false
	}
	info, err := os.Lstat(filepath.Join(folder, "logs", stream))
	return err == nil && info.Size() > 0
}
