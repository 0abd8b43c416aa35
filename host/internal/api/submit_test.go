package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

const ping = `{"name":"ping-test", "version":"0.0.1", "context":{}, "command_criteria":["type:ping"], "cluster_criteria":["type:localhost"]}`

const hello = `{"columns":[{"name":"message","type":"string"}],"data":[["Hello, test_user!"]]}`

func table(content string) *job.Result {
	return &job.Result{ContentType: job.TableType, Rows: 1, Bytes: int64(len(content)), Inline: []byte(content)}
}

func greet(j *job.Job) { j.Status, j.Result = job.Succeeded, table(hello) }

func TestSubmitSyncAnswersWithTheResult(t *testing.T) {
	f := newFake()
	f.sync, f.auto = true, greet
	s := serve(t, f)
	a := s.do(t, "POST", "/api/v1/job", ping, "Content-Type: application/x-www-form-urlencoded")
	if a.StatusCode != http.StatusOK {
		t.Fatalf("status = %d, want 200; body %s", a.StatusCode, a.text)
	}
	got := a.json(t)
	id := got["id"].(string)
	want := map[string]any{
		"id": id, "name": "ping-test", "version": "0.0.1", "user": "test_user", "context": map[string]any{},
		"tags":   []any{"_id:" + id, "_name:ping-test", "_version:0.0.1"},
		"status": "SUCCEEDED", "is_sync": true,
		"command_criteria": []any{"type:ping"}, "cluster_criteria": []any{"type:localhost"},
		"command_id": "ping-0.0.1", "command_name": "ping", "cluster_id": "localhost-0.0.1", "cluster_name": "localhost",
		"created_at": float64(clock.Unix()), "updated_at": float64(clock.Unix()), "created_time": "2026-11-23T07:32:03.93409Z",
		"result": map[string]any{
			"columns": []any{map[string]any{"name": "message", "type": "string"}},
			"data":    []any{[]any{"Hello, test_user!"}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("job differs (-want +got):\n%s", diff)
	}
	if !strings.Contains(a.text, `"result":`+hello) {
		t.Errorf("body = %s, want the result untouched", a.text)
	}
}

func TestSubmitReadsEveryField(t *testing.T) {
	f := newFake()
	s := serve(t, f)
	a := s.do(t, "POST", "/api/v1/job?name=query", `{"id":"x","status":6,"user":"root","canceled_by":"me","nonsense":[],
		"name":"n","version":"1","description":"d\nd","context":{"b":12345678901234567890,"a":"<é>"},
		"command_criteria":["b"," a ","b",""],"cluster_criteria":[["x","y"],["z"]],"tags":["t"],"timeout":"90s",
		"priority":-7,"retry":{"attempts":3.0,"backoff":"30s","on":["failed","lost"],"nonsense":1},
		"start_after":"2026-12-24T18:00:00+01:00","deadline":1798138800.5,"unique_key":"nightly é"}`, "Content-Type: application/json; charset=utf-8")
	if a.StatusCode != http.StatusAccepted {
		t.Fatalf("status = %d, want 202; body %s", a.StatusCode, a.text)
	}
	got := a.json(t)
	id := job.ID(got["id"].(string))
	if want := "/api/v1/job/" + string(id); a.Header.Get("Location") != want {
		t.Errorf("Location = %q, want %q", a.Header.Get("Location"), want)
	}
	if got["status"] != "NEW" || got["user"] != "test_user" || got["canceled_by"] != nil {
		t.Errorf("job = %v, want what callers may not say to be ignored", got)
	}
	if diff := cmp.Diff([]any{[]any{"x", "y"}, []any{"z"}}, got["cluster_criteria"]); diff != "" {
		t.Errorf("cluster_criteria differ (-want +got):\n%s", diff)
	}
	want := job.Request{
		Name: "query", Version: "1", Description: "d\nd", Context: json.RawMessage(`{"b":12345678901234567890,"a":"<é>"}`),
		CommandCriteria: tag.Set{"a", "b"}, ClusterCriteria: []tag.Set{{"x", "y"}, {"z"}}, Tags: tag.Set{"t"}, Timeout: 90 * time.Second,
		Retry: &job.Retry{Attempts: 3, Backoff: 30 * time.Second, On: []job.Class{job.WorkFailed, job.Lost}}, Priority: -7,
		StartAfter: time.Date(2026, 12, 24, 17, 0, 0, 0, time.UTC), Deadline: time.Unix(1798138800, 500_000_000).UTC(), UniqueKey: "nightly é",
	}
	if diff := cmp.Diff(want, s.jobs[id].Request); diff != "" {
		t.Errorf("request differs (-want +got):\n%s", diff)
	}
}

func TestSubmitRefuses(t *testing.T) {
	deep := func(n int) string {
		return `{"command_criteria":["a"],"context":{"x":` + strings.Repeat("[", n-2) + strings.Repeat("]", n-2) + `}}`
	}
	with := func(field string) string { return `{"command_criteria":["a"],` + field + `}` }
	for name, c := range map[string]struct {
		body     string
		headers  []string
		status   int
		sentence string
		pointer  string
	}{
		"an empty body":               {"", nil, 400, "empty", ""},
		"only space":                  {" \n", nil, 400, "empty", ""},
		"no JSON":                     {"xx", nil, 400, "not a JSON object", ""},
		"a list":                      {"[]", nil, 400, "not a JSON object", ""},
		"null":                        {"null", nil, 400, "not a JSON object", ""},
		"JSON that ends early":        {`{"name":"a`, nil, 400, "not JSON", ""},
		"something behind it":         {`{"command_criteria":["a"]} x`, nil, 400, "not JSON", ""},
		"a second object":             {`{"command_criteria":["a"]}{}`, nil, 400, "not JSON", ""},
		"too deep nesting":            {deep(65), nil, 400, "deeper than 64", ""},
		"very deep nesting":           {strings.Repeat(`{"a":`, 200_000), nil, 400, "deeper than 64", ""},
		"bytes that are not UTF-8":    {with("\"name\":\"\xff\""), nil, 400, "UTF-8", ""},
		"half a character":            {with(`"context":{"a":"\ud800"}`), nil, 400, "half a character", ""},
		"the other half":              {with(`"context":{"a":"\udc00x"}`), nil, 400, "half a character", ""},
		"NUL in the context":          {with(`"context":{"a":"\u0000"}`), nil, 400, "NUL", ""},
		"NUL in a name":               {with(`"name":"\u0000"`), nil, 400, "NUL", ""},
		"a number beyond measure":     {with(`"context":{"a":1e400000}`), nil, 400, "beyond all measure", ""},
		"a number without end":        {with(`"context":{"a":` + strings.Repeat("1", 1001) + `}`), nil, 400, "beyond all measure", ""},
		"a name that is a number":     {with(`"name":1`), nil, 400, "name is a number; it must be a string", "/name"},
		"a context that is a string":  {with(`"context":"{}"`), nil, 400, "context is a string; it must be an object", "/context"},
		"criteria that are a string":  {`{"command_criteria":"a"}`, nil, 400, "command_criteria is a string; it must be a list", "/command_criteria"},
		"a criterion that is true":    {`{"command_criteria":["a",true]}`, nil, 400, "command_criteria/1 is a boolean", "/command_criteria/1"},
		"lists and strings mixed":     {with(`"cluster_criteria":[["a"],"b"]`), nil, 400, "cluster_criteria/1 is a string", "/cluster_criteria/1"},
		"a timeout that is a number":  {with(`"timeout":30`), nil, 400, `timeout is a number; it must be a duration such as "30s"`, "/timeout"},
		"an unreadable timeout":       {with(`"timeout":"soon"`), nil, 422, "timeout", "/timeout"},
		"a negative timeout":          {with(`"timeout":"-1s"`), nil, 422, "positive", "/timeout"},
		"no criteria":                 {`{}`, nil, 422, "at least one criterion", "/command_criteria"},
		"empty criteria":              {`{"command_criteria":[],"cluster_criteria":[]}`, nil, 422, "at least one criterion", "/command_criteria"},
		"criteria of nothing":         {`{"command_criteria":[" "]}`, nil, 422, "at least one criterion", "/command_criteria"},
		"an empty preference":         {with(`"cluster_criteria":[["a"],[]]`), nil, 422, "cluster_criteria/1 is empty", "/cluster_criteria/1"},
		"a name that is too long":     {with(`"name":"` + strings.Repeat("a", 301) + `"`), nil, 422, "301 bytes", "/name"},
		"a control character":         {with(`"name":"\u001b[31m"`), nil, 422, "control characters", "/name"},
		"a tag that is too long":      {with(`"tags":["` + strings.Repeat("a", 257) + `"]`), nil, 422, "longer than 256", "/tags"},
		"too many tags":               {with(`"tags":["x` + strings.Join(numbers(300), `","x`) + `"]`), nil, 422, "300 tags", "/tags"},
		"an unknown on_disconnect":    {with(`"on_disconnect":"explode"`), nil, 422, "cancel, continue", "/on_disconnect"},
		"a retry that is a number":    {with(`"retry":3`), nil, 400, "retry is a number; it must be an object", "/retry"},
		"a retry of nothing":          {with(`"retry":{}`), nil, 422, "retry/attempts is missing", "/retry/attempts"},
		"too many attempts":           {with(`"retry":{"attempts":101}`), nil, 422, "between 1 and 100", "/retry/attempts"},
		"attempts that are text":      {with(`"retry":{"attempts":"3"}`), nil, 400, "retry/attempts is a string", "/retry/attempts"},
		"a backoff that is a number":  {with(`"retry":{"attempts":3,"backoff":30}`), nil, 400, "retry/backoff is a number", "/retry/backoff"},
		"a backoff that is too long":  {with(`"retry":{"attempts":3,"backoff":"11m"}`), nil, 422, "more than 0s, and at most 10m0s", "/retry/backoff"},
		"a backoff of nothing":        {with(`"retry":{"attempts":3,"backoff":"0s"}`), nil, 422, "is 0s; it must be positive", "/retry/backoff"},
		"a class that is not known":   {with(`"retry":{"attempts":3,"on":["lost","bad"]}`), nil, 422, `retry/on names "bad"`, "/retry/on"},
		"a retry of what is canceled": {with(`"retry":{"attempts":3,"on":["canceled"]}`), nil, 422, `what can be retried is`, "/retry/on"},
		"a class that is a number":    {with(`"retry":{"attempts":3,"on":[1]}`), nil, 400, `retry/on/0 is a number`, "/retry/on/0"},
		"a priority that is text":     {with(`"priority":"high"`), nil, 400, "priority is a string; it must be a whole number", "/priority"},
		"a fraction of a priority":    {with(`"priority":1.5`), nil, 422, "priority is 1.5; it must be a whole number", "/priority"},
		"a priority that is too high": {with(`"priority":101`), nil, 422, "between -100 and 100", "/priority"},
		"a priority beyond measure":   {with(`"priority":1e99`), nil, 422, "whole number", "/priority"},
		"a start that is a duration":  {with(`"start_after":"1h"`), nil, 422, `it must be a time such as "2026-12-31T23:59:59Z"`, "/start_after"},
		"a start that is true":        {with(`"start_after":true`), nil, 400, "start_after is a boolean", "/start_after"},
		"a start in the far future":   {with(`"start_after":1e12`), nil, 422, "of the years 1970 to 9999", "/start_after"},
		"a deadline before all":       {with(`"deadline":-5e10`), nil, 422, "of the years 1970 to 9999", "/deadline"},
		"a deadline before the start": {with(`"deadline":"2026-12-31T23:59:59Z","start_after":"2027-01-01T00:59:59+01:00"`), nil, 422, "deadline is not after start_after", "/deadline"},
		"a unique key that is long":   {with(`"unique_key":"` + strings.Repeat("k", 256) + `"`), nil, 422, "256 bytes", "/unique_key"},
		"an attachment without sum":   {with(`"attachments":[{"name":"x"}]`), nil, 422, "attachments/0/sha256", "/attachments/0/sha256"},
		"an odd key of idempotency":   {ping, []string{"Idempotency-Key: a b"}, 400, "visible ASCII", ""},
		"a key that is too long":      {ping, []string{"Idempotency-Key: " + strings.Repeat("k", 256)}, 400, "256 bytes", ""},
		"an odd key in the body":      {with(`"idempotency_key":"ä"`), nil, 422, "visible ASCII", "/idempotency_key"},
		"a context that is too large": {with(`"context":{"a":"` + strings.Repeat("a", 128<<10) + `"}`), nil, 413, "context is larger than 131072", ""},
		"a body that is too large":    {with(`"context":{"a":"` + strings.Repeat("a", 2<<20) + `"}`), nil, 413, "body is larger than 1048576", ""},
		"XML":                         {ping, []string{"Content-Type: text/xml"}, 415, "text/xml", ""},
		"a form that is none":         {ping, []string{"Content-Type: multipart/form-data; boundary=x"}, 400, "the form ended early", ""},
		"no content type at all":      {ping, []string{"Content-Type: /"}, 415, "application/json", ""},
		"a page of another site":      {ping, []string{"Sec-Fetch-Site: cross-site"}, 403, "another site", ""},
		"no user":                     {"xx", []string{"X-Heimdall-User: "}, 401, "no user", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			a := serve(t, f).do(t, "POST", "/api/v1/job", c.body, c.headers...)
			checkProblem(t, a, c.status, c.sentence)
			if len(f.jobs) != 0 {
				t.Error("a job was submitted, want none")
			}
			if c.pointer == "" {
				return
			}
			faults, _ := a.json(t)["errors"].([]any)
			if len(faults) != 1 || faults[0].(map[string]any)["pointer"] != c.pointer {
				t.Errorf("errors = %v, want one at %s", faults, c.pointer)
			}
		})
	}
}

func numbers(n int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = strings.Repeat("i", i/200) + string(rune('a'+i%26)) + string(rune('a'+i/26%26))
	}
	return texts
}

