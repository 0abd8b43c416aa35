package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/api"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
)

const unknown = "00000000-0000-7000-8000-000000000000"

func TestRouting(t *testing.T) {
	s := serve(t, newFake())
	for name, c := range map[string]struct {
		method, path string
		status       int
		allow        string
	}{
		"an unknown path":             {"GET", "/api/v1/nothing", 404, ""},
		"the base":                    {"GET", "/api/v1", 404, ""},
		"outside of the base":         {"GET", "/nothing", 404, ""},
		"more than a path":            {"GET", "/api/v1/jobsfoo", 404, ""},
		"something under a job":       {"GET", "/api/v1/job/" + unknown + "/core", 404, ""},
		"a slash too many":            {"GET", "/api/v1/jobs/", 404, ""},
		"two slashes":                 {"GET", "/api/v1//jobs", 404, ""},
		"a GET for a POST":            {"GET", "/api/v1/job", 405, "POST"},
		"a POST for a GET":            {"POST", "/api/v1/plugins", 405, "GET, HEAD"},
		"a DELETE":                    {"DELETE", "/api/v1/job/" + unknown, 405, "GET, HEAD"},
		"a PUT of a probe":            {"PUT", "/healthz", 405, "GET, HEAD"},
		"a HEAD for a POST":           {"HEAD", "/api/v1/job/" + unknown + "/cancel", 405, "POST"},
		"an unknown job":              {"GET", "/api/v1/job/" + unknown, 404, ""},
		"its status":                  {"GET", "/api/v1/job/" + unknown + "/status", 404, ""},
		"its status, later":           {"GET", "/api/v1/job/" + unknown + "/status?wait=1s", 404, ""},
		"its stdout":                  {"GET", "/api/v1/job/" + unknown + "/stdout", 404, ""},
		"its stderr":                  {"GET", "/api/v1/job/" + unknown + "/stderr", 404, ""},
		"its result":                  {"GET", "/api/v1/job/" + unknown + "/result", 404, ""},
		"its end":                     {"POST", "/api/v1/job/" + unknown + "/cancel", 404, ""},
		"an impossible id":            {"GET", "/api/v1/job/0", 404, ""},
		"an id that is too long":      {"GET", "/api/v1/job/" + strings.Repeat("a", 4000), 404, ""},
		"an id with braces":           {"GET", "/api/v1/job/%7B" + unknown[:34] + "%7D", 404, ""},
		"an id with NUL":              {"GET", "/api/v1/job/%00", 404, ""},
		"an id that is not UTF-8":     {"GET", "/api/v1/job/%ff", 404, ""},
		"a path in an id":             {"GET", "/api/v1/job/..%2f..%2fetc%2fpasswd", 404, ""},
		"a path in an id, its stdout": {"GET", "/api/v1/job/..%2F..%2Fx/stdout", 404, ""},
		"dots":                        {"GET", "/api/v1/job/../../etc/passwd", 404, ""},
		"dots, its result":            {"GET", "/api/v1/job/%2e%2e/result", 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.do(t, c.method, c.path, "")
			if got := a.Header.Get("Allow"); got != c.allow {
				t.Errorf("Allow = %q, want %q", got, c.allow)
			}
			if c.method == "HEAD" {
				if a.StatusCode != c.status {
					t.Errorf("status = %d, want %d", a.StatusCode, c.status)
				}
				return
			}
			checkProblem(t, a, c.status, "")
		})
	}
}

func TestNobodyIsServedWithoutUser(t *testing.T) {
	s := serve(t, newFake())
	for _, e := range api.Endpoints() {
		method, path, _ := strings.Cut(e, " ")
		a := s.do(t, method, strings.ReplaceAll(path, "{id}", unknown), "", "X-Heimdall-User: ")
		if !slices.Contains(publicPaths, path) {
			checkProblem(t, a, http.StatusUnauthorized, "no user")
		} else if a.StatusCode != http.StatusOK {
			t.Errorf("%s: status = %d, want 200", e, a.StatusCode)
		}
	}
	for _, path := range []string{"/api/v1/nothing", "/api/v1", "/api/v1/job", "/api/v1/job/%2f"} {
		checkProblem(t, s.do(t, "GET", path, "", "X-Heimdall-User: "), http.StatusUnauthorized, "no user")
	}
}

