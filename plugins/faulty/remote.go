package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/heimdall-run/heimdall/sdk"
)

// work is what a job does in a remote system, and what it saves of it. The system
// is a folder with a ledger: one line for each thing that was asked of it.
type work struct {
	Remote string `json:"remote"` // the folder
	ID     string `json:"id"`     // of the work, chosen by the job
}

// remote begins the work of a job, or follows that of an earlier attempt.
func remote(_ context.Context, job *sdk.Job[Input]) error {
	in := &job.Input
	if in.Remote == "" {
		return nil
	}
	w := work{Remote: in.Remote, ID: job.ID}
	if job.Resume {
		if _, err := job.Load(&w); err != nil {
			return err
		}
	} else if !in.NoSave {
		if err := job.Save(w); err != nil { // the intent, before the side effect
			return err
		}
	}
	if err := w.join(job); err != nil {
		return err
	}
	if job.Attempt <= in.Crash {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return nil
}

// join follows the work if the system knows it. Else it begins it, unless the job
// only resumes: then it is gone.
func (w work) join(job *sdk.Job[Input]) error {
	known, err := w.known()
	switch {
	case err != nil:
		return err
	case known:
		job.Output("work", "followed")
		return w.note("follow", fmt.Sprint(job.Attempt))
	case job.Resume:
		return sdk.Errorf(sdk.Lost, "the remote system does not know %s", w.ID)
	}
	job.Output("work", "begun")
	return w.note("begin", fmt.Sprint(job.Attempt))
}

// known reports whether the work was begun and not stopped since.
func (w work) known() (bool, error) {
	text, err := os.ReadFile(w.ledger())
	if err != nil && !os.IsNotExist(err) {
		return false, fmt.Errorf("remote system: %w", err)
	}
	known := false
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[1] == w.ID {
			known = !slices.Contains([]string{"stop", "cleanup"}, fields[0])
		}
	}
	return known, nil
}

// note asks something of the system.
func (w work) note(what, detail string) error {
	if err := os.MkdirAll(w.Remote, 0o700); err != nil {
		return fmt.Errorf("remote system: %w", err)
	}
	return book{path: w.ledger(), entry: w.ID}.write(what, " "+detail)
}

func (w work) ledger() string { return filepath.Join(w.Remote, "ledger") }

// stop stops the work of a job that was canceled, unless others go on with it.
func stop(ctx context.Context, job *sdk.Job[Input]) error {
	if job.Input.Remote == "" || ctx.Err() == nil || sdk.Abandoned(ctx) {
		return nil
	}
	w := work{Remote: job.Input.Remote, ID: job.ID}
	return w.note("stop", fmt.Sprint(job.Attempt))
}

// Cleanup stops the work that a lost job may have begun.
func (f *Faulty) Cleanup(_ context.Context, remains sdk.Remains) error {
	if f.CleanupError != "" {
		return sdk.Errorf(sdk.Unavailable, "%s", f.CleanupError)
	}
	all := book{path: f.Cleanups, entry: remains.AttemptID()}
	if err := all.write("cleanup", " "+remains.Reason()); err != nil {
		return err
	}
	var w work
	if ok, err := remains.Load(&w); err != nil || !ok {
		return err
	}
	return w.note("cleanup", remains.AttemptID())
}
