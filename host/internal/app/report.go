package app

import (
	"context"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// report returns what is known of a job that a host has.
func (h *host) report(_ context.Context, j *job.Job) job.Report {
	r := h.reports.Of(j.ID)
	r.Outputs = h.runner.Shown(j, r.Outputs)
	return r
}