func TestSubmitTellsAllFaultsAtOnce(t *testing.T) {
	a := serve(t, newFake()).do(t, "POST", "/api/v1/job", `{"name":1,"command_criteria":[2],"timeout":"x","priority":101}`)
	checkProblem(t, a, 400, "name is a number; it must be a string; command_criteria/0 is a number")
	if got := len(a.json(t)["errors"].([]any)); got != 4 {
		t.Errorf("%d errors, want 4: %s", got, a.text)
	}
}

func TestSubmitWithAKey(t *testing.T) {
	f := newFake()
	s := serve(t, f)
	long := strings.Repeat("~", 255)
	in := strings.Replace(ping, "{", `{"idempotency_key":"in the body",`, 1)
	s.do(t, "POST", "/api/v1/job", ping, "Idempotency-Key: "+long)
	s.do(t, "POST", "/api/v1/job", strings.Replace(in, "in the body", "body", 1))
	s.do(t, "POST", "/api/v1/job", ping)
	if diff := cmp.Diff([]string{long, "body", ""}, f.keys); diff != "" {
		t.Errorf("keys of the submits (-want +got):\n%s", diff)
	}
}

func TestSubmitAtTheLimits(t *testing.T) {
	f := newFake()
	s := serve(t, f)
	nested := `{"command_criteria":["a"],"context":{"x":` + strings.Repeat("[", 62) + strings.Repeat("]", 62) + `}}`
	largest := `{"command_criteria":["a"],"context":{"x":"` + strings.Repeat("x", 128<<10-8) + `"}}`
	twice := `{"command_criteria":["a"],"name":"a","name":"b","context":{"a":1,"a":2},"Context":{"emoji":"\ud83d\ude00"}}`
	for _, body := range []string{nested, largest, twice} {
		if a := s.do(t, "POST", "/api/v1/job", body); a.StatusCode != http.StatusAccepted {
			t.Errorf("%.60s: status = %d, want 202; body %.300s", body, a.StatusCode, a.text)
		}
	}
}

func TestSubmitLargeBodyIsNotRead(t *testing.T) {
	s := serve(t, newFake())
	r := s.request(t, "POST", "/api/v1/job", "")
	r.Body, r.ContentLength = endless{}, 300<<20
	r.Header.Set("Expect", "100-continue")
	s.Client().Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
	checkProblem(t, s.send(t, r), http.StatusRequestEntityTooLarge, "larger than")
}

// endless is a body that nobody can read whole.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
func (endless) Close() error               { return nil }
