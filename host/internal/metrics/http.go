package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// HTTP counts requests. It is told by the API.
type HTTP struct {
	inFlight prometheus.Gauge
	took     *prometheus.HistogramVec
	answered *prometheus.CounterVec
}

func newHTTP(r prometheus.Registerer) *HTTP {
	m := &HTTP{
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "http_requests_in_flight", Help: "Requests that are being answered.",
		}),
		took: histogram(r, "http_request_seconds",
			"How long requests took, with what they waited for: a submit may wait for its job.", times(), "method", "route"),
		answered: counter(r, "http_requests_total", "Requests that were answered, by status.", "method", "route", "code"),
	}
	r.MustRegister(m.inFlight)
	return m
}

// Request counts a request to a route, "" when it goes to none. What it returns is
// to be called with the status of the answer.
func (m *HTTP) Request(method, route string) (answered func(status int)) {
	begun := time.Now()
	m.inFlight.Inc()
	method, route = methodOf(method), routeOf(route)
	return func(status int) {
		m.inFlight.Dec()
		m.took.WithLabelValues(method, route).Observe(time.Since(begun).Seconds())
		m.answered.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	}
}

// methodOf keeps callers from making up values of the label.
func methodOf(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions:
		return method
	}
	return other
}

func routeOf(route string) string {
	if route == "" {
		return other
	}
	return route
}
