package api

import (
	"context"
	"io"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
)

// Jobs is the service behind the API. Its errors have a kind of package errs;
// one without is a defect of the host.
type Jobs interface {
	// Submit chooses a pair, records the job durably and lets it run. It bounds
	// its own time: it is not canceled when the client goes away, so that a job
	// which was recorded is never lost sight of. The request's strings and sizes
	// have been checked; whether it fits the plugin's schema has not. An error
	// about a job that may have been recorded carries its id. When key, an
	// idempotency key of the user, stands for a job already, that one is returned,
	// which may have ended.
	Submit(ctx context.Context, user string, r job.Request, w jobs.Waiting, key string) (*job.Job, error)

	// Upload stores a file of a user for jobs to come. When sum is not "" and not the
	// SHA-256 of the content, it is errs.Invalid.
	Upload(ctx context.Context, user, sum string, r io.Reader) (job.Attachment, error)

	// Uploaded returns what is known of such a file; errs.NotFound when it is not there.
	Uploaded(ctx context.Context, user, sum string) (job.Attachment, error)

	// Attachment opens a file that came with a job. Unknown: errs.NotFound; one that only
	// another host has: an *jobs.Elsewhere.
	Attachment(ctx context.Context, id job.ID, name string) (job.Attachment, io.ReadSeekCloser, error)

	// Wait blocks until the job has ended or ctx is done, and returns the job as
	// it then is, with its result when it has ended. That ctx is done is no
	// error.
	Wait(ctx context.Context, id job.ID) (*job.Job, error)

	// Attempts returns the attempts of a job that have ended, the first one first.
	Attempts(ctx context.Context, id job.ID) ([]job.Attempt, error)

	// WhyWaiting says why a job waits; nil when it does not, or not any more.
	WhyWaiting(ctx context.Context, id job.ID) (*job.Wait, error)

	// Resolve says which pair a request would get now and why, and does nothing. The
	// error is the one that Submit would give; when it is that there is no pair, the
	// reasons are returned beside it.
	Resolve(r job.Request) (*jobs.Explained, error)

	// Explain says why a job has its pair. Unknown: errs.NotFound.
	Explain(ctx context.Context, id job.ID) (*jobs.Explained, error)

	// Get returns a job. Unknown: errs.NotFound.
	Get(ctx context.Context, id job.ID) (*job.Job, error)

	// List returns a part of the jobs.
	List(ctx context.Context, f job.Filter) (job.Page, error)

	// Cancel asks a job to stop and returns its status after that: Canceling, or
	// a final one.
	Cancel(ctx context.Context, user string, id job.ID, why jobs.CancelReason) (job.Status, error)

	// Log opens a text stream of an attempt of a job, 0 of the latest, at any time of
	// its life. One that the job has not had is errs.NotFound, and what only another
	// host has a *jobs.Elsewhere.
	Log(ctx context.Context, id job.ID, s job.Stream, attempt int) (jobs.Log, error)

	// Result opens the content of a job's result: of a table, its JSON. Before
	// the end it is errs.Conflict, with the status in the message; ended without
	// one, errs.NotFound; a *jobs.Elsewhere when another host has it.
	Result(ctx context.Context, id job.ID) (*job.Job, io.ReadSeekCloser, error)
}
