package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/sdk/client"
)

const (
	// holdFor is how long the host may hold one request of a wait, and holdShown how
	// long when somebody watches the status.
	holdFor   = time.Minute
	holdShown = time.Second

	// pauseFor is the least time between two requests of a wait that are not held.
	pauseFor = time.Second

	// patience is how long a wait goes on while the host does not answer: as long as
	// a restart takes, or another host to take its place.
	patience = 2 * time.Minute
)

// await waits for the end of a job, no longer than the limit; 0: no limit. On a
// terminal it shows how the job is meanwhile.
func (a *app) await(ctx context.Context, c *client.Client, id string, limit time.Duration) (*client.Job, error) {
	waiting := ctx
	if limit > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	line := statusLine{w: a.Stderr, on: isTerminal(a.Stderr)}
	defer line.clear()
	for begun := time.Now(); ; {
		hold := holdFor
		if line.on {
			hold = holdShown
		}
		j, _, err := a.look(waiting, c, id, hold)
		switch {
		case err != nil && ctx.Err() == nil && waiting.Err() != nil:
			return nil, &codeError{code: ExitWaited, err: fmt.Errorf("job %s has not ended after %s; it goes on", id, limit)}
		case err != nil:
			return nil, err
		case j.Status.Final():
			return j, nil
		}
		line.show(fmt.Sprintf("%s %s", situation(j), time.Since(begun).Round(time.Second)))
	}
}

// situation says on one line how a job is that has not ended.
func situation(j *client.Job) string {
	text := "job " + j.ID + " " + string(j.Status)
	if j.Waiting != nil {
		text += " (" + waitingText(j.Waiting) + ")"
	}
	return clean(text)
}

// look returns a job, when it has ended or after so long. While a host that has
// answered before does not, it tries again; troubled says that it had to.
func (a *app) look(ctx context.Context, c *client.Client, id string, hold time.Duration) (j *client.Job, troubled bool, err error) {
	var since time.Time
	for {
		asked := time.Now()
		j, err = c.Await(ctx, id, hold)
		switch {
		case err == nil && (j.Status.Final() || time.Since(asked) >= hold):
			a.reached.Store(true)
			return j, troubled, nil
		case err == nil: // a host that stops answers early: do not storm it
			a.reached.Store(true)
			if pause(ctx, min(pauseFor, hold)) != nil {
				return nil, troubled, ctx.Err()
			}
			return j, troubled, nil
		case ctx.Err() != nil || !a.reached.Load() || !passing(err):
			return nil, troubled, err
		case since.IsZero():
			since, troubled = asked, true
			fmt.Fprintln(a.Stderr, "the server does not answer; the wait goes on")
		case time.Since(since) > patience:
			return nil, troubled, err
		}
		if pause(ctx, pauseFor) != nil {
			return nil, troubled, ctx.Err()
		}
	}
}

// pause waits for so long.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// passing reports whether an error may be gone when a request is repeated: the
// host is not there, or cannot answer just now.
func passing(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || client.IsUnavailable(err) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// endOf returns how the program ends after a job: nil if it succeeded.
func endOf(j *client.Job) error {
	code := ExitFailed
	switch j.Status {
	case client.StatusSucceeded:
		return nil
	case client.StatusKilled:
		code = ExitKilled
	case client.StatusCanceled:
		code = ExitCanceled
	default:
		if j.ExitCode != nil && *j.ExitCode > 0 && *j.ExitCode < 256 {
			code = *j.ExitCode
		}
	}
	err := fmt.Errorf("job %s %s", j.ID, j.Status)
	if j.Error != "" {
		err = fmt.Errorf("%w: %s", err, j.Error)
	}
	return &codeError{code: code, err: err}
}

// statusLine is a line of a terminal that is written again and again.
type statusLine struct {
	w     io.Writer
	on    bool
	shown string
}

func (l *statusLine) show(text string) {
	if l.on && text != l.shown {
		fmt.Fprint(l.w, "\r\x1b[K", strings.TrimSpace(text))
		l.shown = text
	}
}

// clear takes the line away.
func (l *statusLine) clear() {
	if l.shown != "" {
		fmt.Fprint(l.w, "\r\x1b[K")
		l.shown = ""
	}
}
