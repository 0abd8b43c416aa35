package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/api"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
)

const ndjson = "Content-Type: application/x-ndjson"

// item is the answer to a line.
type item struct {
	Index      int
	Status     int
	ID         job.ID
	Error      string
	Type       string
	Errors     []struct{ Pointer string }
	RetryAfter int `json:"retry_after"`
}

func items(t *testing.T, text string) (list []item) {
	t.Helper()
	for line := range strings.Lines(text) {
		var i item
		if err := json.Unmarshal([]byte(line), &i); err != nil {
			t.Fatalf("line %.300q: %v", line, err)
		}
		list = append(list, i)
	}
	return list
}

func TestBatch(t *testing.T) {
	f := newFake()
	f.sync = true
	s := serve(t, f, func(c *api.Config) { c.Limits.Body = 1000 })
	lines := []string{
		strings.Replace(ping, "{", `{"idempotency_key":"k0",`, 1),
		`{"command_criteria":[]}`,
		"nonsense",
		"",
		"  \t",
		`{"command_criteria":["a"],"name":"` + strings.Repeat("n", 2000) + `"}`,
		`{"command_criteria":["a"],"priority":"x"}`,
		"\t" + ping + "\r",
		`{"command_criteria":["a"],"name":"` + strings.Repeat("n", 963) + `"}`, // 1000 bytes
		`{"command_criteria":["a"],"idempotency_key":"a b"}`,
		ping,
	}
	a := s.do(t, "POST", "/api/v1/jobs", strings.Join(lines, "\n"), ndjson)
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("answer = %d %s, want 200 application/x-ndjson: %s", a.StatusCode, a.Header.Get("Content-Type"), a.text)
	}
	got := items(t, a.text)
	want := []struct {
		status   int
		sentence string
	}{
		{202, ""},
		{422, "at least one criterion"},
		{400, "the line is not a JSON object"},
		{413, "larger than 1000 bytes"},
		{400, "priority is a string"},
		{202, ""},
		{422, "name has 963 bytes"},
		{422, "visible ASCII"},
		{202, ""},
	}
	if len(got) != len(want) {
		t.Fatalf("%d results, want %d: %s", len(got), len(want), a.text)
	}
	for i, w := range want {
		g := got[i]
		if g.Index != i || g.Status != w.status || !strings.Contains(g.Error, w.sentence) || (g.ID != "") != (w.status == 202) || (g.Type != "") != (w.status != 202) {
			t.Errorf("result %d = %+v, want %d with %q", i, g, w.status, w.sentence)
		}
		if w.status == 202 && f.jobs[g.ID] == nil {
			t.Errorf("result %d: there is no job %s", i, g.ID)
		}
	}
	if len(f.jobs) != 3 || strings.Join(f.keys, "") != "k0" {
		t.Errorf("%d jobs with keys %q, want 3, one of them with k0", len(f.jobs), f.keys)
	}
	for _, mode := range f.submitted {
		if mode != jobs.WaitNever {
			t.Errorf("mode = %v, want that nobody waits", mode)
		}
	}
}

func TestBatchInOrder(t *testing.T) {
	const n = 5000
	f := newFake()
	var body strings.Builder
	for i := range n {
		fmt.Fprintf(&body, `{"name":"n%d","command_criteria":["a"]}`+"\n", i)
	}
	a := serve(t, f).do(t, "POST", "/api/v1/jobs", body.String(), ndjson+"; charset=utf-8")
	got := items(t, a.text)
	if len(got) != n {
		t.Fatalf("%d results, want %d", len(got), n)
	}
	for i, g := range got {
		if j := f.jobs[g.ID]; g.Index != i || j == nil || j.Name != fmt.Sprint("n", i) {
			t.Fatalf("result %d = %+v of %+v", i, g, j)
		}
	}
}

func TestBatchRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		body     string
		headers  []string
		status   int
		sentence string
	}{
		"nothing":             {"", []string{ndjson}, 400, "empty"},
		"empty lines":         {"\n \n\n", []string{ndjson}, 400, "empty"},
		"no content type":     {ping, nil, 415, "application/x-ndjson"},
		"JSON":                {ping, []string{"Content-Type: application/json"}, 415, "application/x-ndjson"},
		"a key for all":       {ping, []string{ndjson, "Idempotency-Key: k"}, 400, "each line"},
		"too much":            {strings.Repeat(ping+"\n", 100), []string{ndjson}, 413, "larger than 5000"},
		"a page of elsewhere": {ping, []string{ndjson, "Sec-Fetch-Site: cross-site"}, 403, "another site"},
		"nobody":              {ping, []string{ndjson, "X-Heimdall-User: "}, 401, "no user"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			s := serve(t, f, func(c *api.Config) { c.Limits.Batch = 5000 })
			checkProblem(t, s.do(t, "POST", "/api/v1/jobs", c.body, c.headers...), c.status, c.sentence)
			if len(f.jobs) > 0 {
				t.Errorf("%d jobs were submitted, want none", len(f.jobs))
			}
		})
	}
}

// A body whose size is not known ahead is taken up to the limit.
func TestBatchThatGrowsTooLarge(t *testing.T) {
	f := newFake()
	s := serve(t, f, func(c *api.Config) { c.Limits.Batch = 5000 })
	r := s.request(t, "POST", "/api/v1/jobs", "", ndjson)
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat(ping+"\n", 100))), -1
	a := s.send(t, r)
	got := items(t, a.text)
	last := got[len(got)-1]
	if fit := 5000 / (len(ping) + 1); len(got) != fit+1 || last.Status != 413 || last.Index != fit || len(f.jobs) != fit {
		t.Errorf("%d results and %d jobs, the last result %+v; want %d jobs, then 413", len(got), len(f.jobs), last, fit)
	}
}

// A client may take the answer to a line before it sends the next one.
func TestBatchIsAnsweredLineByLine(t *testing.T) {
	s := serve(t, newFake())
	body, w := io.Pipe()
	r := s.request(t, "POST", "/api/v1/jobs", "", ndjson)
	r.Body, r.ContentLength = body, -1
	answers := make(chan *http.Response, 1)
	go func() {
		res, err := s.Client().Do(r)
		if err != nil {
			t.Errorf("send: %v", err)
		}
		answers <- res
	}()
	var lines *bufio.Scanner
	for i := range 3 {
		if _, err := io.WriteString(w, ping+"\n"); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			res := <-answers
			defer res.Body.Close()
			lines = bufio.NewScanner(res.Body)
		}
		if !lines.Scan() {
			t.Fatalf("no answer to line %d: %v", i, lines.Err())
		}
		if got := items(t, lines.Text()); got[0].Index != i || got[0].Status != 202 {
			t.Errorf("answer to line %d = %+v", i, got)
		}
	}
	if err := w.Close(); err != nil || lines.Scan() {
		t.Errorf("at the end: error %v and line %q, want neither", err, lines.Text())
	}
}

// What a client has submitted before it went away stays.
func TestBatchWhoseClientGoesAway(t *testing.T) {
	f := newFake()
	s := serve(t, f)
	body, w := io.Pipe()
	ctx, leave := context.WithCancel(t.Context())
	r := s.request(t, "POST", "/api/v1/jobs", "", ndjson).WithContext(ctx)
	r.Body, r.ContentLength = body, -1
	defer w.Close() // the transport reads on until then
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		res, err := s.Client().Do(r)
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	}()
	if _, err := io.WriteString(w, ping+"\n"+ping+"\n"+ping[:40]); err != nil {
		t.Fatal(err)
	}
	submitted := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.jobs)
	}
	for deadline := time.Now().Add(10 * time.Second); submitted() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d jobs were submitted, want 2", submitted())
		}
	}
	leave()
	<-gone
	s.Close() // returns when the request was given up
	if n := submitted(); n != 2 || len(f.canceled) > 0 {
		t.Errorf("%d jobs and %d cancels, want the two jobs and none", n, len(f.canceled))
	}
}
