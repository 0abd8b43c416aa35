package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// scripted returns a client of a server that answers by "METHOD path?query",
// and fails the test when it is asked for anything else.
func scripted(t *testing.T, answers map[string]http.HandlerFunc) *client.Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("X-Heimdall-User"); got != "etl" {
			t.Errorf("user = %q, want etl", got)
		}
		answer := answers[r.Method+" "+r.URL.RequestURI()]
		if answer == nil {
			t.Errorf("unexpected request %s %s", r.Method, r.URL.RequestURI())
			http.NotFound(w, r)
			return
		}
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	c, err := client.New(s.URL+"/", "etl")
	if err != nil {
		t.Fatal(err)
	}
	c.HTTP = s.Client()
	return c
}

// says answers with a status and a body.
func says(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestNewRefusesWhatIsNoServer(t *testing.T) {
	for _, server := range []string{"", "localhost:9090", "ftp://x", "http://", "://"} {
		if _, err := client.New(server, ""); err == nil {
			t.Errorf("New(%q) succeeded, want an error", server)
		}
	}
}

func TestSubmit(t *testing.T) {
	for name, c := range map[string]struct {
		wait   time.Duration
		prefer string
		status int
		body   string
		want   client.Status
	}{
		"not waiting":              {0, "respond-async", 202, `{"id":"1","status":"NEW"}`, client.StatusNew},
		"waiting":                  {1500 * time.Millisecond, "wait=2", 200, `{"id":"1","status":"FAILED"}`, client.StatusFailed},
		"as the command has it":    {-1, "", 200, `{"id":"1","status":"SUCCEEDED","result":{}}`, client.StatusSucceeded},
		"a sync job that failed":   {-1, "", 422, `{"id":"1","status":"FAILED","error":"exit status 3","exit_code":3}`, client.StatusFailed},
		"a sync job that was shut": {-1, "", 503, `{"id":"1","status":"KILLED"}`, client.StatusKilled},
	} {
		t.Run(name, func(t *testing.T) {
			var prefer, key, body string
			cl := scripted(t, map[string]http.HandlerFunc{"POST /api/v1/job": func(w http.ResponseWriter, r *http.Request) {
				prefer, key = r.Header.Get("Prefer"), r.Header.Get("Idempotency-Key")
				text, _ := io.ReadAll(r.Body)
				body = string(text)
				says(c.status, "application/json", c.body)(w, r)
			}})
			j, err := cl.Submit(t.Context(), client.Submission{
				Name: "n", CommandCriteria: []string{"a"}, ClusterCriteria: [][]string{{"b"}, {"c"}},
				Context: json.RawMessage(`{"x":1}`), Timeout: "30s", Wait: c.wait, IdempotencyKey: "order-17",
			})
			if err != nil {
				t.Fatal(err)
			}
			if j.Status != c.want || j.ID != "1" || string(j.Raw) != c.body {
				t.Errorf("job = %+v, want %s and the answer as it came", j, c.want)
			}
			if prefer != c.prefer || key != "order-17" {
				t.Errorf("Prefer = %q and Idempotency-Key = %q, want %q and order-17", prefer, key, c.prefer)
			}
			if want := `{"name":"n","context":{"x":1},"command_criteria":["a"],"cluster_criteria":[["b"],["c"]],"timeout":"30s"}`; body != want {
				t.Errorf("body = %s, want %s", body, want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		status      int
		contentType string
		body        string
		message     string
		id          string
		is          func(error) bool
	}{
		"a problem": {
			404, "application/problem+json", `{"error":"no job","id":"7","status":404,"errors":[{"pointer":"/a","detail":"d"}]}`,
			"no job", "7", client.IsNotFound,
		},
		"a user who is not known": {401, "application/problem+json", `{"error":"who?"}`, "who?", "", client.IsDenied},
		"a state":                 {409, "application/problem+json", `{"error":"running"}`, "running", "", client.IsConflict},
		"a proxy":                 {502, "text/html", `<h1>Bad Gateway</h1>`, "502 Bad Gateway", "", func(error) bool { return true }},
		"a proxy that has JSON":   {502, "application/json", `{"error":"no upstream"}`, "no upstream", "", func(error) bool { return true }},
		"no job":                  {200, "application/json", `{}`, "not a job", "", nil},
		"no host":                 {200, "text/html", `<p>`, "not what a host sends", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			answer := says(c.status, c.contentType, c.body)
			cl := scripted(t, map[string]http.HandlerFunc{"GET /api/v1/job/7": answer, "POST /api/v1/job": answer})
			_, err := cl.Job(t.Context(), "7")
			if err == nil || !strings.Contains(err.Error(), c.message) {
				t.Fatalf("error = %v, want %q in it", err, c.message)
			}
			if _, err := cl.Submit(t.Context(), client.Submission{}); err == nil {
				t.Error("Submit succeeded, want the same error")
			}
			e, ok := errors.AsType[*client.Error](err)
			if ok != (c.is != nil) {
				t.Fatalf("error = %T, want an *Error: %v", err, c.is != nil)
			}
			if ok && (!c.is(err) || e.Status != c.status || e.ID != c.id) {
				t.Errorf("error = %+v, want status %d and id %q", e, c.status, c.id)
			}
		})
	}
}

func TestWaitAsksUntilTheEnd(t *testing.T) {
	var asked atomic.Int32
	c := scripted(t, map[string]http.HandlerFunc{"GET /api/v1/job/7?wait=1m0s": func(w http.ResponseWriter, r *http.Request) {
		status := "RUNNING"
		if asked.Add(1) == 2 {
			status = "CANCELED"
		}
		says(200, "application/json", `{"id":"7","status":"`+status+`"}`)(w, r)
	}})
	j, err := c.Wait(t.Context(), "7")
	if err != nil || j.Status != client.StatusCanceled || asked.Load() != 2 {
		t.Errorf("Wait = %+v, %v after %d requests, want CANCELED after 2", j, err, asked.Load())
	}
}

func TestWaitGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := scripted(t, map[string]http.HandlerFunc{"GET /api/v1/job/7?wait=1m0s": func(w http.ResponseWriter, r *http.Request) {
		says(200, "application/json", `{"id":"7","status":"RUNNING"}`)(w, r)
		cancel()
	}})
	if _, err := c.Wait(ctx, "7"); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want %v", err, context.Canceled)
	}
}

func TestJobs(t *testing.T) {
	const path = `GET /api/v1/jobs?cursor=c&direction=asc&limit=2&name=a%25&order_by=id&status=NEW&status=FAILED&tags=x&username=u`
	c := scripted(t, map[string]http.HandlerFunc{
		path:               says(200, "application/json", `{"data":[{"id":"1"},{"id":"2"}],"has_more":true,"next_cursor":"d"}`),
		"GET /api/v1/jobs": says(200, "application/json", `{"data":[],"has_more":false}`),
	})
	page, err := c.Jobs(t.Context(), client.Filter{
		Name: "a%", User: "u", Statuses: []client.Status{client.StatusNew, client.StatusFailed}, Tags: []string{"x"},
		Limit: 2, Cursor: "c", OrderBy: "id", Ascending: true,
	})
	if err != nil || len(page.Jobs) != 2 || !page.HasMore || page.NextCursor != "d" || len(page.Raw) == 0 {
		t.Errorf("page = %+v, %v, want two jobs and more", page, err)
	}
	if page, err = c.Jobs(t.Context(), client.Filter{}); err != nil || len(page.Jobs) != 0 || page.HasMore {
		t.Errorf("page = %+v, %v, want none", page, err)
	}
}

func TestLogResultCancel(t *testing.T) {
	const hello = `{"columns":[{"name":"message","type":"string"}],"data":[["hi"]]}`
	c := scripted(t, map[string]http.HandlerFunc{
		"GET /api/v1/job/7/stderr?follow=true&tail=3": says(200, "text/plain", "log"),
		"GET /api/v1/job/a%2F..%2Fb/stdout?":          says(404, "application/problem+json", `{"error":"no"}`),
		"GET /api/v1/job/7/result":                    says(200, "application/json", hello),
		"POST /api/v1/job/7/cancel":                   says(200, "application/json", `{"status":"CANCELING"}`),
	})
	log, err := c.Log(t.Context(), "7", client.Stderr, client.LogOptions{Tail: 3, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if text, err := io.ReadAll(log); string(text) != "log" || err != nil {
		t.Errorf("log = %q, %v", text, err)
	}
	if _, err := c.Log(t.Context(), "a/../b", client.Stdout, client.LogOptions{}); !client.IsNotFound(err) {
		t.Errorf("error = %v, want not found", err)
	}
	r, err := c.Result(t.Context(), "7")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if !r.JSON() {
		t.Errorf("result is %s, want JSON", r.ContentType)
	}
	table, err := client.NewTableReader(r)
	if err != nil || table.Columns[0].Type != "string" {
		t.Fatalf("table = %+v, %v", table, err)
	}
	if row, err := table.Next(); err != nil || string(row[0]) != `"hi"` {
		t.Errorf("row = %s, %v", row, err)
	}
	if row, err := table.Next(); err != io.EOF {
		t.Errorf("row = %s, %v, want the end", row, err)
	}
	if status, err := c.Cancel(t.Context(), "7"); status != client.StatusCanceling || err != nil {
		t.Errorf("Cancel = %s, %v, want CANCELING", status, err)
	}
}

func TestTableReaderRefuses(t *testing.T) {
	const columns = `"columns":[{"name":"a"}]`
	for _, text := range []string{
		"", "[]", "{}", `{"data":[]}`, `{"data":[],` + columns + `}`, `{"columns":null,"data":[]}`, `{` + columns + `}`,
		`{` + columns + `,"data":[[1,2]]}`, `{` + columns + `,"data":[1]}`, `{` + columns + `,"data":[[1],`,
		`{` + columns + `,"data":[[1]]`, `{` + columns + `,"data":[[1]],"x":`,
	} {
		table, err := client.NewTableReader(strings.NewReader(text))
		for err == nil {
			_, err = table.Next()
		}
		if err == io.EOF {
			t.Errorf("%s is read as a table, want an error", text)
		}
	}
}
