package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/api"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// observer notes what it is told of requests.
type observer struct {
	mu   sync.Mutex
	told []string
}

func (o *observer) Request(r *http.Request, route string, caller job.Trace) (job.Trace, func(int)) {
	return caller.Within("1111111111111111"), func(status int) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.told = append(o.told, fmt.Sprint(r.Method, " ", route, " ", status))
	}
}

func (o *observer) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	told := o.told
	o.told = nil
	return told
}

// Each request is told of once, by the path of its route and not by its own, also
// one that is refused or panics.
func TestRequestsAreToldOf(t *testing.T) {
	o := &observer{}
	f := newFake()
	f.boom = true
	s := serve(t, f, func(c *api.Config) { c.Observer = o })
	for _, c := range []struct{ method, path, user, want string }{
		{"GET", "/healthz", "", "GET /healthz 200"},
		{"GET", "/metrics", "", "GET /metrics 200"},
		{"GET", "/api/v1/job/" + unknown, "ann", "GET /api/v1/job/{id} 404"},
		{"GET", "/api/v1/job/" + unknown, "", "GET /api/v1/job/{id} 401"},
		{"DELETE", "/api/v1/job/" + unknown, "ann", "DELETE /api/v1/job/{id} 405"},
		{"GET", "/api/v1/nothing", "ann", "GET  404"},
		{"GET", "/api/v1/jobs", "ann", "GET /api/v1/jobs 500"},
	} {
		a := s.do(t, c.method, c.path, "", "X-Heimdall-User: "+c.user)
		if got := o.take(); !slices.Equal(got, []string{c.want}) {
			t.Errorf("%s %s (answered %d): told %q, want %q", c.method, c.path, a.StatusCode, got, c.want)
		}
	}
}

// What a request begins belongs to the trace that its caller has named, within the
// span of the request; what is no trace is none, and refuses nobody.
func TestJobsBelongToTraces(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	for name, c := range map[string]struct {
		header string
		want   job.Trace
	}{
		"a trace": {"00-" + id + "-00f067aa0ba902b7-01", "00-" + id + "-1111111111111111-01"},
		"none":    {"", ""},
		"no such": {"nonsense", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			s := serve(t, f, func(c *api.Config) { c.Observer = &observer{} })
			for path, kind := range map[string]string{"/api/v1/job": "application/json", "/api/v1/jobs": "application/x-ndjson"} {
				a := s.do(t, "POST", path, `{"name":"a","command_criteria":["type:ping"]}`, "Traceparent: "+c.header, "Content-Type: "+kind)
				if a.StatusCode >= 300 {
					t.Fatalf("POST %s: status = %d, want 2xx: %s", path, a.StatusCode, a.text)
				}
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.jobs) != 2 {
				t.Errorf("%d jobs were submitted, want 2", len(f.jobs))
			}
			for _, j := range f.jobs {
				if j.Trace != c.want {
					t.Errorf("trace = %q, want %q", j.Trace, c.want)
				}
			}
		})
	}
}
