package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/api"
	"github.com/heimdall-run/heimdall/host/internal/auth"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// clock is when everything happens in these tests.
var clock = time.Date(2026, 11, 23, 7, 32, 3, 934090000, time.UTC)

// fake is a service that holds jobs in memory. Tests end them.
type fake struct {
	sync      bool  // its command is sync
	err       error // of Submit
	hosts     []store.Host
	boom      bool   // List panics
	elsewhere string // the host that has all streams; "": this one
	explained *jobs.Explained
	page      job.Page
	auto      func(*job.Job) // ends a job as soon as it is submitted

	mu        sync.Mutex
	jobs      map[job.ID]*job.Job
	ended     map[job.ID]chan struct{}
	content   map[job.ID]string // of results that are objects
	logs      map[string]*fakeLog
	files     map[string]string // by user and SHA-256
	submitted []jobs.Waiting
	keys      []string // of submits
	filter    job.Filter
	attempts  []job.Attempt
	wait      *job.Wait
	waiting   chan job.ID // told by each Wait, if there is room
	canceled  chan jobs.CancelReason
}

func newFake() *fake {
	return &fake{
		jobs:      map[job.ID]*job.Job{},
		ended:     map[job.ID]chan struct{}{},
		content:   map[job.ID]string{},
		logs:      map[string]*fakeLog{},
		files:     map[string]string{},
		explained: twoPairs(),
		waiting:   make(chan job.ID, 100),
		canceled:  make(chan jobs.CancelReason, 100),
	}
}

func (f *fake) Submit(ctx context.Context, user string, r job.Request, o jobs.Waiting, key string) (*job.Job, error) {
	if f.err != nil {
		return nil, f.err
	}
	if ctx.Done() != nil {
		return nil, errors.New("a submit can be canceled")
	}
	j := &job.Job{
		ID: job.NewID(), User: user, Request: r, Sync: f.sync, Status: job.New, CreatedAt: clock, UpdatedAt: clock,
		Pair: job.Pair{CommandID: "ping-0.0.1", CommandName: "ping", ClusterID: "localhost-0.0.1", ClusterName: "localhost"},
	}
	f.mu.Lock()
	f.submitted = append(f.submitted, o)
	f.keys = append(f.keys, key)
	f.mu.Unlock()
	f.add(j)
	answer := *j
	if f.auto != nil {
		f.end(j.ID, f.auto)
	}
	return &answer, nil
}

// add puts a job in.
func (f *fake) add(j *job.Job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if j.Context == nil {
		j.Context = json.RawMessage("{}")
	}
	f.jobs[j.ID] = j
	f.ended[j.ID] = make(chan struct{})
	if j.Status.Final() {
		close(f.ended[j.ID])
	}
}

// end ends a job.
func (f *fake) end(id job.ID, change func(*job.Job)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := *f.jobs[id]
	change(&j)
	f.jobs[id] = &j
	close(f.ended[id])
}

// started is when the builds of the fake began to work.
var started = time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC)

// Plugins returns two builds of one plugin and a file that is none.
func (f *fake) Plugins() []pluginhost.Status {
	return []pluginhost.Status{
		{Name: "broken", Path: "/p/heimdall-plugin-broken", State: pluginhost.Failed, Since: started, Error: "it is no plugin"},
		{
			Name: "ping", Version: "1.1.0", Digest: "abcd", Path: "/p/heimdall-plugin-ping", Serves: true,
			State: pluginhost.Active, Since: started, PID: 7, Running: 2, RestartCount: 1,
			Isolation: pluginhost.PerJob, Processes: []pluginhost.Process{{PID: 8, Attempt: "j.1", Since: started}},
			Limits: pluginhost.Limits{MemoryBytes: 1 << 20}, Held: held(pluginhost.Cgroup), JobsHeld: held(pluginhost.Sampled),
			Restarts:    []pluginhost.Restart{{At: started, Reason: "signal: killed"}},
			Description: &pluginhost.Description{SDKVersion: "go/0.1.0", InputSchema: json.RawMessage(`{"type":"object"}`), Docs: "greets"},
		},
		{Name: "ping", Version: "1.0.0", Digest: "ef01", State: pluginhost.Draining, Since: started, PID: 6, Running: 1},
	}
}

// held says what holds limits, that of memory one way and none of the others.
func held(memory pluginhost.By) pluginhost.Holding {
	return pluginhost.Holding{Memory: memory, CPU: pluginhost.Nobody, OpenFiles: pluginhost.Nobody, Core: pluginhost.Rlimit}
}

func (f *fake) Wait(ctx context.Context, id job.ID) (*job.Job, error) {
	if _, err := f.Get(ctx, id); err != nil {
		return nil, err
	}
	select {
	case f.waiting <- id:
	default:
	}
	f.mu.Lock()
	ended := f.ended[id]
	f.mu.Unlock()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	return f.Get(ctx, id)
}

func (f *fake) Get(_ context.Context, id job.ID) (*job.Job, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if j := f.jobs[id]; j != nil {
		return j, nil
	}
	return nil, &errs.Error{Kind: errs.NotFound, ID: string(id), Message: fmt.Sprintf("no job %q", id)}
}

func (f *fake) Resolve(job.Request) (*jobs.Explained, error) { return f.explained, f.err }

func (f *fake) Explain(ctx context.Context, id job.ID) (*jobs.Explained, error) {
	if _, err := f.Get(ctx, id); err != nil {
		return nil, err
	}
	return f.explained, nil
}

