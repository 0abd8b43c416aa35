package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/api"
)

// observer notes what it is told of requests.
type observer struct {
	mu   sync.Mutex
	told []string
}

func (o *observer) Request(r *http.Request, route string) func(int) {
	return func(status int) {
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
