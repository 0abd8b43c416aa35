package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Store counts what is written to the database. It is told by the store.
type Store struct {
	wrote    *prometheus.HistogramVec
	faults   *prometheus.CounterVec
	combined *prometheus.HistogramVec
}

func newStore(r prometheus.Registerer) *Store {
	return &Store{
		wrote: histogram(r, "store_write_seconds",
			"How long writes to the database took, by kind, with their wait for their turn.", shortTimes(), "kind"),
		faults: counter(r, "store_write_failures_total",
			"Writes that the database did not do because it was away or too slow.", "kind"),
		combined: histogram(r, "store_batch_members",
			"How many writes went to the database together, by kind.", []float64{1, 2, 5, 10, 25, 50, 100, 250, 500, 1000}, "kind"),
	}
}

// Wrote counts a write.
func (m *Store) Wrote(kind string, took time.Duration, failed bool) {
	m.wrote.WithLabelValues(kind).Observe(took.Seconds())
	if failed {
		m.faults.WithLabelValues(kind).Inc()
	}
}

// Combined counts writes that go to the database together.
func (m *Store) Combined(kind string, members int) {
	m.combined.WithLabelValues(kind).Observe(float64(members))
}