func TestEveryGetIsAHead(t *testing.T) {
	f := newFake()
	id := job.NewID()
	sum := digest("")
	f.files["test_user "+sum] = ""
	f.add(&job.Job{
		ID: id, User: "test_user", Status: job.Succeeded, Result: table(hello),
		Request: job.Request{Attachments: []job.Attachment{{Name: "ping", SHA256: sum}}},
	})
	s := serve(t, f)
	for _, e := range api.Endpoints() {
		method, path, _ := strings.Cut(e, " ")
		if method != "GET" {
			continue
		}
		path = strings.NewReplacer("{id}", string(id), "{name}", "ping", "{sha256}", sum).Replace(path)
		const whole = "Accept-Encoding: identity" // a client adds another one to a GET only
		get, head := s.do(t, "GET", path, "", whole), s.do(t, "HEAD", path, "", whole)
		if get.StatusCode != 200 || head.StatusCode != 200 || head.text != "" {
			t.Errorf("%s: GET %d, HEAD %d with %q, want both 200, no body", path, get.StatusCode, head.StatusCode, head.text)
		}
		if get.ContentLength != head.ContentLength || get.Header.Get("Content-Type") != head.Header.Get("Content-Type") {
			t.Errorf("%s: the headers of GET and HEAD differ: %v, %v", path, get.Header, head.Header)
		}
	}
}

func TestRequestIDs(t *testing.T) {
	s := serve(t, newFake())
	for given, echoed := range map[string]bool{"abc-1": true, "": false, "two words": false, strings.Repeat("x", 129): false} {
		got := s.do(t, "GET", "/healthz", "", "X-Request-Id: "+given).Header.Get("X-Request-Id")
		if echoed != (got == given) || got == "" {
			t.Errorf("X-Request-Id = %q for %q, want it echoed: %v", got, given, echoed)
		}
	}
}

func TestPanicBecomesAnAnswer(t *testing.T) {
	f := newFake()
	f.boom = true
	var log safeBuffer
	s := serve(t, f, func(c *api.Config) { c.Log = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Debug}) })
	a := s.do(t, "GET", "/api/v1/jobs", "", "X-Request-Id: the-one")
	checkProblem(t, a, http.StatusInternalServerError, "request the-one")
	if strings.Contains(a.text, "boom") {
		t.Errorf("body = %s, want nothing of the panic", a.text)
	}
	if got := log.String(); !strings.Contains(got, "boom") || !strings.Contains(got, "request_id=the-one") {
		t.Errorf("log = %s, want the panic and the request's id", got)
	}
	if a := s.do(t, "GET", "/healthz", ""); a.StatusCode != http.StatusOK {
		t.Errorf("status after a panic = %d, want 200", a.StatusCode)
	}
}

// safeBuffer is a buffer that several goroutines may write to.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestHealth(t *testing.T) {
	var away error
	s := serve(t, newFake(), func(c *api.Config) { c.Ready = func(context.Context) error { return away } })
	if a := s.do(t, "GET", "/healthz", ""); a.text != `{"status":"ok","version":"1.2.3"}`+"\n" {
		t.Errorf("healthz = %s", a.text)
	}
	if a := s.do(t, "GET", "/readyz", ""); a.StatusCode != http.StatusOK {
		t.Errorf("readyz = %d, want 200", a.StatusCode)
	}
	away = errors.New("the store is away")
	a := s.do(t, "GET", "/readyz", "")
	checkProblem(t, a, http.StatusServiceUnavailable, "the store is away")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After, want one")
	}
}

func TestServerBounds(t *testing.T) {
	h := api.New(api.Config{Jobs: newFake(), Auth: believer{}})
	s := api.NewServer("127.0.0.1:0", h)
	if s.ReadHeaderTimeout != 5*time.Second || s.IdleTimeout == 0 || s.MaxHeaderBytes != 16<<10 || s.WriteTimeout != 0 {
		t.Errorf("server = %+v, want bounds on asking and none on answering", s)
	}
}

