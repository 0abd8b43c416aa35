package api_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heimdall-run/heimdall/host/internal/api"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

func TestListFilters(t *testing.T) {
	base := func(change func(*job.Filter)) job.Filter {
		f := job.Filter{Limit: 50, Order: job.ByID}
		change(&f)
		return f
	}
	for query, want := range map[string]job.Filter{
		"": base(func(*job.Filter) {}),
		"id=a&name=b%25&version=c&username=d_&command=e&cluster=%5C%5C": base(func(f *job.Filter) {
			f.ID, f.Name, f.Version, f.User, f.Command, f.Cluster = "a", "b%", "c", "d_", "e", `\\`
		}),
		"status=failed,%20KILLED&status=NEW,": base(func(f *job.Filter) {
			f.Statuses = []job.Status{job.Failed, job.Killed, job.New}
		}),
		"tags=b,a&tags=c":                       base(func(f *job.Filter) { f.Tags = tag.Set{"a", "b", "c"} }),
		"limit=7":                               base(func(f *job.Filter) { f.Limit = 7 }),
		"limit=101":                             base(func(f *job.Filter) { f.Limit = 100 }),
		"order_by=updated_at&direction=asc":     base(func(f *job.Filter) { f.Order, f.Ascending = job.ByUpdatedAt, true }),
		"order_by=created_at&direction=desc&x=": base(func(f *job.Filter) { f.Order = job.ByCreatedAt }),
	} {
		f := newFake()
		if a := serve(t, f).do(t, "GET", "/api/v1/jobs?"+query, ""); a.StatusCode != http.StatusOK {
			t.Errorf("%s: status = %d, want 200; body %s", query, a.StatusCode, a.text)
		}
		if len(f.filter.Tags) == 0 {
			f.filter.Tags = nil
		}
		if diff := cmp.Diff(want, f.filter); diff != "" {
			t.Errorf("%s: filter differs (-want +got):\n%s", query, diff)
		}
	}
}

func TestListRefuses(t *testing.T) {
	s := serve(t, newFake())
	other := api.FormatCursor(job.Filter{Order: job.ByCreatedAt}, job.Cursor{ID: job.NewID(), Time: clock})
	for query, sentence := range map[string]string{
		"limit=0":            "limit",
		"limit=-1":           "limit",
		"limit=abc":          "limit",
		"limit=1e3":          "limit",
		"status=GONE":        "SUCCEEDED",
		"order_by=name":      "order_by",
		"direction=up":       "direction",
		"cursor=zzz":         "cursor",
		"cursor=" + other:    "another order",
		"cursor=bnVsbA":      "cursor",
		"name=%00":           "characters",
		"name=%ff":           "characters",
		`name=a%5C`:          "escapes nothing",
		"tags=" + longTag:    "longer than",
		"name=" + longText:   "longer than",
		"name=%zz":           "query",
		"tags=a%0Ab":         "characters",
		"order_by=id%3bdrop": "order_by",
	} {
		checkProblem(t, s.do(t, "GET", "/api/v1/jobs?"+query, ""), http.StatusBadRequest, sentence)
	}
}

var (
	longTag  = strings.Repeat("t", 257)
	longText = strings.Repeat("n", 1001)
)

func TestListPages(t *testing.T) {
	f := newFake()
	s := serve(t, f)
	if got, want := s.do(t, "GET", "/api/v1/jobs", "").text, `{"data":[],"has_more":false}`+"\n"; got != want {
		t.Errorf("empty list = %s, want %s", got, want)
	}
	at := job.Cursor{ID: job.NewID(), Time: clock.Truncate(time.Microsecond)}
	f.page = job.Page{Jobs: []*job.Job{{ID: at.ID, Status: job.New, Request: job.Request{Context: []byte("{}")}}}, Next: &at}
	const order = "/api/v1/jobs?order_by=updated_at&direction=asc"
	page := s.do(t, "GET", order, "").json(t)
	cursor, _ := page["next_cursor"].(string)
	if page["has_more"] != true || cursor == "" || url.QueryEscape(cursor) != cursor {
		t.Fatalf("page = %v, want a cursor that needs no escapes", page)
	}
	s.do(t, "GET", order+"&cursor="+cursor, "")
	if diff := cmp.Diff(&at, f.filter.After); diff != "" {
		t.Errorf("cursor differs (-want +got):\n%s", diff)
	}
}
