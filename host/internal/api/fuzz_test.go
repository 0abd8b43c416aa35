package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/api"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Whatever is sent, the answer is about it: never a defect of ours, and what is
// accepted can be kept by every store.
func FuzzSubmit(f *testing.F) {
	for _, body := range []string{
		ping, "", "{}", "[]", "null", `{"command_criteria":["a"],"context":{"a":"\ud83d\ude00"}}`,
		`{"command_criteria":["a"],"cluster_criteria":[["b"],[]],"timeout":"1s"}`, `{"name":"\u0000"}`,
		`{"command_criteria":[null],"tags":[[]],"context":null}`, "{\"\xff\":1}", `{"a":1e999999}`, `{"a":"\ud800\u0041"}`,
	} {
		f.Add(body)
	}
	service := newFake()
	h := api.New(api.Config{Jobs: service, Auth: believer{}})
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest("POST", "/api/v1/job", strings.NewReader(body))
		r.Header.Set("X-Heimdall-User", "fuzz")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch w.Code {
		case http.StatusAccepted:
			var j struct{ ID job.ID }
			if err := json.Unmarshal(w.Body.Bytes(), &j); err != nil {
				t.Fatalf("answer = %s: %v", w.Body, err)
			}
			got := service.jobs[j.ID].Request
			if len(got.CommandCriteria) == 0 || !json.Valid(got.Context) || got.Context[0] != '{' || strings.Contains(string(got.Context), "\x00") {
				t.Errorf("accepted %+v", got)
			}
			clear(service.jobs)
			clear(service.ended)
		case 400, 413, 415, 422:
			if !json.Valid(w.Body.Bytes()) {
				t.Errorf("answer = %s, want a problem", w.Body)
			}
		default:
			t.Errorf("status = %d for %q", w.Code, body)
		}
	})
}

func FuzzListQuery(f *testing.F) {
	for _, query := range []string{
		"", "limit=5&cursor=x", "status=NEW,failed&tags=a,b", "name=%00", "order_by=id&direction=asc",
		"cursor=" + api.FormatCursor(job.Filter{Order: job.ByID}, job.Cursor{ID: unknown}),
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		filter, err := api.ParseFilter(query)
		if err != nil {
			return
		}
		if filter.Limit < 1 || filter.Limit > 100 || strings.Contains(filter.Name, "\x00") {
			t.Errorf("filter = %+v of %q", filter, query)
		}
		if filter.After == nil {
			return
		}
		if again := api.FormatCursor(filter, *filter.After); again == "" {
			t.Errorf("no cursor for %+v", filter.After)
		}
		if _, err := job.ParseID(string(filter.After.ID)); err != nil {
			t.Errorf("cursor of %q: %v", query, err)
		}
	})
}

func FuzzInspect(f *testing.F) {
	f.Add([]byte(`{"a":["\\",-1.5e+10,{"b":"\u00e9\ud83d\ude00\""}]}`))
	f.Add([]byte(`"\`))
	f.Add([]byte(`"\ud800\u`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if api.Inspect(text) != nil {
			return
		}
		var v any
		if json.Unmarshal(text, &v) != nil {
			return
		}
		if holdsNUL(v) {
			t.Errorf("%q was let through with NUL in it", text)
		}
	})
}

func holdsNUL(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, "\x00")
	case []any:
		for _, item := range v {
			if holdsNUL(item) {
				return true
			}
		}
	case map[string]any:
		for key, item := range v {
			if holdsNUL(key) || holdsNUL(item) {
				return true
			}
		}
	}
	return false
}