func (f *fake) Attempts(context.Context, job.ID) ([]job.Attempt, error) { return f.attempts, nil }
func (f *fake) WhyWaiting(context.Context, job.ID) (*job.Wait, error)   { return f.wait, nil }

func (f *fake) List(_ context.Context, filter job.Filter) (job.Page, error) {
	if f.boom {
		panic("boom")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.filter = filter
	return f.page, nil
}

func (f *fake) Cancel(ctx context.Context, _ string, id job.ID, why jobs.CancelReason) (job.Status, error) {
	j, err := f.Get(ctx, id)
	if err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	f.canceled <- why
	if j.Status.Final() {
		return j.Status, nil
	}
	return job.Canceling, nil
}

func (f *fake) Result(ctx context.Context, id job.ID) (*job.Job, io.ReadSeekCloser, error) {
	j, err := f.Get(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case !j.Status.Final():
		return nil, nil, &errs.Error{Kind: errs.Conflict, ID: string(id), Message: "the job is " + string(j.Status)}
	case j.Result == nil:
		return nil, nil, &errs.Error{Kind: errs.NotFound, ID: string(id), Message: "the job has no result"}
	case j.Result.Object != "":
		return j, nopCloser{strings.NewReader(f.content[id])}, nil
	}
	return j, nopCloser{bytes.NewReader(j.Result.Inline)}, nil
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

func (f *fake) Log(ctx context.Context, id job.ID, s job.Stream, attempt int) (jobs.Log, error) {
	j, err := f.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if attempt == 0 {
		attempt = max(1, j.Attempt)
	}
	if f.elsewhere != "" {
		return nil, &jobs.Elsewhere{Job: id, Host: f.elsewhere, Attempt: attempt}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key := string(id) + "/" + string(s)
	if attempt > 1 {
		key += "/" + strconv.Itoa(attempt)
	}
	if f.logs[key] == nil {
		f.logs[key] = newFakeLog()
	}
	f.logs[key].attempt = attempt
	return f.logs[key], nil
}

// fakeLog is a log that tests write to.
type fakeLog struct {
	attempt int

	mu   sync.Mutex
	text []byte
	over bool
	news chan struct{}
}

func newFakeLog() *fakeLog { return &fakeLog{news: make(chan struct{})} }

func (l *fakeLog) write(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, text...)
	l.tell()
}

// end says that nothing more is written.
func (l *fakeLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.tell()
}

func (l *fakeLog) tell() {
	close(l.news)
	l.news = make(chan struct{})
}

func (l *fakeLog) Watch() (<-chan struct{}, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.news, l.over
}

func (l *fakeLog) Place(written int64) int64 { return written }
func (l *fakeLog) Written(place int64) int64 { return place }
func (l *fakeLog) Attempt() int              { return l.attempt }

func (l *fakeLog) ReadAt(p []byte, at int64) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.NewReader(l.text).ReadAt(p, at)
}

func (l *fakeLog) Size() (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.text)), nil
}

func (l *fakeLog) Close() error { return nil }

// believer takes the user from one header, and nobody else.
type believer struct{}

// MayOperate lets all but one change the catalog.
func (believer) MayOperate(u auth.User) error {
	if u.Name == "reader" {
		return errs.Errorf(errs.Denied, "user %q is not an operator", u.Name)
	}
	return nil
}

func (believer) Authenticate(r *http.Request) (auth.User, error) {
	if name := r.Header.Get("X-Heimdall-User"); name != "" {
		return auth.User{Name: name}, nil
	}
	return auth.User{}, errs.Errorf(errs.Unauthenticated, "no user is named")
}

// server is an API over a fake.
type server struct {
	*fake
	*httptest.Server
	handler *api.Handler
}

func serve(t *testing.T, f *fake, change ...func(*api.Config)) *server {
	t.Helper()
	c := api.Config{Jobs: f, Registry: &shelf{}, Auth: believer{}, Plugins: f, Hosts: f, Host: "h-1", Version: "1.2.3"}
	c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "up 1") })
	for _, do := range change {
		do(&c)
	}
	h := api.New(c)
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return &server{fake: f, Server: s, handler: h}
}

// answer is an answer that was read whole.
type answer struct {
	*http.Response
	text string
}

// json returns the answer's body as an object.
func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.text), &v); err != nil {
		t.Fatalf("body = %.300q, want JSON: %v", a.text, err)
	}
	return v
}

// do sends a request as a user; headers are "name: value".
func (s *server) do(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	return s.send(t, s.request(t, method, path, body, headers...))
}

func (s *server) request(t *testing.T, method, path, body string, headers ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Heimdall-User", "test_user")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	return r
}

func (s *server) send(t *testing.T, r *http.Request) answer {
	t.Helper()
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{res, string(text)}
	checkDescribed(t, r, a)
	return a
}

// checkProblem checks that an answer is a problem in the shape of all problems.
func checkProblem(t *testing.T, a answer, status int, sentence string) {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("status = %d, want %d; body %.300s", a.StatusCode, status, a.text)
	}
	if got, want := a.Header.Get("Content-Type"), "application/problem+json"; got != want {
		t.Errorf("Content-Type = %q, want %q", got, want)
	}
	p := a.json(t)
	if got := p["error"].(string); !strings.Contains(got, sentence) || got == "" {
		t.Errorf("error = %q, want it to contain %q", got, sentence)
	}
	if p["detail"] != p["error"] || p["status"] != float64(status) || p["title"] != http.StatusText(status) || p["type"] == "" {
		t.Errorf("problem = %v, want type, title, status and detail to fit", p)
	}
}
