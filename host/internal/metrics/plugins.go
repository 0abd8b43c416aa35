package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Plugins counts what plugins do. It is told by the plugin host.
type Plugins struct {
	restarts *prometheus.CounterVec
	calls    *prometheus.HistogramVec
}

func newPlugins(r prometheus.Registerer) *Plugins {
	return &Plugins{
		restarts: counter(r, "plugin_restarts_total",
			"Processes of plugins that were started again, by what had become of the one before.", "plugin", "reason"),
		calls: histogram(r, "plugin_call_seconds",
			"How long calls of plugins took that have one answer.", times(), "plugin", "method", "code"),
	}
}

// Restarted counts a restart.
func (m *Plugins) Restarted(plugin, reason string) { m.restarts.WithLabelValues(plugin, reason).Inc() }

// Called counts a call.
func (m *Plugins) Called(plugin, method, code string, took time.Duration) {
	m.calls.WithLabelValues(plugin, method, code).Observe(took.Seconds())
}
