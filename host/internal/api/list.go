package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// Sizes of a page.
const (
	defaultLimit = 50
	maxLimit     = 100
	maxPattern   = 1000 // bytes
)

// maxMicros is the end of the year 9999, which every database can hold.
const maxMicros = 253402300799999999

// wirePage is a part of a list as clients know it.
type wirePage[T any] struct {
	Data       []T    `json:"data"`
	HasMore    bool   `json:"has_more"`
	NextCursor string `json:"next_cursor,omitempty"`
}

// listJobs serves GET /jobs.
func (h *Handler) listJobs(x *exchange) error {
	filter, err := parseFilter(x.r.URL.RawQuery)
	if err != nil {
		return err
	}
	page, err := h.jobs.List(x.r.Context(), filter)
	if err != nil {
		return err
	}
	w := wirePage[*wireJob]{Data: make([]*wireJob, len(page.Jobs))}
	for i, j := range page.Jobs {
		w.Data[i] = wire(j)
	}
	if page.Next != nil {
		w.HasMore, w.NextCursor = true, formatCursor(filter, *page.Next)
	}
	return h.writeJSON(x, http.StatusOK, w)
}

// parseFilter reads the query of a list. Without an order, the newest job comes
// first.
func parseFilter(rawQuery string) (job.Filter, error) {
	var f job.Filter
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return f, badParameter("query", "it cannot be read: %w", err)
	}
	err = parsePatterns(query, []namedPattern{
		{"id", &f.ID},
		{"name", &f.Name},
		{"version", &f.Version},
		{"username", &f.User},
		{"command", &f.Command},
		{"cluster", &f.Cluster},
	})
	if err != nil {
		return f, err
	}
	for item := range items(query["status"]) {
		status, err := job.ParseStatus(item)
		if err != nil {
			return f, badParameter("status", "%w; it is one of %s", err, joined(job.Statuses()))
		}
		f.Statuses = append(f.Statuses, status)
	}
	if f.Tags, err = parseTags(query); err != nil {
		return f, err
	}
	if f.Limit, err = parseLimit(query); err != nil {
		return f, err
	}
	if f.Order, err = parseOrder(query, job.ByID, job.ByCreatedAt, job.ByUpdatedAt); err != nil {
		return f, err
	}
	if f.Ascending, err = parseAscending(query, false); err != nil {
		return f, err
	}
	if text := query.Get("cursor"); text != "" {
		return f, parseCursor(text, &f)
	}
	return f, nil
}

// namedPattern is where the pattern of a parameter goes.
type namedPattern struct {
	name    string
	pattern *string
}

// parsePatterns reads the patterns of a list.
func parsePatterns(query url.Values, patterns []namedPattern) error {
	for _, p := range patterns {
		*p.pattern = query.Get(p.name)
		if err := checkPattern(p.name, *p.pattern); err != nil {
			return err
		}
	}
	return nil
}

// parseTags reads the tags that all members of a list have.
func parseTags(query url.Values) (tag.Set, error) {
	tags := tag.New(slices.Collect(items(query["tags"]))...)
	if err := tags.Check(); err != nil {
		return nil, badParameter("tags", "%w", err)
	}
	return tags, nil
}

// parseLimit reads how long a page may be.
func parseLimit(query url.Values) (int, error) {
	text := query.Get("limit")
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, badParameter("limit", "%.40q is not a number above 0", text)
	}
	return min(n, maxLimit), nil
}

// parseOrder reads the order of a list: one of these, the first unless it says.
func parseOrder[Order ~string](query url.Values, orders ...Order) (Order, error) {
	order := Order(query.Get("order_by"))
	if order == "" {
		return orders[0], nil
	}
	if !slices.Contains(orders, order) {
		return "", badParameter("order_by", "%.40q is not one of %s", order, joined(orders))
	}
	return order, nil
}

// parseAscending reads the direction of a list, which has one when it says none.
func parseAscending(query url.Values, silent bool) (bool, error) {
	switch direction := query.Get("direction"); direction {
	case "":
		return silent, nil
	case "asc", "desc":
		return direction == "asc", nil
	default:
		return false, badParameter("direction", "%.40q is not one of asc, desc", direction)
	}
}

// items yields the parts of a list that is written with commas, or as several
// parameters, or both.
func items(values []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, v := range values {
			for item := range strings.SplitSeq(v, ",") {
				if item = strings.TrimSpace(item); item != "" && !yield(item) {
					return
				}
			}
		}
	}
}

// joined names what a parameter can be.
func joined[T ~string](all []T) string {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// checkPattern refuses a pattern that no database can match with.
func checkPattern(name, pattern string) error {
	switch {
	case len(pattern) > maxPattern:
		return badParameter(name, "it is longer than %d bytes", maxPattern)
	case !utf8.ValidString(pattern) || strings.ContainsFunc(pattern, unicode.IsControl):
		return badParameter(name, "it has characters that no %s may have", name)
	}
	if tail := len(pattern) - len(strings.TrimRight(pattern, `\`)); tail%2 == 1 {
		return badParameter(name, `it ends with \, which escapes nothing; write \\ for the character itself`)
	}
	return nil
}

// cursor is a place in a list on the wire. It says which order it is a place
// of.
type cursor struct {
	Order     job.Order `json:"o"`
	Ascending bool      `json:"a,omitempty"`
	ID        job.ID    `json:"i"`
	Micros    int64     `json:"t,omitempty"` // unix time; 0 when ordered by id
}

func formatCursor(f job.Filter, at job.Cursor) string {
	c := cursor{Order: f.Order, Ascending: f.Ascending, ID: at.ID}
	if !at.Time.IsZero() {
		c.Micros = at.Time.UnixMicro()
	}
	text, _ := json.Marshal(c) // strings and numbers always can be
	return base64.RawURLEncoding.EncodeToString(text)
}

func parseCursor(text string, f *job.Filter) error {
	var c cursor
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err == nil {
		c.ID, err = job.ParseID(string(c.ID))
	}
	if err == nil && (c.Micros < 0 || c.Micros > maxMicros) {
		err = errors.New("no job was ever made then")
	}
	if err != nil {
		return badParameter("cursor", "it is not one that a list gave")
	}
	if c.Order != f.Order || c.Ascending != f.Ascending {
		return badParameter("cursor", "it belongs to a list in another order; keep order_by and direction from page to page")
	}
	f.After = &job.Cursor{ID: c.ID}
	if c.Order != job.ByID {
		f.After.Time = time.UnixMicro(c.Micros).UTC()
	}
	return nil
}
