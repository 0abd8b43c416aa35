package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/registry"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// wireObject is a command or a cluster as clients know it.
type wireObject struct {
	ID             string                       `json:"id"`
	Name           string                       `json:"name"`
	Version        string                       `json:"version,omitempty"`
	Description    string                       `json:"description,omitempty"`
	User           string                       `json:"user,omitempty"`       // who has changed it by the API, as existing clients read it
	Status         catalog.Status               `json:"status"`               // in force
	Tags           tag.Set                      `json:"tags"`                 // with the system tags
	Attributes     map[string]catalog.Attribute `json:"attributes,omitempty"` // shown with its jobs
	Context        json.RawMessage              `json:"context"`
	MaxRunning     int                          `json:"max_running,omitempty"`
	CreatedAt      int64                        `json:"created_at"` // unix seconds
	UpdatedAt      int64                        `json:"updated_at"`
	ManagedBy      catalog.Owner                `json:"managed_by"`
	Revision       int64                        `json:"revision"`
	UpdatedBy      string                       `json:"updated_by"`
	StatusOverride catalog.Status               `json:"status_override,omitempty"`
	File           string                       `json:"file,omitempty"` // host:path that declares it

	*wireCommand
	Lease *wireLease `json:"lease,omitempty"`
}

// wireCommand is what only commands have.
type wireCommand struct {
	Plugin        string      `json:"plugin"`
	PluginVersion string      `json:"plugin_version,omitempty"`
	IsSync        bool        `json:"is_sync"`
	ClusterTags   any         `json:"cluster_tags"` // one set: a list; several: a list of lists
	Timeout       string      `json:"timeout,omitempty"`
	Retry         *wireRetry  `json:"retry,omitempty"`
	MaxTimeout    string      `json:"max_timeout,omitempty"`
	MaxAttempts   int         `json:"max_attempts,omitempty"`
	MaxPriority   *int        `json:"max_priority,omitempty"`
	Keep          string      `json:"keep,omitempty"`
	OnShutdown    string      `json:"on_shutdown,omitempty"`
	Limits        *wireBounds `json:"limits,omitempty"`
}

// wireBounds are the limits of jobs, as they are written in a definition.
type wireBounds struct {
	Memory    int64  `json:"memory,omitempty"`
	CPU       string `json:"cpu,omitempty"`
	OpenFiles int64  `json:"open_files,omitempty"`
	Core      int64  `json:"core,omitempty"`
}

// wireLease is the lease of a cluster that has declared itself.
type wireLease struct {
	TTL   string     `json:"ttl"`
	Until *time.Time `json:"until,omitempty"` // by the clock of the store
	Over  bool       `json:"over"`
}

func (h *Handler) wireObject(e *catalog.Entry) *wireObject {
	o := e.Object()
	w := &wireObject{
		ID: o.ID, Name: o.Name, Version: o.Version, Description: o.Description, Status: e.Status(), Tags: registry.Tags(o),
		Attributes: o.Attributes, Context: h.registry.Public(e), CreatedAt: seconds(e.CreatedAt), UpdatedAt: seconds(e.UpdatedAt),
		ManagedBy: e.Owner, Revision: e.Revision, UpdatedBy: e.UpdatedBy, StatusOverride: e.Override, File: e.Source,
	}
	if e.Owner == catalog.ByAPI {
		w.User = e.UpdatedBy
	}
	if e.Kind == catalog.CommandKind {
		w.MaxRunning, w.wireCommand = e.Command.MaxRunning, wireCommandOf(e.Command)
		return w
	}
	w.MaxRunning = e.Cluster.MaxRunning
	if e.Owner == catalog.ByLease {
		w.Lease = &wireLease{TTL: e.LeaseTTL.String(), Until: moment(e.LeaseUntil), Over: e.LeaseOver}
	}
	return w
}

func wireCommandOf(c *catalog.Command) *wireCommand {
	w := &wireCommand{
		Plugin: c.Plugin, PluginVersion: c.PluginVersion, IsSync: c.Sync, Timeout: period(c.Timeout), Retry: wirePolicy(c.Retry),
		MaxTimeout: period(c.Bounds.Timeout), MaxAttempts: c.Bounds.Attempts, MaxPriority: c.Bounds.Priority, Keep: period(c.Keep),
	}
	if w.Retry != nil && w.Retry.On == nil {
		w.Retry.On = []job.Class{}
	}
	switch len(c.ClusterTags) {
	case 0:
		w.ClusterTags = []string{}
	case 1:
		w.ClusterTags = c.ClusterTags[0]
	default:
		w.ClusterTags = c.ClusterTags
	}
	if c.Detach {
		w.OnShutdown = "detach"
	}
	if l := c.Limits; l != (catalog.Limits{}) {
		w.Limits = &wireBounds{Memory: l.MemoryBytes, CPU: period(time.Duration(l.CPUSeconds) * time.Second), OpenFiles: l.OpenFiles, Core: l.CoreBytes}
	}
	return w
}

// period writes a length of time as definitions have it; "" for none.
func period(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// writeObject answers with an object.
func (h *Handler) writeObject(x *exchange, e *catalog.Entry) error {
	setTag(x, e)
	return h.writeJSON(x, http.StatusOK, h.wireObject(e))
}

// writeObjectStatus answers with the status of an object.
func (h *Handler) writeObjectStatus(x *exchange, e *catalog.Entry) error {
	setTag(x, e)
	return h.writeJSON(x, http.StatusOK, struct {
		UpdatedAt      int64          `json:"updated_at"` // unix seconds
		Status         catalog.Status `json:"status"`
		StatusOverride catalog.Status `json:"status_override,omitempty"`
		Revision       int64          `json:"revision"`
	}{seconds(e.UpdatedAt), e.Status(), e.Override, e.Revision})
}

// setTag names the revision that is answered with. Of a lease, its end is a part of
// the answer that changes without another revision.
func setTag(x *exchange, e *catalog.Entry) {
	tag := strconv.FormatInt(e.Revision, 10)
	if e.Owner == catalog.ByLease {
		tag += leaseMark + strconv.FormatInt(e.LeaseUntil.UnixMicro(), 36)
	}
	x.Header().Set("ETag", strconv.Quote(tag))
}

// leaseMark divides the revision in an entity tag from the end of a lease.
const leaseMark = "-"
