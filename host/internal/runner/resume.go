package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// Lost returns the outcome of an attempt that an earlier life of this host ran
// and that no plugin knows any more, as Run does, with the logs that it has left.
func (r *Runner) Lost(ctx context.Context, c job.Claimed) (o job.Outcome, done func()) {
	lost := &pluginhost.Ended{
		Error: &job.Error{
			Class:   job.Lost,
			Message: "the host stopped while the job ran; whether its work was done is unknown",
		},
		Remains:   true,
		Resumable: c.Job.Status != job.Canceling,
	}
	o, forget := r.outcome(ctx, c, begunAt(c.Job), lost, r.sink(c, nil))
	return o, func() {
		forget()
		r.Plugins.Settle(attemptID(c))
	}
}

// judge decides whether another attempt can go on with the work of one that was
// lost, and waits for a plugin that can. It reports false when the host is left
// before that is known: then a later life of it decides.
func (r *Runner) judge(ctx context.Context, c job.Claimed, begun time.Time, o *job.Outcome) bool {
	command := r.Catalog.Snapshot().Command(c.Job.Pair.CommandID)
	if timeout := r.timeout(c.Job, command); timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, left(timeout, begun), &pluginhost.Stop{
			Reason:  pluginhost.StopTimeout,
			Message: fmt.Sprintf("the job took longer than its timeout of %v", timeout),
		})
		defer cancel()
	}
	if d := c.Job.Deadline; !d.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, d, &pluginhost.Stop{
			Reason:  pluginhost.StopTimeout,
			Message: fmt.Sprintf("the job had not ended at its deadline, %s", d.Format(time.RFC3339)),
		})
		defer cancel()
	}
	err := r.canResume(ctx, c.Job, o.Checkpoint, c.Lease.Attempt)

	stop, stopped := errors.AsType[*pluginhost.Stop](context.Cause(ctx))
	switch {
	case stopped && stop.Reason == pluginhost.StopDetach:
		return false
	case stopped:
		o.Status, o.Error = verdict(&pluginhost.Ended{Error: o.Error, Stop: stop})
	case err != nil:
		o.Error = new(*o.Error)
		o.Error.Message += fmt.Sprintf("; it cannot be resumed: %v", err)
	default:
		o.Resumable = true
		o.Checkpoint = new(*o.Checkpoint)
		o.Checkpoint.Outputs = o.Outputs // some may have come since
	}
	return true
}

// canResume returns why no attempt can go on with the work of a lost one; nil when
// one can.
func (r *Runner) canResume(ctx context.Context, j *job.Job, from *job.Checkpoint, lost int) error {
	command := r.Catalog.Snapshot().Command(j.Pair.CommandID)
	// A later attempt may have saved one by now: then this one's lease is gone, which
	// the next write finds.
	inRow := max(lost-from.Attempt, 0)
	switch {
	case command == nil:
		return fmt.Errorf("command %q is not in force any more", j.Pair.CommandID)
	case inRow >= job.MaxResumes:
		return fmt.Errorf("%d attempts in a row went on from its last checkpoint and came no further", job.MaxResumes)
	}
	pause(ctx, inRow)
	return r.Plugins.CanResume(ctx, command.Plugin, command.PluginVersion, from.Format)
}

// Resume goes on with the work of an attempt whose host was lost, as Run does, when
// it can; else the outcome says that it is lost.
func (r *Runner) Resume(ctx context.Context, c job.Claimed, started func(time.Time)) (o job.Outcome, done func()) {
	err := errors.New("its checkpoint is gone")
	if c.Checkpoint != nil {
		err = r.canResume(ctx, c.Job, c.Checkpoint, c.Lease.Attempt-1)
	}
	if err == nil || ctx.Err() != nil { // Run says how it was stopped
		return r.Run(ctx, c, started)
	}
	lost := &pluginhost.Ended{
		Error:   &job.Error{Class: job.Lost, Message: fmt.Sprintf("the host that had the job was lost; it cannot be resumed: %v", err)},
		Remains: true,
	}
	return r.outcome(ctx, c, begunAt(c.Job), lost, r.sink(c, nil))
}

// pause lets a random time pass that grows with the attempts that came no
// further: what they meet may pass.
func pause(ctx context.Context, inRow int) {
	if inRow == 0 {
		return
	}
	timer := time.NewTimer(rand.N(firstPause << inRow))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// firstPause is half of the longest pause before the second resume in a row.
const firstPause = 100 * time.Millisecond

// Carry moves the logs of the attempt before one that resumes to where that goes
// on with them, and removes what else is left of earlier attempts. It may be
// called again.
func (r *Runner) Carry(c job.Claimed) {
	logs := r.folders(c).Logs
	for attempt := c.Lease.Attempt - 1; attempt > 0; attempt-- {
		earlier := r.folder(c.Job.ID, attempt)
		if err := move(filepath.Join(earlier, "logs"), logs); err != nil {
			r.Log.Error("the logs of a job that is resumed begin anew", c.Fields("error", err)...)
			return
		}
		r.remove(earlier)
	}
}

// move renames a folder unless it is not there, or the new one is.
func move(from, to string) error {
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if err := os.Rename(from, to); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
