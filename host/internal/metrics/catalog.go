package metrics

import "github.com/prometheus/client_golang/prometheus"

// Catalog counts loads of the catalog. It is told by the watch.
type Catalog struct {
	loads  *prometheus.CounterVec
	loaded prometheus.Gauge
	good   prometheus.Gauge
}

func newCatalog(r prometheus.Registerer) *Catalog {
	m := &Catalog{
		loads: counter(r, "catalog_loads_total", "Loads of the catalog: ok, or refused for its faults.", "outcome"),
		loaded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "catalog_last_load_timestamp_seconds", Help: "When the catalog in force was loaded.",
		}),
		good: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "catalog_last_load_success", Help: "Whether the last load of the catalog was put into force: 1, else 0.",
		}),
	}
	r.MustRegister(m.loaded, m.good)
	return m
}

// Loaded counts a load of the catalog, and whether it failed.
func (m *Catalog) Loaded(err error) {
	if err != nil {
		m.loads.WithLabelValues("refused").Inc()
		m.good.Set(0)
		return
	}
	m.loads.WithLabelValues("ok").Inc()
	m.loaded.SetToCurrentTime()
	m.good.Set(1)
}
