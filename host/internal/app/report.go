package app

import (
	"context"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// report returns what is known of a job that a host has: of one that runs elsewhere, as
// it was seconds ago.
func (h *host) report(ctx context.Context, j *job.Job) job.Report {
	var r job.Report
	if j.HostID == h.dir.host {
		r = h.reports.Of(j.ID)
	} else if said, err := h.store.Report(ctx, j.ID); err == nil {
		r = said
	} else {
		h.log.Debug("what a job says that another host runs is not known", "job_id", j.ID, "error", err)
	}
	r.Outputs = h.runner.Shown(j, r.Outputs)
	return r
}
