package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
)

// Health is how clusters are, as their plugins see them.
type Health struct {
	Healthy bool          `json:"healthy"`
	Checks  []HealthCheck `json:"checks"`

	Raw json.RawMessage `json:"-"` // the answer as it came
}

// HealthCheck is what a plugin says of a cluster.
type HealthCheck struct {
	ClusterID   string `json:"cluster_id"`
	ClusterName string `json:"cluster_name"`
	Plugin      string `json:"plugin"`
	Status      string `json:"status"` // ok, error or unchecked
	LatencyMS   int64  `json:"latency_ms"`
	Error       string `json:"error"`
}

// Health checks all clusters. That one of them fails is no error.
func (c *Client) Health(ctx context.Context) (*Health, error) {
	return c.health(ctx, "/clusters/health")
}

// ClusterHealth checks one cluster. That it fails is no error.
func (c *Client) ClusterHealth(ctx context.Context, id string) (*Health, error) {
	return c.health(ctx, "/cluster/"+url.PathEscape(id)+"/health")
}

func (c *Client) health(ctx context.Context, path string) (*Health, error) {
	h := &Health{}
	raw, err := c.call(ctx, http.MethodGet, path, nil, nil, h)
	h.Raw = raw
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusServiceUnavailable {
		failing := &Health{Raw: e.Raw}
		if json.Unmarshal(e.Raw, failing) == nil && len(failing.Checks) > 0 {
			return failing, nil
		}
	}
	return h, err
}
