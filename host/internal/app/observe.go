package app

import (
	"context"
	"net/http"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/metrics"
)

// requests tells of requests to the API.
type requests struct{ metrics *metrics.HTTP }

// Request implements api.Observer.
func (o requests) Request(r *http.Request, route string) (answered func(status int)) {
	return o.metrics.Request(r.Method, route)
}

// pluginOf returns the plugin of a command in force, or "".
func (h *host) pluginOf(command string) string {
	if c := h.catalog.Snapshot().Command(command); c != nil {
		return c.Plugin
	}
	return ""
}

// sources are what metrics ask this host for. They do so once it serves.
func (h *host) sources() metrics.Sources {
	return metrics.Sources{
		Queue:   func() metrics.Queue { return metrics.Queue(h.queue.Figures()) },
		Store:   h.storeFigures,
		Plugins: h.pluginFigures,
		Spool:   func() (int, int64) { return h.spool.Depth() },
		Catalog: h.catalogFigures,
		Oldest:  func(ctx context.Context) (time.Time, error) { return h.store.Oldest(ctx) },
	}
}

func (h *host) storeFigures() (up bool, pools []metrics.Pool) {
	for _, p := range h.store.Pools() {
		pools = append(pools, metrics.Pool(p))
	}
	return h.store.Up(), pools
}

func (h *host) pluginFigures() (builds []metrics.Build) {
	for _, s := range h.plugins.Plugins() {
		builds = append(builds, metrics.Build{Plugin: s.Name, Version: s.Version, State: string(s.State), Running: s.Running})
	}
	return builds
}

func (h *host) catalogFigures() metrics.Objects {
	s := h.catalog.Snapshot()
	return metrics.Objects{Revision: s.Revision, Commands: len(s.Commands), Clusters: len(s.Clusters)}
}
