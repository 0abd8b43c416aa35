package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
)

// wireRevision is an object as a change has made it.
type wireRevision struct {
	*wireObject
	CreatedAt int64    `json:"created_at,omitempty"` // of a revision this says nothing
	Changed   []string `json:"changed"`              // the fields that differ from the revision before; none of the first
}

// unchanging are the fields that every change changes.
var unchanging = []string{"created_at", "updated_at", "updated_by", "revision"}

// listHistory serves GET /command/{id}/history and /cluster/{id}/history.
func (h *Handler) listHistory(x *exchange, kind catalog.Kind) error {
	query := x.r.URL.Query()
	limit, err := parseLimit(query)
	if err != nil {
		return err
	}
	before, err := parseHistoryCursor(query.Get("cursor"))
	if err != nil {
		return err
	}
	// One more says whether there are more, and what the last has changed.
	entries, err := h.registry.History(x.r.Context(), kind, objectID(x), before, limit+1)
	if err != nil {
		return err
	}
	w := wirePage[*wireRevision]{Data: []*wireRevision{}}
	var later map[string]json.RawMessage
	for i, e := range entries {
		o := h.wireObject(e)
		fields, err := fieldsOf(o)
		if err != nil {
			return err
		}
		if i > 0 {
			w.Data[i-1].Changed = differing(fields, later)
		}
		if later = fields; i < limit {
			w.Data = append(w.Data, &wireRevision{wireObject: o, Changed: []string{}})
		}
	}
	if len(entries) > limit {
		w.HasMore, w.NextCursor = true, formatHistoryCursor(entries[limit-1].Revision)
	}
	return h.writeJSON(x, http.StatusOK, w)
}

func fieldsOf(o *wireObject) (fields map[string]json.RawMessage, err error) {
	text, err := json.Marshal(o)
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	return fields, err
}

// differing returns the names of the fields that are not the same in both.
func differing(a, b map[string]json.RawMessage) []string {
	all := []string{}
	for _, name := range slices.Compact(slices.Sorted(func(yield func(string) bool) {
		for _, of := range []map[string]json.RawMessage{a, b} {
			for name := range maps.Keys(of) {
				if !yield(name) {
					return
				}
			}
		}
	})) {
		if !bytes.Equal(a[name], b[name]) && !slices.Contains(unchanging, name) {
			all = append(all, name)
		}
	}
	return all
}

// historyCursor is a place in a history on the wire.
type historyCursor struct {
	Revision int64 `json:"r"`
}

func formatHistoryCursor(revision int64) string {
	text, _ := json.Marshal(historyCursor{revision}) // numbers always can be
	return base64.RawURLEncoding.EncodeToString(text)
}

// parseHistoryCursor returns the revision before which a page begins; 0 is behind all.
func parseHistoryCursor(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	var c historyCursor
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err == nil && c.Revision < 1 {
		err = errors.New("no revision is before it")
	}
	if err != nil {
		return 0, badParameter("cursor", "it is not one that a history gave")
	}
	return c.Revision, nil
}
