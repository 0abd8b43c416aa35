package api

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/registry"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// putLease serves PUT /cluster/{id}/lease.
func (h *Handler) putLease(x *exchange) error {
	if err := h.operate(x); err != nil {
		return err
	}
	var sent struct {
		TTL         json.RawMessage `json:"ttl"`
		Name        json.RawMessage `json:"name"`
		Version     json.RawMessage `json:"version"`
		Description json.RawMessage `json:"description"`
		Tags        json.RawMessage `json:"tags"`
		Capacity    json.RawMessage `json:"capacity"`
		Context     json.RawMessage `json:"context"`
	}
	if err := h.readObject(x, &sent); err != nil {
		return err
	}
	var c checker
	l := registry.Lease{
		TTL:         c.duration("ttl", sent.TTL),
		Name:        c.text("name", sent.Name, maxName),
		Version:     c.text("version", sent.Version, maxName),
		Description: c.text("description", sent.Description, maxName),
		Capacity:    c.whole("capacity", sent.Capacity),
	}
	if !absent(sent.Context) {
		l.Context = sent.Context
	}
	for i, item := range c.list("tags", sent.Tags, "a list of tags") {
		l.Tags = append(l.Tags, c.text(fmt.Sprintf("tags/%d", i), item, tag.MaxLen))
	}
	if absent(sent.TTL) {
		c.fault(errs.Invalid, "ttl", `is missing; say how long the cluster may be silent, such as "30s"`)
	}
	if err := c.err(); err != nil {
		return err
	}
	e, err := h.registry.Lease(x.r.Context(), x.user, objectID(x), l)
	if err != nil {
		return err
	}
	return h.writeObject(x, e)
}

// wireHealth is the health of clusters.
type wireHealth struct {
	Healthy bool        `json:"healthy"`
	Checks  []wireCheck `json:"checks"`
}

// wireCheck is that of one.
type wireCheck struct {
	ClusterID   string `json:"cluster_id"`
	ClusterName string `json:"cluster_name"`
	Plugin      string `json:"plugin"`
	Status      string `json:"status"` // ok, error, unchecked
	LatencyMS   int64  `json:"latency_ms"`
	Error       string `json:"error,omitempty"`
}

// listHealth serves GET /clusters/health.
func (h *Handler) listHealth(x *exchange) error {
	return h.writeHealth(x, h.registry.Health(x.r.Context())...)
}

// getHealth serves GET /cluster/{id}/health.
func (h *Handler) getHealth(x *exchange) error {
	check, err := h.registry.HealthOf(x.r.Context(), objectID(x))
	if err != nil {
		return err
	}
	return h.writeHealth(x, check)
}

func (h *Handler) writeHealth(x *exchange, checks ...registry.Check) error {
	w := wireHealth{Healthy: true, Checks: make([]wireCheck, len(checks))}
	status := http.StatusOK
	for i, c := range checks {
		w.Checks[i] = wireCheck{
			ClusterID: c.Cluster.ID, ClusterName: c.Cluster.Name, Plugin: c.Plugin,
			Status: c.Status, LatencyMS: c.Took.Milliseconds(), Error: c.Error,
		}
		if c.Status == registry.Ill {
			w.Healthy, status = false, http.StatusServiceUnavailable
		}
	}
	return h.writeJSON(x, status, w)
}
