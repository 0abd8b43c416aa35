package queue

import (
	"context"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// forgetTime is the time between looks for hosts that may be forgotten.
const forgetTime = time.Hour

// reap looks for lost hosts after each heartbeat and takes their jobs.
func (q *Queue) reap(ctx context.Context) {
	forget := time.NewTicker(forgetTime)
	defer forget.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.seen:
			if !q.Alone && q.watchful() {
				q.reapLapsed(ctx)
			}
		case <-forget.C:
			if n, err := q.Store.ForgetHosts(ctx); err == nil && n > 0 {
				q.Log.Info("hosts that are gone for long were forgotten", "hosts", n)
			}
		}
	}
}

func (q *Queue) reapLapsed(ctx context.Context) {
	hosts, err := q.Store.Lapsed(ctx, q.Host)
	if err != nil && ctx.Err() == nil {
		q.Log.Warn("lost hosts could not be looked for", "error", err)
	}
	for _, host := range hosts {
		q.reapHost(ctx, host)
	}
}

func (q *Queue) reapHost(ctx context.Context, host string) {
	var name string
	var again, ended int
	for after := job.ID(""); q.watchful(); {
		r, err := q.Store.Reap(ctx, q.Host, host, after, q.LostAfter)
		if err != nil {
			if ctx.Err() == nil {
				q.Log.Warn("the jobs of a lost host could not be taken yet", "host", host, "error", err)
			}
			break
		}
		name = r.Host
		again += r.Again
		ended += len(r.Ended)
		q.Word.SayEnded(r.Ended...)
		if after = r.Next; after == "" {
			break
		}
	}
	if again+ended == 0 {
		return
	}
	q.Observer.Taken(again, ended)
	q.Log.Warn("a host is lost: what it had runs elsewhere where it may", "host", host, "name", name, "run_elsewhere", again, "ended", ended)
	if again > 0 {
		q.more.Store(true)
		q.look()
		q.Word.SayWorkWaits()
	}
}
