package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/heimdall-run/heimdall/host/internal/auth"
	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/registry"
)

// Registry is the commands and clusters behind the API. Its errors have a kind of
// package errs, or are *registry.ErrCondition.
type Registry interface {
	Get(kind catalog.Kind, id string) (*catalog.Entry, error)
	List(kind catalog.Kind, f registry.Filter) registry.Page
	// History returns revisions of an object before one, the newest first.
	History(ctx context.Context, kind catalog.Kind, id string, before int64, most int) ([]*catalog.Entry, error)
	// Public returns the context of an object as everybody may know it.
	Public(e *catalog.Entry) []byte
	Put(ctx context.Context, user string, kind catalog.Kind, id string, d registry.Definition, when registry.Condition) (*catalog.Entry, error)
	SetStatus(ctx context.Context, user string, kind catalog.Kind, id string, s catalog.Status, when registry.Condition) (*catalog.Entry, error)
	Lease(ctx context.Context, user, id string, l registry.Lease) (*catalog.Entry, error)
	LeaseOf(ctx context.Context, id string) (*catalog.Entry, error)
	Health(ctx context.Context) []registry.Check
	HealthOf(ctx context.Context, id string) (registry.Check, error)
}

// of makes a handler of one side of the catalog.
func of(kind catalog.Kind, handle func(*Handler, *exchange, catalog.Kind) error) func(*Handler, *exchange) error {
	return func(h *Handler, x *exchange) error { return handle(h, x, kind) }
}

// catalogEndpoints returns what is served about commands and clusters.
func catalogEndpoints() (all []endpoint) {
	for _, kind := range []catalog.Kind{catalog.CommandKind, catalog.ClusterKind} {
		one := base + "/" + string(kind)
		all = append(all, []endpoint{
			{"GET", one + "s", of(kind, (*Handler).listObjects)},
			{"GET", one + "/statuses", (*Handler).objectStatuses},
			{"GET", one + "/{id}", of(kind, (*Handler).getObject)},
			{"PUT", one + "/{id}", of(kind, (*Handler).putObject)},
			{"GET", one + "/{id}/history", of(kind, (*Handler).listHistory)},
			{"GET", one + "/{id}/status", of(kind, (*Handler).getObjectStatus)},
			{"PUT", one + "/{id}/status", of(kind, (*Handler).putObjectStatus)},
			{"DELETE", one + "/{id}/status", of(kind, (*Handler).deleteObjectStatus)},
		}...)
	}
	return append(all, []endpoint{
		{"PUT", base + "/cluster/{id}/lease", (*Handler).putLease},
		{"GET", base + "/cluster/{id}/health", (*Handler).getHealth},
		{"GET", base + "/clusters/health", (*Handler).listHealth},
	}...)
}

// objectStatuses serves GET /command/statuses and /cluster/statuses.
func (h *Handler) objectStatuses(x *exchange) error {
	return h.writeJSON(x, http.StatusOK, []catalog.Status{catalog.Active, catalog.Deleted, catalog.Inactive})
}

// listObjects serves GET /commands and /clusters.
func (h *Handler) listObjects(x *exchange, kind catalog.Kind) error {
	filter, err := parseObjectFilter(x.r.URL.RawQuery)
	if err != nil {
		return err
	}
	page := h.registry.List(kind, filter)
	w := wirePage[*wireObject]{Data: make([]*wireObject, len(page.Entries))}
	for i, e := range page.Entries {
		w.Data[i] = h.wireObject(e)
	}
	if page.Next != nil {
		w.HasMore, w.NextCursor = true, formatObjectCursor(filter, *page.Next)
	}
	return h.writeJSON(x, http.StatusOK, w)
}

// getObject serves GET /command/{id} and /cluster/{id}.
func (h *Handler) getObject(x *exchange, kind catalog.Kind) error {
	e, err := h.registry.Get(kind, objectID(x))
	if err != nil {
		return err
	}
	if e.Owner == catalog.ByLease { // it may have been renewed since
		if stored, err := h.registry.LeaseOf(x.r.Context(), e.Object().ID); err == nil {
			e = stored
		}
	}
	return h.writeObject(x, e)
}

