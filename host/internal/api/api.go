// Package api serves jobs over HTTP under /api/v1. It reads and checks requests,
// calls the service behind [Jobs], and writes answers; it keeps nothing itself.
package api

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/auth"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// base is the path that everything but the probes lies under.
const base = "/api/v1"

// Auth finds out who asks.
type Auth interface {
	// Authenticate returns the user of a request, else an error of kind
	// errs.Unauthenticated that says what is missing.
	Authenticate(*http.Request) (auth.User, error)
	// MayOperate returns an error of kind errs.Denied when a user may not change the
	// catalog.
	MayOperate(auth.User) error
}

// Config is what a Handler needs. Jobs, Registry, Auth, Plugins and Hosts are required.
type Config struct {
	Jobs     Jobs
	Registry Registry
	Auth     Auth
	Plugins  Plugins
	Hosts    Hosts
	Host     string                      // id of this one
	Peers    Peers                       // the others; nil: there are none
	Ready    func(context.Context) error // nil: always ready
	// Report returns what is known of a job that has not ended: how far it is, and what
	// is shown with it; nil: nobody knows.
	Report   func(context.Context, *job.Job) job.Report
	Limits   Limits
	Metrics  http.Handler // serves /metrics; nil: there are none
	Observer Observer     // of requests; nil: none
	Log      hclog.Logger // nil: none
	Version  string       // of the host, shown by /healthz
}

// Observer hears of requests. Its methods take no time.
type Observer interface {
	// Request is told of a request to the path of a route, "" when it goes to none, and
	// of the trace context that its caller has named. It returns the one for what the
	// request begins, and what is called with the status of the answer.
	Request(r *http.Request, route string, caller job.Trace) (within job.Trace, answered func(status int))
}

// unobserved is the observer of a handler that has none.
type unobserved struct{}

func (unobserved) Request(_ *http.Request, _ string, caller job.Trace) (job.Trace, func(int)) {
	return caller, func(int) {}
}

// Limits bounds what a request may send, in bytes.
type Limits struct {
	Body    int64 // of a request; 0: 1 MiB. More is answered with 413
	Context int64 // of a job's context; 0: 128 KiB. More is answered with 413
	Upload  int64 // of the files that come with a job, together; 0: 1 GiB. More is answered with 413
	Batch   int64 // of a request that submits many jobs; 0: 64 MiB. More is answered with 413
}

// Handler serves the API.
type Handler struct {
	jobs     Jobs
	auth     Auth
	builds   Plugins
	hosts    Hosts
	host     string
	peers    Peers
	ready    func(context.Context) error
	report   func(context.Context, *job.Job) job.Report
	limits   Limits
	metrics  http.Handler
	observer Observer
	log      hclog.Logger
	registry Registry

	version  string
	document func() ([]byte, error) // what describes the API, as JSON
	router   *mux.Router
	origins  *http.CrossOriginProtection
	stopping context.Context // done when long requests should end; no request's own
	stop     context.CancelFunc
}

// New returns the handler of the API.
func New(c Config) *Handler {
	h := &Handler{
		jobs:     c.Jobs,
		registry: c.Registry,
		auth:     c.Auth,
		builds:   c.Plugins,
		hosts:    c.Hosts,
		host:     c.Host,
		peers:    c.Peers,
		ready:    c.Ready,
		report:   c.Report,
		limits:   c.Limits,
		metrics:  c.Metrics,
		observer: c.Observer,
		log:      c.Log,
		version:  c.Version,
		origins:  http.NewCrossOriginProtection(),
		document: sync.OnceValues(Document),
	}
	if h.observer == nil {
		h.observer = unobserved{}
	}
	if h.limits.Body <= 0 {
		h.limits.Body = 1 << 20
	}
	if h.limits.Context <= 0 {
		h.limits.Context = 128 << 10
	}
	if h.limits.Upload <= 0 {
		h.limits.Upload = 1 << 30
	}
	if h.limits.Batch <= 0 {
		h.limits.Batch = 64 << 20
	}
	if h.log == nil {
		h.log = hclog.NewNullLogger()
	}
	h.stopping, h.stop = context.WithCancel(context.Background())
	h.router = h.route()
	return h
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.router.ServeHTTP(w, r) }

// Stop makes reads that wait (?wait=, ?follow=) answer with what there is, so
// that a server can be shut down. A submit that waits for its job is not cut:
// its job is being drained.
func (h *Handler) Stop() { h.stop() }

// NewServer returns a server for the handler that bounds how long a peer may
// take to ask, but not how long an answer may take: jobs take their time. Its
// Shutdown stops the handler's waiting reads.
func NewServer(addr string, h *Handler) *http.Server {
	s := &http.Server{
		Addr:              addr,
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	s.RegisterOnShutdown(h.Stop)
	return s
}

// endpoint is a method of a path and what serves it.
type endpoint struct {
	method string
	path   string
	handle func(*Handler, *exchange) error
}

// endpoints returns everything that is served. A GET is also a HEAD.
func endpoints() []endpoint {
	return append(catalogEndpoints(), []endpoint{
		{"POST", base + "/job", (*Handler).submitJob},
		{"GET", base + "/job/statuses", (*Handler).jobStatuses},
		{"GET", base + "/job/{id}", (*Handler).getJob},
		{"GET", base + "/job/{id}/status", (*Handler).getStatus},
		{"GET", base + "/job/{id}/stdout", (*Handler).getStdout},
		{"GET", base + "/job/{id}/stderr", (*Handler).getStderr},
		{"GET", base + "/job/{id}/result", (*Handler).getResult},
		{"GET", base + "/job/{id}/explain", (*Handler).explainJob},
		{"GET", base + "/job/{id}/attachments/{name}", (*Handler).getJobAttachment},
		{"GET", base + "/attachment/{sha256}", (*Handler).getAttachment},
		{"PUT", base + "/attachment/{sha256}", (*Handler).putAttachment},
		{"POST", base + "/job/{id}/cancel", (*Handler).cancelJob},
		{"POST", base + "/resolve", (*Handler).resolve},
		{"GET", base + "/jobs", (*Handler).listJobs},
		{"POST", base + "/jobs", (*Handler).submitBatch},
		{"GET", base + "/hosts", (*Handler).listHosts},
		{"GET", base + "/plugins", (*Handler).listPlugins},
		{"GET", base + "/plugin/{name}", (*Handler).getPlugin},
		{"GET", base + "/openapi.json", (*Handler).openAPI},
		{"GET", base + "/openapi.yaml", (*Handler).openAPIYAML},
		{"GET", "/healthz", (*Handler).healthz},
		{"GET", "/readyz", (*Handler).readyz},
		{"GET", "/metrics", (*Handler).getMetrics},
	}...)
}

// route builds the router: one route for each path, which answers 405 itself, so
// that the methods it lists are those of the table.
func (h *Handler) route() *mux.Router {
	router := mux.NewRouter().SkipClean(true).UseEncodedPath()
	paths := make(map[string]methods)
	for _, e := range endpoints() {
		if paths[e.path] == nil {
			paths[e.path] = make(methods)
			router.Handle(e.path, h.serve(e.path, paths[e.path]))
		}
		paths[e.path][e.method] = e.handle
	}
	router.NotFoundHandler = h.serve("", nil)
	return router
}

// public reports whether a path is served to anybody.
func public(path string) bool {
	switch path {
	case base, base + "/openapi.json", base + "/openapi.yaml":
		return path != base
	}
	return !strings.HasPrefix(path, base+"/")
}
