// Package metrics counts what a host does, for Prometheus. Its parts are told by
// those who do it, through interfaces of theirs; what stands somewhere anyway is
// asked for when somebody looks.
package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// prefix begins the names of all metrics but those of Go and of the process.
const prefix = "heimdall_"

// Config is what metrics need.
type Config struct {
	Version string // of the host
	// Plugin returns the name of a command's plugin, "" when that is not known; nil:
	// it never is.
	Plugin  func(command string) string
	Sources Sources
}

// Metrics are the metrics of one host.
type Metrics struct {
	Jobs    *Jobs
	Store   *Store
	HTTP    *HTTP
	Plugins *Plugins
	Catalog *Catalog

	registry *prometheus.Registry
}

// New returns the metrics of a host. They are its own: a process may have several.
func New(c Config) *Metrics {
	if c.Plugin == nil {
		c.Plugin = func(string) string { return "" }
	}
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: prefix + "build_info", Help: "The version of the host and of Go: always 1.",
		ConstLabels: prometheus.Labels{"version": c.Version, "go": runtime.Version()},
	})
	build.Set(1)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build, newAsked(c.Sources))
	return &Metrics{
		Jobs:     newJobs(r, c.Plugin),
		Store:    newStore(r),
		HTTP:     newHTTP(r),
		Plugins:  newPlugins(r),
		Catalog:  newCatalog(r),
		registry: r,
	}
}

// Bounds of what scraping may cost the host.
const (
	mostScrapes = 4 // at once
	scrapeTime  = 10 * time.Second
)

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError, // what can be told is told
		DisableCompression:  true,                     // the API does that
		MaxRequestsInFlight: mostScrapes,
		Timeout:             scrapeTime,
	})
}

// times are the bounds of the classes that times fall into, in seconds, for what may
// take a millisecond or hours.
func times() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600}
}

// shortTimes are those for what is to take little.
func shortTimes() []float64 {
	return []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
}

// counter makes a counter.
func counter(r prometheus.Registerer, name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
	r.MustRegister(c)
	return c
}

// histogram makes a histogram.
func histogram(r prometheus.Registerer, name, help string, bounds []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: bounds}, labels)
	r.MustRegister(h)
	return h
}
