package client_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/heimdall-run/heimdall/sdk/client"
)

func TestCatalog(t *testing.T) {
	const object = `{"id":"a/b","name":"n","status":"INACTIVE","revision":7,"tags":["x"],"plugin":"ping"}`
	bodies := map[string]string{}
	takes := func(status int, answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			bodies[r.Method+" "+r.URL.RequestURI()] = string(body) + " " + r.Header.Get("If-Match")
			says(status, "application/json", answer)(w, r)
		}
	}
	c := scripted(t, map[string]http.HandlerFunc{
		"GET /api/v1/commands": says(200, "application/json", `{"data":[`+object+`],"has_more":true,"next_cursor":"d"}`),
		"GET /api/v1/clusters?cursor=c&direction=desc&id=i&limit=3&name=n&order_by=id&plugin=p&status=ACTIVE&tags=a&tags=b&version=v": says(200, "application/json", `{"data":[]}`),
		"GET /api/v1/command/a%2Fb":       says(200, "application/json", object),
		"PUT /api/v1/command/a%2Fb":       takes(200, object),
		"GET /api/v1/cluster/k/status":    says(200, "application/json", `{"status":"ACTIVE","updated_at":5}`),
		"PUT /api/v1/cluster/k/status":    takes(200, `{"status":"DELETED","status_override":"DELETED"}`),
		"DELETE /api/v1/cluster/k/status": says(200, "application/json", `{"status":"ACTIVE"}`),
		"PUT /api/v1/cluster/k/lease":     takes(200, `{"id":"k","lease":{"ttl":"30s","over":false}}`),
		"PUT /api/v1/cluster/other":       says(412, "application/problem+json", `{"error":"it has changed"}`),
		"GET /api/v1/cluster/strange":     says(200, "application/json", `{}`),
	})
	ctx := t.Context()
	page, err := c.Commands().List(ctx, client.ObjectFilter{})
	if err != nil || len(page.Objects) != 1 || page.Objects[0].ID != "a/b" || !page.HasMore || page.NextCursor != "d" || len(page.Raw) == 0 {
		t.Errorf("List = %+v, %v, want one command and more", page, err)
	}
	page, err = c.Clusters().List(ctx, client.ObjectFilter{
		ID: "i", Name: "n", Version: "v", Plugin: "p", Statuses: []string{"ACTIVE"}, Tags: []string{"a", "b"},
		Limit: 3, Cursor: "c", OrderBy: "id", Direction: "desc",
	})
	if err != nil || len(page.Objects) != 0 {
		t.Errorf("List = %+v, %v, want none", page, err)
	}
	if o, err := c.Commands().Get(ctx, "a/b"); err != nil || o.Revision != 7 || o.Plugin != "ping" || string(o.Raw) != object {
		t.Errorf("Get = %+v, %v, want the command", o, err)
	}
	if o, err := c.Commands().Put(ctx, "a/b", json.RawMessage(`{"name":"n"}`), 6); err != nil || o.Status != "INACTIVE" {
		t.Errorf("Put = %+v, %v, want the command", o, err)
	}
	if s, err := c.Clusters().Status(ctx, "k"); err != nil || s.Status != "ACTIVE" || s.UpdatedAt != 5 {
		t.Errorf("Status = %+v, %v, want ACTIVE", s, err)
	}
	if s, err := c.Clusters().SetStatus(ctx, "k", "DELETED"); err != nil || s.Override != "DELETED" {
		t.Errorf("SetStatus = %+v, %v, want DELETED", s, err)
	}
	if s, err := c.Clusters().ClearStatus(ctx, "k"); err != nil || s.Override != "" {
		t.Errorf("ClearStatus = %+v, %v, want none", s, err)
	}
	if o, err := c.Register(ctx, "k", client.Registration{TTL: "30s", Tags: []string{"x"}, Capacity: 3}); err != nil || o.Lease == nil || o.Lease.TTL != "30s" {
		t.Errorf("Register = %+v, %v, want the lease", o, err)
	}
	if _, err := c.Clusters().Put(ctx, "other", json.RawMessage(`{}`), 0); err == nil || err.Error() != "it has changed" {
		t.Errorf("Put = %v, want the refusal", err)
	}
	if _, err := c.Clusters().Get(ctx, "strange"); err == nil {
		t.Error("Get succeeded, want an error: it was no cluster")
	}
	for request, want := range map[string]string{
		"PUT /api/v1/command/a%2Fb":    `{"name":"n"} "6"`,
		"PUT /api/v1/cluster/k/status": `{"status":"DELETED"} `,
		"PUT /api/v1/cluster/k/lease":  `{"ttl":"30s","tags":["x"],"capacity":3} `,
	} {
		if bodies[request] != want {
			t.Errorf("%s had %s, want %s", request, bodies[request], want)
		}
	}
}

func TestHealth(t *testing.T) {
	const ill = `{"healthy":false,"checks":[{"cluster_id":"k","status":"error","error":"refused"}]}`
	c := scripted(t, map[string]http.HandlerFunc{
		"GET /api/v1/clusters/health":     says(503, "application/json", ill),
		"GET /api/v1/cluster/k/health":    says(200, "application/json", `{"healthy":true,"checks":[{"cluster_id":"k","status":"ok","latency_ms":3}]}`),
		"GET /api/v1/cluster/away/health": says(503, "application/problem+json", `{"error":"the host is stopping"}`),
	})
	if h, err := c.Health(t.Context()); err != nil || h.Healthy || h.Checks[0].Error != "refused" || string(h.Raw) != ill {
		t.Errorf("Health = %+v, %v, want one that fails, and no error", h, err)
	}
	if h, err := c.ClusterHealth(t.Context(), "k"); err != nil || !h.Healthy || h.Checks[0].LatencyMS != 3 {
		t.Errorf("ClusterHealth = %+v, %v, want healthy", h, err)
	}
	if _, err := c.ClusterHealth(t.Context(), "away"); !client.IsUnavailable(err) {
		t.Errorf("ClusterHealth = %v, want that the host is away", err)
	}
}