func TestReadJob(t *testing.T) {
	f := newFake()
	id, three := job.NewID(), 3
	f.add(&job.Job{
		ID: id, User: "u", Status: job.Failed, CanceledBy: "c", Attempt: 2, CreatedAt: clock, UpdatedAt: clock.Add(time.Second),
		StartedAt: clock, EndedAt: clock.Add(time.Second),
		Request: job.Request{Name: "n", Context: []byte(`{"a":1}`), Timeout: time.Minute},
		Error:   &job.Error{Class: job.WorkFailed, Message: "exit status 3", ExitCode: &three, Signal: "SIGTERM"},
		Outputs: []job.Output{{Key: "Test Link", Kind: "link", Value: "http://x"}},
		Result:  table(hello),
	})
	s := serve(t, f)
	want := map[string]any{
		"id": string(id), "name": "n", "user": "u", "tags": []any{"_id:" + string(id), "_name:n"},
		"context": map[string]any{"a": 1.0}, "status": "FAILED", "error": "exit status 3", "error_class": "failed",
		"exit_code": 3.0, "signal": "SIGTERM", "canceled_by": "c", "attempt": 2.0, "timeout": "1m0s",
		"job_attributes": map[string]any{"Test Link": map[string]any{"kind": "link", "value": "http://x"}},
		"created_at":     float64(clock.Unix()), "updated_at": float64(clock.Unix() + 1),
		"created_time": "2026-11-23T07:32:03.93409Z", "started_time": "2026-11-23T07:32:03.93409Z", "ended_time": "2026-11-23T07:32:04.93409Z",
	}
	if diff := cmp.Diff(want, s.do(t, "GET", "/api/v1/job/"+strings.ToUpper(string(id)), "").json(t)); diff != "" {
		t.Errorf("job differs (-want +got):\n%s", diff)
	}
	wantStatus := map[string]any{"updated_at": float64(clock.Unix() + 1), "status": "FAILED", "error": "exit status 3"}
	if diff := cmp.Diff(wantStatus, s.do(t, "GET", "/api/v1/job/"+string(id)+"/status", "").json(t)); diff != "" {
		t.Errorf("status differs (-want +got):\n%s", diff)
	}
	if got, want := s.do(t, "GET", "/api/v1/job/statuses", "").text,
		`["ACCEPTED","CANCELED","CANCELING","FAILED","KILLED","NEW","RUNNING","SUCCEEDED"]`+"\n"; got != want {
		t.Errorf("statuses = %s, want %s", got, want)
	}
}

func TestReadsWaitForTheEnd(t *testing.T) {
	for _, path := range []string{"", "/status", "/result"} {
		t.Run("job"+path, func(t *testing.T) {
			f := newFake()
			id := job.NewID()
			f.add(&job.Job{ID: id, Status: job.Running})
			s := serve(t, f)
			go func() {
				<-f.waiting
				f.end(id, greet)
			}()
			a := s.do(t, "GET", "/api/v1/job/"+string(id)+path+"?wait=1m", "")
			want := `"status":"SUCCEEDED"`
			if path == "/result" {
				want = hello
			}
			if a.StatusCode != 200 || !strings.Contains(a.text, want) {
				t.Errorf("answer = %d %s, want 200 and %s", a.StatusCode, a.text, want)
			}
		})
	}
}

func TestReadsWaitNoLongerThanAsked(t *testing.T) {
	f := newFake()
	id := job.NewID()
	f.add(&job.Job{ID: id, Status: job.Running})
	s := serve(t, f)
	if a := s.do(t, "GET", "/api/v1/job/"+string(id)+"?wait=1ms", ""); a.json(t)["status"] != "RUNNING" {
		t.Errorf("job = %s, want it as it is", a.text)
	}
	checkProblem(t, s.do(t, "GET", "/api/v1/job/"+string(id)+"/result?wait=1ms", ""), http.StatusConflict, "RUNNING")
	for _, bad := range []string{"30", "-1s", "soon"} {
		checkProblem(t, s.do(t, "GET", "/api/v1/job/"+string(id)+"?wait="+bad, ""), http.StatusBadRequest, "duration such as 30s")
	}
	go func() {
		<-f.waiting // the one of 1ms, twice
		<-f.waiting
		<-f.waiting
		s.handler.Stop()
	}()
	if a := s.do(t, "GET", "/api/v1/job/"+string(id)+"?wait=5m", ""); a.json(t)["status"] != "RUNNING" {
		t.Errorf("job = %s, want it as it is when the host stops", a.text)
	}
}

