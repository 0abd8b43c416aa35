package queue

import (
	"context"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// Cancel asks for the end of a job and returns its status after that: CANCELING
// while it runs, else a final one.
func (q *Queue) Cancel(ctx context.Context, id job.ID, by string, reason pluginhost.StopReason) (job.Status, error) {
	c, err := q.Store.Cancel(ctx, id, by)
	if err != nil {
		return "", err
	}
	if c.Waited {
		q.Observer.Passed(job.Canceled, 1)
	}
	switch {
	case c.Status != job.Canceling:
		q.Word.SayEnded(id) // it may be by this
	case c.Host == q.Host:
		q.stop(id, &pluginhost.Stop{Reason: reason, Message: canceledBy(by, reason), Grace: q.Grace})
	default:
		q.Word.SayCancelAsked(c.Host, id)
	}
	return c.Status, nil
}

// heed looks for wishes to cancel whenever there may be some.
func (q *Queue) heed(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.asked:
			q.heedWishes(ctx)
		}
	}
}

// CancelAsked is what another host says when somebody has asked there to cancel a
// job that this one has.
func (q *Queue) CancelAsked() { signal(q.asked) }

// heedWishes stops the attempts whose cancel was asked for on another host, or
// just before they began here.
func (q *Queue) heedWishes(ctx context.Context) {
	wishes, err := q.Store.Canceling(ctx, q.Host, q.Epoch)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		q.Log.Warn("wishes to cancel could not be read", "error", err)
		return
	}
	for _, w := range wishes {
		q.stop(w.JobID, &pluginhost.Stop{Reason: pluginhost.StopUser, Message: canceledBy(w.By, pluginhost.StopUser), Grace: q.Grace})
	}
}

func canceledBy(by string, reason pluginhost.StopReason) string {
	if reason == pluginhost.StopClientGone {
		return "canceled because the caller that waited for it has gone"
	}
	return "canceled by " + by
}
