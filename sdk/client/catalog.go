package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Kind is what a host has a catalog of.
type Kind string

// The kinds of objects.
const (
	CommandKind Kind = "command"
	ClusterKind Kind = "cluster"
)

// Catalog is access to the objects of one kind: those of all hosts of a store.
type Catalog struct {
	Kind Kind

	c *Client
}

// Commands returns access to the commands.
func (c *Client) Commands() Catalog { return Catalog{CommandKind, c} }

// Clusters returns access to the clusters.
func (c *Client) Clusters() Catalog { return Catalog{ClusterKind, c} }

// Object is a command or a cluster. Fields that are secret are not in its
// context.
type Object struct {
	ID             string          `json:"id"`
	Name           string          `json:"name"`
	Version        string          `json:"version"`
	Description    string          `json:"description"`
	Status         string          `json:"status"`          // ACTIVE, INACTIVE or DELETED; what is in force
	StatusOverride string          `json:"status_override"` // that one, when it was set by the API over what is declared
	Tags           []string        `json:"tags"`
	Context        json.RawMessage `json:"context"` // the plugin's settings that belong to it
	ManagedBy      string          `json:"managed_by"`
	File           string          `json:"file"` // that declares it
	Revision       int64           `json:"revision"`
	CreatedAt      int64           `json:"created_at"` // unix seconds
	UpdatedAt      int64           `json:"updated_at"` // unix seconds
	UpdatedBy      string          `json:"updated_by"`
	MaxRunning     int             `json:"max_running"`

	// Attributes are shown with its jobs, by name; each value is a template.
	Attributes map[string]Attribute `json:"attributes"`

	// Of commands.
	Plugin        string          `json:"plugin"`
	PluginVersion string          `json:"plugin_version"`
	IsSync        bool            `json:"is_sync"`
	ClusterTags   json.RawMessage `json:"cluster_tags"` // a list, or a list of lists
	Timeout       string          `json:"timeout"`

	// Lease is that of a cluster that has declared itself; nil: it has none.
	Lease *Lease `json:"lease"`

	Raw json.RawMessage `json:"-"` // the answer that it was read from, as it came; nil in a list
}

// ObjectFilter chooses objects. Texts are patterns, as in Filter.
type ObjectFilter struct {
	ID, Name, Version, Plugin string
	Statuses                  []string // any of them
	Tags                      []string // all of them

	Limit     int    // of a page; 0: the host's default
	Cursor    string // "" for the first page
	OrderBy   string // "": as the host has it
	Direction string // asc, desc; "": as the host has it
}

// ObjectPage is a part of a list of objects.
type ObjectPage struct {
	Objects    []Object `json:"data"`
	HasMore    bool     `json:"has_more"`
	NextCursor string   `json:"next_cursor"`

	Raw json.RawMessage `json:"-"` // the answer as it came
}

