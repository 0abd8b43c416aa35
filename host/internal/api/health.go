package api

import (
	"context"
	"net/http"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// probeTime is how long the probe of readiness may take.
const probeTime = 5 * time.Second

// healthz serves GET /healthz: the process answers.
func (h *Handler) healthz(x *exchange) error {
	return h.writeJSON(x, http.StatusOK, health{Status: "ok", Version: h.version})
}

// readyz serves GET /readyz: jobs can be submitted.
func (h *Handler) readyz(x *exchange) error {
	if h.ready != nil {
		ctx, cancel := context.WithTimeout(x.r.Context(), probeTime)
		defer cancel()
		if err := h.ready(ctx); err != nil {
			return errs.Errorf(errs.Unavailable, "not ready: %w", err)
		}
	}
	return h.writeJSON(x, http.StatusOK, health{Status: "ready"})
}

// getMetrics serves GET /metrics.
func (h *Handler) getMetrics(x *exchange) error {
	if h.metrics == nil {
		return errs.Errorf(errs.NotFound, "this host has no metrics")
	}
	h.metrics.ServeHTTP(x, x.r)
	return nil
}

// health is the answer of a probe.
type health struct {
	Status  string `json:"status"`
	Version string `json:"version,omitempty"`
}
