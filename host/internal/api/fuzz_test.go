package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
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

// Whatever headers say, a read is answered with the whole, a part of it, that it is
// known, or what is wrong.
func FuzzReadHeaders(f *testing.F) {
	f.Add("bytes=0-3", `"x"`, "*", "gzip;q=0.5, *", "tail=3&wait=1ns")
	f.Add("bytes=-9223372036854775808", "", `W/"a", "b"`, "identity, gzip;q=", "tail=-1&wait=-1s")
	f.Add("bytes=9223372036854775807-9223372036854775808", "W/", ",", ";q=,", "tail=99999999999999999999")
	service := newFake()
	id := job.NewID()
	content := strings.Repeat(`{"columns":[],"data":[]}`+"\n", 400)
	service.add(&job.Job{ID: id, Status: job.Succeeded, Result: table(content)})
	service.logs[string(id)+"/stdout"] = &fakeLog{text: []byte(content), news: make(chan struct{})}
	h := api.New(api.Config{Jobs: service, Auth: believer{}})
	f.Fuzz(func(t *testing.T, bytes, ifRange, known, accept, query string) {
		if strings.Contains(query, "wait") || strings.Contains(query, "follow") || strings.Contains(accept, "event") {
			return // those take their time
		}
		if u := (&url.URL{RawQuery: query}).Query(); u.Has("format") || u.Has("offset") || u.Has("limit") {
			return // those are other representations
		}
		for _, path := range []string{"/result", "/stdout"} {
			r := httptest.NewRequest("GET", "/api/v1/job/"+string(id)+path, nil)
			r.URL.RawQuery = query
			r.Header = http.Header{"X-Heimdall-User": {"fuzz"}, "Range": {bytes}, "If-Range": {ifRange}, "If-None-Match": {known}, "Accept-Encoding": {accept}}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			switch body := w.Body.String(); w.Code {
			case http.StatusOK:
				if w.Header().Get("Content-Encoding") == "" && !strings.HasSuffix(content, body) {
					t.Errorf("%s: got %d bytes that are not the end of what is there", path, len(body))
				}
			case http.StatusPartialContent:
				if !strings.Contains(content, body) || w.Header().Get("Content-Range") == "" {
					t.Errorf("%s: got %q with %v, want a part of what is there", path, body, w.Header())
				}
			case http.StatusNotModified:
				if body != "" {
					t.Errorf("%s: got 304 with %q", path, body)
				}
			case http.StatusBadRequest, http.StatusRequestedRangeNotSatisfiable:
			default:
				t.Errorf("%s: status = %d for %q", path, w.Code, r.Header)
			}
		}
	})
}

// Whatever stands before a body, a submit is accepted or refused, and a key that is
// accepted is one.
func FuzzSubmitHeaders(f *testing.F) {
	f.Add("wait=0, respond-async", "a-key", "application/json; charset=utf-8", "identity", "a-request", "name=n")
	f.Add(`respond-async;x="y", wait=`, "", ";", "gzip", "\x7f", "name=%zz&version=1")
	service := newFake()
	h := api.New(api.Config{Jobs: service, Auth: believer{}})
	f.Fuzz(func(t *testing.T, prefer, key, contentType, encoding, name, query string) {
		if strings.Contains(strings.ToLower(prefer), "wait") {
			return // that takes its time
		}
		r := httptest.NewRequest("POST", "/api/v1/job", strings.NewReader(ping))
		r.URL.RawQuery = query
		r.Header = http.Header{"X-Heimdall-User": {"fuzz"}, "Prefer": {prefer}, "Idempotency-Key": {key}, "Content-Type": {contentType}, "Content-Encoding": {encoding}, "X-Request-Id": {name}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch w.Code {
		case http.StatusAccepted:
			if got := service.keys[len(service.keys)-1]; got != key || key == "" {
				t.Errorf("submitted with the key %q, want %q", got, key)
			}
			clear(service.jobs)
			clear(service.ended)
			service.keys, service.submitted = nil, nil
		case 400, 415, 422:
		default:
			t.Errorf("status = %d for %q", w.Code, r.Header)
		}
	})
}

// Every line of a batch that is not empty is answered once, in order.
func FuzzBatch(f *testing.F) {
	f.Add(ping + "\n\n{}\n" + ping + ping)
	f.Add("\ufeff\n" + ping)
	f.Add("\ufeff" + ping + "\r\n[]\n\x00")
	service := newFake()
	h := api.New(api.Config{Jobs: service, Auth: believer{}})
	f.Fuzz(func(t *testing.T, body string) {
		lines := 0
		for line := range strings.SplitSeq(strings.TrimPrefix(body, "\ufeff"), "\n") {
			if strings.TrimSpace(line) != "" {
				lines++
			}
		}
		r := httptest.NewRequest("POST", "/api/v1/jobs", strings.NewReader(body))
		r.Header = http.Header{"X-Heimdall-User": {"fuzz"}, "Content-Type": {"application/x-ndjson"}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		clear(service.jobs)
		clear(service.ended)
		service.keys, service.submitted = nil, nil
		if lines == 0 && w.Code == http.StatusBadRequest {
			return
		}
		answered := 0
		for line := range strings.SplitSeq(strings.TrimSpace(w.Body.String()), "\n") {
			var result struct{ Index, Status int }
			if err := json.Unmarshal([]byte(line), &result); err != nil || result.Index != answered || result.Status < 202 || result.Status >= 500 {
				t.Fatalf("line %d: got %s", answered, line)
			}
			answered++
		}
		if w.Code != http.StatusOK || answered != lines {
			t.Errorf("status = %d, %d lines were answered, want %d", w.Code, answered, lines)
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
