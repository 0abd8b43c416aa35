package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Plugin is what runs jobs on a host, with its builds.
type Plugin struct {
	Name           string          `json:"name"`
	Version        string          `json:"version"`
	State          string          `json:"state"`
	Builds         []Build         `json:"builds"`
	Docs           string          `json:"docs"`            // of a single plugin only, as are the next two
	SettingsSchema json.RawMessage `json:"settings_schema"` // JSON Schema 2020-12
	InputSchema    json.RawMessage `json:"input_schema"`

	Raw json.RawMessage `json:"-"` // as the host sent it; of a single plugin only
}

// Build is one binary of a plugin.
type Build struct {
	Version       string    `json:"version"`
	SHA256        string    `json:"sha256"`
	Path          string    `json:"path"`
	Serves        bool      `json:"serves"` // it takes new jobs
	State         string    `json:"state"`
	StateTime     time.Time `json:"state_time"`
	UptimeSeconds int64     `json:"uptime_seconds"`
	PID           int       `json:"pid"`
	Isolation     string    `json:"isolation"` // "shared", or "per-job": a process for each job
	Processes     []Process `json:"processes"` // of single jobs, beside that of PID
	RunningJobs   int       `json:"running_jobs"`
	Restarts      int       `json:"restarts"`
	Error         string    `json:"error"`
}

// Process is the process that an attempt of a job has of its own.
type Process struct {
	PID           int    `json:"pid"`
	Attempt       string `json:"attempt"`
	UptimeSeconds int64  `json:"uptime_seconds"`
}

// Plugins returns the plugins of the host, and the answer as it came.
func (c *Client) Plugins(ctx context.Context) ([]Plugin, json.RawMessage, error) {
	var page struct {
		Data []Plugin `json:"data"`
	}
	raw, err := c.call(ctx, http.MethodGet, "/plugins", nil, nil, &page)
	return page.Data, raw, err
}

// Plugin returns one plugin.
func (c *Client) Plugin(ctx context.Context, name string) (*Plugin, error) {
	p := &Plugin{}
	raw, err := c.call(ctx, http.MethodGet, "/plugin/"+url.PathEscape(name), nil, nil, p)
	p.Raw = raw
	return p, err
}
