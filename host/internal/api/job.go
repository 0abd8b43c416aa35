package api

import (
	"net/http"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
)

// getJob serves GET /job/{id}.
func (h *Handler) getJob(x *exchange) error {
	j, err := h.readJob(x)
	if err != nil {
		return err
	}
	w := wire(j)
	if j.Status.Final() || j.Attempt > 1 || j.Status == job.New && j.Attempt > 0 {
		attempts, err := h.jobs.Attempts(x.r.Context(), j.ID)
		if err != nil {
			return err
		}
		w.Attempts = wireAttempts(attempts)
	}
	if j.Status == job.New {
		waiting, err := h.jobs.WhyWaiting(x.r.Context(), j.ID)
		if err != nil {
			return err
		}
		w.Waiting = wireWait(waiting)
	}
	if h.report != nil && !j.Status.Final() && j.Status != job.New {
		report := h.report(x.r.Context(), j)
		w.Progress, w.JobAttributes = wireProgressOf(report.Progress), wireAttributes(report.Outputs)
	}
	return h.writeJSON(x, http.StatusOK, w)
}

// getStatus serves GET /job/{id}/status.
func (h *Handler) getStatus(x *exchange) error {
	j, err := h.readJob(x)
	if err != nil {
		return err
	}
	return h.writeJSON(x, http.StatusOK, statusOf(j))
}

// readJob returns the job that the path names.
func (h *Handler) readJob(x *exchange) (*job.Job, error) {
	id, err := x.jobID()
	if err != nil {
		return nil, err
	}
	return h.jobAfterWait(x, id, true)
}

// cancelJob serves POST /job/{id}/cancel. Its body is not read.
func (h *Handler) cancelJob(x *exchange) error {
	id, err := x.jobID()
	if err != nil {
		return err
	}
	status, err := h.jobs.Cancel(x.r.Context(), x.user, id, jobs.ByUser)
	if err != nil {
		return err
	}
	return h.writeJSON(x, http.StatusOK, wireStatus{Status: status})
}

// jobStatuses serves GET /job/statuses.
func (h *Handler) jobStatuses(x *exchange) error {
	return h.writeJSON(x, http.StatusOK, job.Statuses())
}
