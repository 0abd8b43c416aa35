package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/folder"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// Artifacts keeps files of ended attempts.
type Artifacts interface {
	Keep(ctx context.Context, id job.ID, attempt int, name string, r io.Reader) (key string, size int64, err error)
}

// keep moves the logs that the attempt has left in its folder to where they last,
// and puts the keys into the outcome. It reports whether the folder may go: logs
// that could not be stored stay where they are.
func (r *Runner) keep(ctx context.Context, path string, c job.Claimed, o *job.Outcome) bool {
	root, err := folder.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false // small jobs make no folder
	case errors.Is(err, folder.ErrLink), errors.Is(err, syscall.ENOTDIR):
		r.Log.Warn("a job has put something else in the place of its folder, so it has no logs", c.Fields("error", err)...)
		return true
	case err != nil:
		r.Log.Error("the folder of an attempt cannot be read", c.Fields("error", err)...)
		return false
	}
	defer root.Close()

	logs := &o.Logs
	var stdoutErr, stderrErr error
	logs.Stdout, logs.StdoutBytes, stdoutErr = r.keepFile(ctx, root, c, job.Stdout, o.Resumable)
	logs.Stderr, logs.StderrBytes, stderrErr = r.keepFile(ctx, root, c, job.Stderr, o.Resumable)
	if err := errors.Join(stdoutErr, stderrErr); err != nil {
		r.Log.Error("the logs of a job could not be stored and stay in its folder", c.Fields("folder", path, "error", err)...)
	}
	return stdoutErr == nil && stderrErr == nil
}

// keepResult puts the result of a job that ended well into the outcome, and the
// content of a large one to where it lasts. A result that cannot be stored fails
// the job.
func (r *Runner) keepResult(ctx context.Context, c job.Claimed, result *pluginhost.Result, o *job.Outcome) {
	if result == nil || o.Status != job.Succeeded {
		return
	}
	kept := &job.Result{ContentType: result.ContentType, Rows: result.Rows, Bytes: result.Bytes, Inline: result.Inline}
	if result.Content != nil {
		var err error
		kept.Object, kept.Bytes, err = r.Artifacts.Keep(ctx, c.Job.ID, c.Lease.Attempt, "result", result.Content)
		if err != nil {
			o.Status = job.Failed
			o.Error = &job.Error{Class: storeClass(err), Message: fmt.Sprintf("the result could not be stored: %v", err)}
			return
		}
	}
	o.Result = kept
}

// keepFile stores a stream of the folder, or its begin and end where it is longer
// than what is kept, and returns its key and how much was written. A missing or empty
// one has no key, and neither has what a job has put in its place. GoesOn says that
// the next attempt has the stream.
func (r *Runner) keepFile(ctx context.Context, root *os.Root, c job.Claimed, s job.Stream, goesOn bool) (key string, size int64, err error) {
	file, name := "logs/"+string(s), string(s)
	// The plugin can still write here: a link must not lead out, which root sees
	// to, and a pipe must not block.
	f, err := root.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", 0, nil
	}
	if err != nil {
		return "", 0, r.unlessOdd(c, root, file, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	if !info.Mode().IsRegular() {
		return "", 0, r.unlessOdd(c, root, file, nil)
	}
	if info.Size() == 0 {
		return "", 0, nil
	}
	size = info.Size() // what the job has left behind may still write
	if r.MaxLogBytes > 0 {
		size = min(size, r.MaxLogBytes)
	}
	var content io.Reader = io.NewSectionReader(f, 0, size)
	if half := r.KeepLogBytes / 2; half > 0 && size > 2*half+job.CutMarkBytes { // else the mark is no shorter
		name += job.CutEnd
		content = io.MultiReader(
			io.NewSectionReader(f, 0, half), strings.NewReader(job.CutMark(size-2*half)), io.NewSectionReader(f, size-half, half))
	}
	if goesOn {
		name += job.OnEnd
	}
	key, _, err = r.Artifacts.Keep(ctx, c.Job.ID, c.Lease.Attempt, name, content)
	return key, size, err
}

// remove deletes the folder of an attempt, and that of its job when it is the
// last one.
func (r *Runner) remove(folder string) {
	if err := os.RemoveAll(folder); err != nil {
		r.Log.Warn("the folder of an ended attempt could not be removed", "folder", folder, "error", err)
		return
	}
	_ = os.Remove(filepath.Dir(folder)) // not empty: another attempt is there
}

// unlessOdd returns why a stream cannot be read, unless the job has put something
// else than a regular file in its place: then there is nothing to keep.
func (r *Runner) unlessOdd(c job.Claimed, root *os.Root, file string, err error) error {
	for part := file; part != "."; part = filepath.Dir(part) {
		info, lerr := root.Lstat(part)
		if lerr == nil && (info.Mode().IsRegular() && part == file || info.IsDir() && part != file) {
			continue
		}
		r.Log.Warn("a job has put something else in the place of its stream, which is not kept", c.Fields("file", part)...)
		return nil
	}
	return err
}

// storeClass returns the class of why something could not be stored: that there is no
// place for it now, or that it was not what it should be.
func storeClass(err error) job.Class {
	full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EIO)
	if full || errs.Is(err, errs.Unavailable) {
		return job.Unavailable
	}
	return job.Internal
}
