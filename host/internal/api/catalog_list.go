package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/registry"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// parseObjectFilter reads the query of a list of commands or clusters. Without an
// order they come by id.
func parseObjectFilter(rawQuery string) (registry.Filter, error) {
	f := registry.Filter{Limit: defaultLimit, Order: registry.ByID}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return f, badParameter("query", "it cannot be read: %w", err)
	}
	for _, p := range []struct {
		name    string
		pattern *string
	}{
		{"id", &f.ID},
		{"name", &f.Name},
		{"version", &f.Version},
		{"plugin", &f.Plugin},
	} {
		*p.pattern = query.Get(p.name)
		if err := checkPattern(p.name, *p.pattern); err != nil {
			return f, err
		}
	}
	for item := range items(query["status"]) {
		status, err := catalog.ParseStatus(item)
		if err != nil {
			return f, badParameter("status", "%w", err)
		}
		f.Statuses = append(f.Statuses, status)
	}
	var tags []string
	for item := range items(query["tags"]) {
		tags = append(tags, item)
	}
	f.Tags = tag.New(tags...)
	if err := f.Tags.Check(); err != nil {
		return f, badParameter("tags", "%w", err)
	}
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return f, badParameter("limit", "%.40q is not a number above 0", text)
		}
		f.Limit = min(n, maxLimit)
	}
	switch order := registry.Order(query.Get("order_by")); order {
	case "":
	case registry.ByID, registry.ByCreatedAt, registry.ByUpdatedAt:
		f.Order = order
	default:
		return f, badParameter("order_by", "%.40q is not one of id, created_at, updated_at", order)
	}
	switch direction := query.Get("direction"); direction {
	case "", "asc":
	case "desc":
		f.Descending = true
	default:
		return f, badParameter("direction", "%.40q is not one of asc, desc", direction)
	}
	if text := query.Get("cursor"); text != "" {
		return f, parseObjectCursor(text, &f)
	}
	return f, nil
}

// objectCursor is a place in a list of commands or clusters on the wire.
type objectCursor struct {
	Order      registry.Order `json:"o"`
	Descending bool           `json:"d,omitempty"`
	ID         string         `json:"i"`
	Micros     int64          `json:"t,omitempty"` // unix time; 0 when ordered by id
}

func formatObjectCursor(f registry.Filter, at registry.Cursor) string {
	c := objectCursor{Order: f.Order, Descending: f.Descending, ID: at.ID}
	if !at.Time.IsZero() {
		c.Micros = at.Time.UnixMicro()
	}
	text, _ := json.Marshal(c) // strings and numbers always can be
	return base64.RawURLEncoding.EncodeToString(text)
}

func parseObjectCursor(text string, f *registry.Filter) error {
	var c objectCursor
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err == nil && (c.Micros < 0 || c.Micros > maxMicros || c.ID == "") {
		err = errors.New("nothing was ever made then")
	}
	if err != nil {
		return badParameter("cursor", "it is not one that a list gave")
	}
	if c.Order != f.Order || c.Descending != f.Descending {
		return badParameter("cursor", "it belongs to a list in another order; keep order_by and direction from page to page")
	}
	f.After = &registry.Cursor{ID: c.ID}
	if c.Order != registry.ByID {
		f.After.Time = time.UnixMicro(c.Micros).UTC()
	}
	return nil
}