// putObject serves PUT /command/{id} and /cluster/{id}.
func (h *Handler) putObject(x *exchange, kind catalog.Kind) error {
	if err := h.operate(x); err != nil {
		return err
	}
	var body json.RawMessage
	if err := h.readObject(x, &body); err != nil {
		return err
	}
	var says struct {
		Status *string `json:"status"`
	}
	_ = json.Unmarshal(body, &says) // what is wrong with it is said below
	when, err := condition(x)
	if err != nil {
		return err
	}
	d := registry.Definition{Body: body, Status: says.Status != nil, Strict: parsePrefer(x.r.Header).strict}
	if d.Strict {
		x.Header().Set("Preference-Applied", "handling=strict")
	}
	e, err := h.registry.Put(x.r.Context(), x.user, kind, objectID(x), d, when)
	if err != nil {
		return err
	}
	return h.writeObject(x, e)
}

// getObjectStatus serves GET …/status.
func (h *Handler) getObjectStatus(x *exchange, kind catalog.Kind) error {
	e, err := h.registry.Get(kind, objectID(x))
	if err != nil {
		return err
	}
	return h.writeObjectStatus(x, e)
}

// putObjectStatus serves PUT …/status.
func (h *Handler) putObjectStatus(x *exchange, kind catalog.Kind) error {
	if err := h.operate(x); err != nil {
		return err
	}
	var body struct {
		Status json.RawMessage `json:"status"`
	}
	if err := h.readObject(x, &body); err != nil {
		return err
	}
	var text string
	status := catalog.Status("")
	err := json.Unmarshal(body.Status, &text)
	if err == nil && text != "" {
		status, err = catalog.ParseStatus(text)
	}
	if err != nil || status == "" {
		const detail = `want "ACTIVE", "INACTIVE" or "DELETED"`
		return &errs.Error{Kind: errs.Invalid, Message: "status: " + detail, Fields: []errs.Field{{Pointer: "/status", Detail: detail}}}
	}
	return h.setStatus(x, kind, status)
}

// deleteObjectStatus serves DELETE …/status.
func (h *Handler) deleteObjectStatus(x *exchange, kind catalog.Kind) error {
	if err := h.operate(x); err != nil {
		return err
	}
	return h.setStatus(x, kind, "")
}

func (h *Handler) setStatus(x *exchange, kind catalog.Kind, status catalog.Status) error {
	when, err := condition(x)
	if err != nil {
		return err
	}
	e, err := h.registry.SetStatus(x.r.Context(), x.user, kind, objectID(x), status, when)
	if err != nil {
		return err
	}
	return h.writeObjectStatus(x, e)
}

// operate returns an error of kind errs.Denied when the user may not change the
// catalog.
func (h *Handler) operate(x *exchange) error { return h.auth.MayOperate(auth.User{Name: x.user}) }

// objectID returns the id in the path. What no object can be called is the id of none.
func objectID(x *exchange) string { return x.named("id") }

// condition reads the headers that make a change depend on what is there.
func condition(x *exchange) (when registry.Condition, err error) {
	if text := strings.TrimSpace(x.r.Header.Get("If-Match")); text == "*" {
		when.Exists = true
	} else if text != "" {
		for tag := range strings.SplitSeq(text, ",") {
			revision, err := parseTag(tag)
			if err != nil {
				return when, errs.Errorf(errs.Malformed, "the header If-Match has %.40q; want the ETag of an answer, or *", tag)
			}
			when.Revisions = append(when.Revisions, revision)
		}
	}
	switch text := strings.TrimSpace(x.r.Header.Get("If-None-Match")); text {
	case "":
	case "*":
		when.Absent = true
	default:
		return when, errs.Errorf(errs.Malformed, "the header If-None-Match of a change can be * only, for what is not there yet")
	}
	return when, nil
}

// parseTag reads the revision in an entity tag. One that is no number is that of none.
func parseTag(tag string) (int64, error) {
	tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
	text, begins := strings.CutPrefix(tag, `"`)
	text, ends := strings.CutSuffix(text, `"`)
	if !begins || !ends || strings.Contains(text, `"`) {
		return 0, errors.New("no entity tag")
	}
	text, _, _ = strings.Cut(text, leaseMark) // a change is not refused because a lease was renewed
	revision, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1, nil
	}
	return revision, nil
}
