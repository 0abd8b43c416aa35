package api_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// What a client knows already is not sent again, until it changes.
func TestConditionalReads(t *testing.T) {
	f := newFake()
	s := serve(t, f)
	id := job.NewID()
	f.add(&job.Job{ID: id, Status: job.Running})
	path := "/api/v1/job/" + string(id)
	first := s.do(t, "GET", path, "")
	tag := first.Header.Get("ETag")
	if tag == "" || first.Header.Get("Cache-Control") != "private, no-cache" {
		t.Fatalf("headers = %v, want an ETag, and that nobody else keeps it", first.Header)
	}
	for name, c := range map[string]struct {
		known  string
		status int
	}{
		"that one":               {tag, 304},
		"the strong form of it":  {strings.TrimPrefix(tag, "W/"), 304},
		"one of several":         {`"a", ` + tag, 304},
		"any":                    {"*", 304},
		"another one":            {`"a"`, 200},
		"something else":         {"nonsense", 200},
		"a part of it":           {tag[:len(tag)-2] + `"`, 200},
		"nothing that is quoted": {"", 200},
	} {
		a := s.do(t, "GET", path, "", "If-None-Match: "+c.known)
		if a.StatusCode != c.status || (a.text == "") != (c.status == 304) || a.Header.Get("ETag") != tag {
			t.Errorf("%s: got %d with %q, want %d", name, a.StatusCode, a.text, c.status)
		}
	}
	f.end(id, greet)
	if a := s.do(t, "GET", path, "", "If-None-Match: "+tag); a.StatusCode != 200 || a.Header.Get("ETag") == tag {
		t.Errorf("after the end: got %d with %v, want the job and another ETag", a.StatusCode, a.Header)
	}
	result := s.do(t, "GET", path+"/result", "")
	tag = result.Header.Get("ETag")
	if a := s.do(t, "GET", path+"/result", "", "If-None-Match: "+tag); a.StatusCode != 304 || a.text != "" {
		t.Errorf("the result: got %d with %q, want 304", a.StatusCode, a.text)
	}
	if a := s.do(t, "GET", path+"/result", "", "Range: bytes=0-3", "If-Range: "+tag); a.StatusCode != 206 || a.text != hello[:4] {
		t.Errorf("a range of the known result: got %d with %q, want 206", a.StatusCode, a.text)
	}
	if a := s.do(t, "GET", path+"/result", "", "Range: bytes=0-3", `If-Range: "x"`); a.StatusCode != 200 || a.text != hello {
		t.Errorf("a range of another result: got %d with %q, want the whole", a.StatusCode, a.text)
	}
	if a := s.do(t, "POST", "/api/v1/job", ping, "If-None-Match: *"); a.StatusCode != 202 || a.Header.Get("ETag") != "" {
		t.Errorf("a submit: got %d with ETag %q, want it submitted, without", a.StatusCode, a.Header.Get("ETag"))
	}
}

func TestPackedAnswers(t *testing.T) {
	f := newFake()
	s := serve(t, f)
	long := `{"columns":[{"name":"a","type":"string"}],"data":[["` + strings.Repeat("many words ", 1000) + `"]]}`
	id, picture := job.NewID(), job.NewID()
	f.add(&job.Job{ID: id, Status: job.Succeeded, Result: table(long)})
	f.add(&job.Job{ID: picture, Status: job.Succeeded, Result: &job.Result{ContentType: "image/png", Bytes: int64(len(long)), Inline: []byte(long)}})
	result := "/api/v1/job/" + string(id) + "/result"
	for name, c := range map[string]struct {
		path    string
		headers []string
		packed  bool
	}{
		"a result":                   {result, []string{"Accept-Encoding: gzip"}, true},
		"one of several encodings":   {result, []string{"Accept-Encoding: br, GZIP;q=0.5"}, true},
		"any encoding":               {result, []string{"Accept-Encoding: *"}, true},
		"the description":            {"/api/v1/openapi.json", []string{"Accept-Encoding: gzip"}, true},
		"not asked for":              {result, []string{"Accept-Encoding: identity"}, false},
		"refused":                    {result, []string{"Accept-Encoding: gzip;q=0, *"}, false},
		"a part":                     {result, []string{"Accept-Encoding: gzip", "Range: bytes=0-"}, false},
		"what is small":              {"/api/v1/job/" + string(id), []string{"Accept-Encoding: gzip"}, false},
		"what cannot become smaller": {"/api/v1/job/" + string(picture) + "/result", []string{"Accept-Encoding: gzip"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.do(t, "GET", c.path, "", c.headers...)
			if got := a.Header.Get("Content-Encoding") == "gzip"; got != c.packed {
				t.Fatalf("packed = %v, want %v: %d %v", got, c.packed, a.StatusCode, a.Header)
			}
			if !c.packed {
				return
			}
			r, err := gzip.NewReader(strings.NewReader(a.text))
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			if err != nil || !bytes.HasPrefix(text, []byte("{")) || c.path == result && string(text) != long {
				t.Errorf("unpacked %d bytes with error %v: %.60s", len(text), err, text)
			}
			if !strings.HasPrefix(a.Header.Get("ETag"), "W/") || !strings.Contains(strings.Join(a.Header.Values("Vary"), ","), "Accept-Encoding") || a.Header.Get("Accept-Ranges") != "" {
				t.Errorf("headers = %v, want a weak ETag, Vary and no ranges", a.Header)
			}
			if again := s.do(t, "GET", c.path, "", append(c.headers, "If-None-Match: "+a.Header.Get("ETag"))...); again.StatusCode != http.StatusNotModified {
				t.Errorf("with its ETag: got %d, want 304", again.StatusCode)
			}
		})
	}
}