// List returns a part of the objects that the filter chooses.
func (k Catalog) List(ctx context.Context, f ObjectFilter) (*ObjectPage, error) {
	q := make(url.Values)
	for name, value := range map[string]string{
		"id": f.ID, "name": f.Name, "version": f.Version, "plugin": f.Plugin,
		"cursor": f.Cursor, "order_by": f.OrderBy, "direction": f.Direction,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for _, s := range f.Statuses {
		q.Add("status", s)
	}
	for _, t := range f.Tags {
		q.Add("tags", t)
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	path := "/" + string(k.Kind) + "s"
	if query := q.Encode(); query != "" {
		path += "?" + query
	}
	p := &ObjectPage{}
	raw, err := k.c.call(ctx, http.MethodGet, path, nil, nil, p)
	p.Raw = raw
	return p, err
}

// Get returns an object.
func (k Catalog) Get(ctx context.Context, id string) (*Object, error) {
	return k.object(ctx, http.MethodGet, id, "", nil, nil)
}

// Revision is an object as a change has made it, at UpdatedAt and by UpdatedBy.
type Revision struct {
	Object
	Changed []string `json:"changed"` // fields that differ from the revision before; none of the first
}

// RevisionPage is a part of the history of an object, the newest first.
type RevisionPage struct {
	Revisions  []Revision `json:"data"`
	HasMore    bool       `json:"has_more"`
	NextCursor string     `json:"next_cursor"`

	Raw json.RawMessage `json:"-"` // the answer as it came
}

// History returns a part of the revisions of an object. A limit of 0 is the host's
// default, a cursor of "" the first page.
func (k Catalog) History(ctx context.Context, id string, limit int, cursor string) (*RevisionPage, error) {
	q := make(url.Values)
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	path := k.path(id, "/history")
	if query := q.Encode(); query != "" {
		path += "?" + query
	}
	p := &RevisionPage{}
	raw, err := k.c.call(ctx, http.MethodGet, path, nil, nil, p)
	p.Raw = raw
	return p, err
}

// Put makes an object what the definition says, a JSON object with the keys of
// the configuration file, and returns it when that is in force on the host. With
// a revision it does so only if the object still has that one; 0: any, or none at
// all.
func (k Catalog) Put(ctx context.Context, id string, definition json.RawMessage, revision int64) (*Object, error) {
	header := http.Header{"Prefer": {"handling=strict"}}
	if revision > 0 {
		header.Set("If-Match", `"`+strconv.FormatInt(revision, 10)+`"`)
	}
	return k.object(ctx, http.MethodPut, id, "", header, definition)
}

func (k Catalog) object(ctx context.Context, method, id, rest string, header http.Header, body any) (*Object, error) {
	o := &Object{}
	raw, err := k.c.call(ctx, method, k.path(id, rest), header, body, o)
	if err != nil {
		return nil, err
	}
	if o.ID == "" {
		return nil, fmt.Errorf("the answer to %s %s is not a %s", method, k.path(id, rest), k.Kind)
	}
	o.Raw = raw
	return o, nil
}

// Lease is how long a cluster that declares itself can be chosen.
type Lease struct {
	TTL   string    `json:"ttl"`   // such as 30s
	Until time.Time `json:"until"` // by the clock of the store
	Over  bool      `json:"over"`  // it cannot be chosen
}

// Registration is what a cluster says of itself.
type Registration struct {
	TTL         string          `json:"ttl"` // how long it may be silent, such as 30s
	Name        string          `json:"name,omitempty"`
	Version     string          `json:"version,omitempty"`
	Description string          `json:"description,omitempty"`
	Tags        []string        `json:"tags,omitempty"`
	Capacity    int             `json:"capacity,omitempty"` // jobs at once; 0: any number
	Context     json.RawMessage `json:"context,omitempty"`  // the plugin's settings that belong to it
}

// Register declares a cluster, or renews its lease. Done again well before the
// TTL is over, the cluster stays; when it is not, jobs go elsewhere. A cluster that
// a file or the API has declared is an IsConflict.
func (c *Client) Register(ctx context.Context, id string, r Registration) (*Object, error) {
	return c.Clusters().object(ctx, http.MethodPut, id, "/lease", nil, r)
}

// ObjectStatus is the short answer about an object.
type ObjectStatus struct {
	Status    string `json:"status"`
	Override  string `json:"status_override"` // it was set by the API; "": it is as declared
	UpdatedAt int64  `json:"updated_at"`      // unix seconds
	Revision  int64  `json:"revision"`

	Raw json.RawMessage `json:"-"` // the answer as it came
}

// Status returns the status of an object.
func (k Catalog) Status(ctx context.Context, id string) (*ObjectStatus, error) {
	return k.status(ctx, http.MethodGet, id, nil)
}

// SetStatus sets the status of an object over what is declared, until it is
// cleared.
func (k Catalog) SetStatus(ctx context.Context, id, status string) (*ObjectStatus, error) {
	return k.status(ctx, http.MethodPut, id, map[string]string{"status": status})
}

// ClearStatus takes back a status that was set.
func (k Catalog) ClearStatus(ctx context.Context, id string) (*ObjectStatus, error) {
	return k.status(ctx, http.MethodDelete, id, nil)
}

func (k Catalog) status(ctx context.Context, method, id string, body any) (*ObjectStatus, error) {
	s := &ObjectStatus{}
	raw, err := k.c.call(ctx, method, k.path(id, "/status"), nil, body, s)
	s.Raw = raw
	return s, err
}

func (k Catalog) path(id, rest string) string {
	return "/" + string(k.Kind) + "/" + url.PathEscape(id) + rest
}
