package queue

import (
	"context"
	"time"
)

// turnOver does what time does to jobs that wait: those that are due may run, and
// those whose deadline has passed end. It learns as well what holds others back.
func (q *Queue) turnOver(ctx context.Context) {
	for {
		n, err := q.Store.Due(ctx)
		if err != nil {
			q.Log.Warn("jobs that are due could not be let to run yet", "error", err)
			return
		}
		if n == 0 {
			break
		}
		q.more.Store(true)
	}
	expired, err := q.Store.Expire(ctx)
	if err != nil {
		q.Log.Warn("jobs whose deadline has passed could not be ended yet", "error", err)
		return
	}
	if len(expired) > 0 {
		q.Word.SayEnded(expired...)
		q.Log.Info("jobs were ended because their deadline passed while they waited", "jobs", len(expired))
	}
	lanes, err := q.Store.MustUseLanes(ctx, q.Host)
	if err != nil {
		return // the claim says so, too
	}
	q.lanes.Store(lanes)
	q.expect(ctx)
}

// expect makes the claim loop look when the next job that waits for a time is due.
func (q *Queue) expect(ctx context.Context) {
	due, some, err := q.Store.NextDue(ctx)
	if err == nil && some && due < pollTime {
		time.AfterFunc(due, q.later)
	}
}

// later makes the claim loop look at jobs that wait for their time.
func (q *Queue) later() { signal(q.due) }
