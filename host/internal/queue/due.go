package queue

import (
	"context"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// soonest is the time after which a job that is due is looked for at the earliest:
// while another host moves it, it is due here, too.
const soonest = 50 * time.Millisecond

// turnOver does what time does to jobs that wait, one step of each at a time, so that
// claims need not wait for many: those that are due may run, and those whose deadline
// has passed end. It learns as well what holds others back.
func (q *Queue) turnOver(ctx context.Context) {
	n, err := q.Store.Due(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		q.Log.Warn("jobs that are due could not be let to run yet", "error", err)
	}
	if n > 0 {
		q.more.Store(true)
	}
	if n >= store.DueStep {
		q.later() // the others are moved once what can run has been claimed
	}
	expired, err := q.Store.Expire(ctx)
	if err != nil {
		q.Log.Warn("jobs whose deadline has passed could not be ended yet", "error", err)
	}
	if len(expired) > 0 {
		q.Word.SayEnded(expired...)
		q.Observer.Passed(job.Killed, len(expired))
		q.Log.Info("jobs were ended because their deadline passed while they waited", "jobs", len(expired))
	}
	if lanes, err := q.Store.MustUseLanes(ctx, q.Host); err == nil { // else the claim says so, too
		q.lanes.Store(lanes)
	}
	q.expect(ctx)
}

// expect makes the claim loop look when the next job that waits for a time is due.
// Only that loop may call it.
func (q *Queue) expect(ctx context.Context) {
	due, some, err := q.Store.NextDue(ctx)
	if err != nil || !some || due >= pollTime {
		return
	}
	if q.nextDue != nil {
		q.nextDue.Stop() // one at a time: they would become more with each poll
	}
	q.nextDue = time.AfterFunc(max(due, soonest), q.later)
}

// later makes the claim loop look at jobs that wait for their time.
func (q *Queue) later() { signal(q.due) }