func TestBodiesAsTheyCome(t *testing.T) {
	f := newFake()
	s := serve(t, f)
	for name, c := range map[string]struct {
		path, body string
		headers    []string
		status     int
		sentence   string
	}{
		"a byte order mark":             {"/api/v1/job", "\ufeff" + ping, nil, 202, ""},
		"a byte order mark in a batch":  {"/api/v1/jobs", "\ufeff" + ping, []string{"Content-Type: application/x-ndjson"}, 200, ""},
		"two byte order marks":          {"/api/v1/job", "\ufeff\ufeff" + ping, nil, 400, "not a JSON object"},
		"packed":                        {"/api/v1/job", ping, []string{"Content-Encoding: gzip"}, 415, `encoding "gzip" is not read`},
		"a packed batch":                {"/api/v1/jobs", ping, []string{"Content-Type: application/x-ndjson", "Content-Encoding: zstd"}, 415, "send the body as it is"},
		"said not to be packed":         {"/api/v1/job", ping, []string{"Content-Encoding: Identity"}, 202, ""},
		"two keys":                      {"/api/v1/job", `{"command_criteria":["a"],"idempotency_key":"x"}`, []string{"Idempotency-Key: y"}, 422, "differ"},
		"the same key twice":            {"/api/v1/job", `{"command_criteria":["a"],"idempotency_key":"y"}`, []string{"Idempotency-Key: y"}, 202, ""},
		"an empty key":                  {"/api/v1/job", ping, []string{"Idempotency-Key: "}, 400, "is empty"},
		"a retry without attempts":      {"/api/v1/job", `{"command_criteria":["a"],"retry":{"attempt":3}}`, nil, 422, "retry/attempts is missing"},
		"an unknown field of a retry":   {"/api/v1/job", `{"command_criteria":["a"],"retry":{"attempts":3,"color":"red","on":["lost"]}}`, nil, 202, ""},
		"a name in the query":           {"/api/v1/job?name=q&user=x&command_criteria=z", ping, nil, 202, ""},
		"a name in the query, too long": {"/api/v1/job?name=" + strings.Repeat("n", 301), ping, nil, 422, "name has 301 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.do(t, "POST", c.path, c.body, c.headers...)
			if c.sentence != "" {
				checkProblem(t, a, c.status, c.sentence)
			} else if a.StatusCode != c.status || strings.Contains(a.text, `"status":4`) {
				t.Errorf("got %d: %s, want %d", a.StatusCode, a.text, c.status)
			}
			if strings.Contains(c.path, "?name=q") && (a.json(t)["name"] != "q" || a.json(t)["user"] != "test_user") {
				t.Errorf("body = %s, want the name of the query, and the user of the header", a.text)
			}
		})
	}
}

// Lines that a shell has joined are told apart from lines that are no JSON.
func TestBatchOfJoinedLines(t *testing.T) {
	s := serve(t, newFake())
	for body, want := range map[string]string{
		ping + ping:              "--data-binary",
		ping + "  " + ping + " ": "--data-binary",
		`{"name":"}{"}` + "x":    "is not JSON",
	} {
		a := s.do(t, "POST", "/api/v1/jobs", body, "Content-Type: application/x-ndjson")
		if a.StatusCode != 200 || !strings.Contains(a.text, want) || !strings.Contains(a.text, `"status":400`) {
			t.Errorf("%.60s: got %d: %s, want 400 for the line with %q", body, a.StatusCode, a.text, want)
		}
	}
}

// The host of a job is told while it has it.
func TestHostOfARunningJob(t *testing.T) {
	f := newFake()
	s := serve(t, f)
	for status, want := range map[job.Status]any{job.New: nil, job.Accepted: "h-7", job.Running: "h-7", job.Canceling: "h-7", job.Succeeded: nil} {
		id := job.NewID()
		f.add(&job.Job{ID: id, Status: status, HostID: "h-7"})
		if got := s.do(t, "GET", "/api/v1/job/"+string(id), "").json(t)["host_id"]; got != want {
			t.Errorf("%s: host_id = %v, want %v", status, got, want)
		}
	}
}
