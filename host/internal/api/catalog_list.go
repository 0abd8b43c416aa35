package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/registry"
)

// parseObjectFilter reads the query of a list of commands or clusters. Without an
// order they come by id.
func parseObjectFilter(rawQuery string) (registry.Filter, error) {
	var f registry.Filter
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return f, badParameter("query", "it cannot be read: %w", err)
	}
	err = parsePatterns(query, []namedPattern{
		{"id", &f.ID},
		{"name", &f.Name},
		{"version", &f.Version},
		{"plugin", &f.Plugin},
	})
	if err != nil {
		return f, err
	}
	for item := range items(query["status"]) {
		status, err := catalog.ParseStatus(item)
		if err != nil {
			return f, badParameter("status", "%w", err)
		}
		f.Statuses = append(f.Statuses, status)
	}
	if f.Tags, err = parseTags(query); err != nil {
		return f, err
	}
	if f.Limit, err = parseLimit(query); err != nil {
		return f, err
	}
	if f.Order, err = parseOrder(query, registry.ByID, registry.ByCreatedAt, registry.ByUpdatedAt); err != nil {
		return f, err
	}
	ascending, err := parseAscending(query, true)
	if err != nil {
		return f, err
	}
	f.Descending = !ascending
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