func TestCancel(t *testing.T) {
	f := newFake()
	running, ended := job.NewID(), job.NewID()
	f.add(&job.Job{ID: running, Status: job.Running})
	f.add(&job.Job{ID: ended, Status: job.Succeeded})
	s := serve(t, f)
	for id, want := range map[job.ID]string{running: `{"status":"CANCELING"}`, ended: `{"status":"SUCCEEDED"}`} {
		a := s.do(t, "POST", "/api/v1/job/"+string(id)+"/cancel", "")
		if a.StatusCode != 200 || a.text != want+"\n" {
			t.Errorf("cancel = %d %s, want 200 %s", a.StatusCode, a.text, want)
		}
		if why := <-f.canceled; why != jobs.ByUser {
			t.Errorf("canceled for %q, want %q", why, jobs.ByUser)
		}
	}
	checkProblem(t, s.do(t, "POST", "/api/v1/job/"+string(running)+"/cancel", "", "Sec-Fetch-Site: cross-site"), 403, "another site")
}

func TestResults(t *testing.T) {
	for name, c := range map[string]struct {
		result      *job.Result
		contentType string
		attached    bool
	}{
		"a table":             {table(hello), "application/json", false},
		"a text":              {&job.Result{ContentType: "text/plain; charset=utf-8"}, "text/plain; charset=utf-8", false},
		"JSON":                {&job.Result{ContentType: "application/json"}, "application/json", false},
		"a page":              {&job.Result{ContentType: "text/html"}, "text/html", true},
		"a picture that acts": {&job.Result{ContentType: "image/svg+xml"}, "image/svg+xml", true},
		"no type":             {&job.Result{ContentType: ""}, "application/octet-stream", true},
		"nonsense":            {&job.Result{ContentType: "a\r\nX: y"}, "application/octet-stream", true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			id := job.NewID()
			c.result.Inline, c.result.Bytes = []byte(hello), int64(len(hello))
			f.add(&job.Job{ID: id, Status: job.Succeeded, Result: c.result})
			s := serve(t, f)
			a := s.do(t, "GET", "/api/v1/job/"+string(id)+"/result", "")
			if a.StatusCode != 200 || a.text != hello || a.ContentLength != int64(len(hello)) {
				t.Errorf("answer = %d %q (%d bytes), want 200 %q", a.StatusCode, a.text, a.ContentLength, hello)
			}
			if got := a.Header.Get("Content-Type"); got != c.contentType {
				t.Errorf("Content-Type = %q, want %q", got, c.contentType)
			}
			if a.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Error("no nosniff, want it")
			}
			disposition := a.Header.Get("Content-Disposition")
			if got := strings.HasPrefix(disposition, "attachment; filename="); got != c.attached {
				t.Errorf("Content-Disposition = %q, want an attachment: %v", disposition, c.attached)
			}
			part := s.do(t, "GET", "/api/v1/job/"+string(id)+"/result", "", "Range: bytes=2-8")
			if part.StatusCode != http.StatusPartialContent || part.text != hello[2:9] {
				t.Errorf("range = %d %q, want 206 %q", part.StatusCode, part.text, hello[2:9])
			}
		})
	}
}

func TestResultThatIsNotThere(t *testing.T) {
	f := newFake()
	running, ended := job.NewID(), job.NewID()
	f.add(&job.Job{ID: running, Status: job.Running})
	f.add(&job.Job{ID: ended, Status: job.Succeeded})
	s := serve(t, f)
	a := s.do(t, "GET", "/api/v1/job/"+string(running)+"/result", "")
	checkProblem(t, a, http.StatusConflict, "RUNNING")
	if a.json(t)["id"] != string(running) {
		t.Errorf("problem = %s, want the job's id in it", a.text)
	}
	checkProblem(t, s.do(t, "GET", "/api/v1/job/"+string(ended)+"/result", ""), http.StatusNotFound, "no result")
}

// A content that ends before its length was sent must not look whole.
func TestResultThatIsCut(t *testing.T) {
	f := newFake()
	id := job.NewID()
	f.add(&job.Job{ID: id, Status: job.Succeeded, Result: &job.Result{ContentType: "text/plain", Bytes: 100, Inline: []byte("short")}})
	s := serve(t, f)
	res, err := s.Client().Do(s.request(t, "GET", "/api/v1/job/"+string(id)+"/result", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("read %q without an error, want one", text)
	}
}
