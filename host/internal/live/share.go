package live

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Store keeps reports for other hosts.
type Store interface {
	SaveReports(ctx context.Context, host string, epoch int64, reports map[job.Lease]job.Report) error
}

// Sharing says how others are to know of reports.
type Sharing struct {
	Store   Store
	Host    string // id of this one
	Epoch   int64
	Company func() bool // whether there are other hosts; without, nothing is shared
	Log     hclog.Logger
}

// Times of sharing: how often, and how old what was said first is by then, so that short
// jobs cost nothing.
const (
	shareTime = 2 * time.Second
	leastAge  = time.Second
)

// mostShared bounds what is shared of an attempt, bytes. The outputs of one that shows
// more are known to others when it has ended.
const mostShared = 64 << 10

// Share lets other hosts know what the attempts say that run here, until ctx is done.
func (r *Reports) Share(ctx context.Context, s Sharing) error {
	tick := time.NewTicker(shareTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !s.Company() {
			continue
		}
		fresh := r.take(time.Now().Add(-leastAge))
		if len(fresh) == 0 {
			continue
		}
		if err := s.Store.SaveReports(ctx, s.Host, s.Epoch, fresh); err != nil && ctx.Err() == nil {
			s.Log.Debug("other hosts do not know yet how far jobs are", "jobs", len(fresh), "error", err)
			r.again(fresh)
		}
	}
}

// take returns what is new of attempts that have said something before a time.
func (r *Reports) take(before time.Time) map[job.Lease]job.Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := map[job.Lease]job.Report{}
	for _, of := range r.of {
		if of.shared || of.since.After(before) {
			continue
		}
		of.shared = true
		report := of.Report
		size := 0
		for _, o := range report.Outputs {
			size += len(o.Key) + len(o.Value)
		}
		if size > mostShared {
			report.Outputs = nil
		}
		fresh[of.lease] = report
	}
	return fresh
}

// again has reports taken once more.
func (r *Reports) again(reports map[job.Lease]job.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range reports {
		if of := r.of[l.JobID]; of != nil {
			of.shared = false
		}
	}
}
