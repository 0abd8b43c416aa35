package api

import (
	"context"
	"net/http"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Hosts says which hosts the store has.
type Hosts interface {
	// Hosts returns them by their names, and what the clock of the store says.
	Hosts(ctx context.Context) (hosts []store.Host, clock time.Time, err error)
}

// wireHost is a host of the store.
type wireHost struct {
	ID              string              `json:"id"`
	Name            string              `json:"name"`
	Address         string              `json:"address"`
	Version         string              `json:"version"`
	State           string              `json:"state"` // live, draining, stopped, lost
	This            bool                `json:"this"`  // it is the one that answers
	Slots           int                 `json:"slots"`
	Running         int                 `json:"running"` // jobs that it has; of a lost one, those that wait for it
	Plugins         map[string][]string `json:"plugins"` // names to versions, of those that can be used
	CatalogRevision string              `json:"catalog_revision"`
	StartedTime     *time.Time          `json:"started_time,omitempty"`
	LeaseUntil      time.Time           `json:"lease_until"`   // by the clock of the store
	LeaseSeconds    float64             `json:"lease_seconds"` // left of it; less than 0 when it is over
	LostTime        *time.Time          `json:"lost_time,omitempty"`
}

// listHosts serves GET /hosts.
func (h *Handler) listHosts(x *exchange) error {
	hosts, clock, err := h.hosts.Hosts(x.r.Context())
	if err != nil {
		return err
	}
	list := make([]wireHost, len(hosts))
	for i, known := range hosts {
		list[i] = wireHostOf(known, clock, known.ID == h.host)
	}
	return h.writeJSON(x, http.StatusOK, struct {
		Data           []wireHost `json:"data"`
		CatalogsDiffer bool       `json:"catalogs_differ"` // two hosts that take jobs have different ones
	}{list, catalogsDiffer(hosts)})
}

func catalogsDiffer(hosts []store.Host) bool {
	revision := ""
	for _, h := range hosts {
		if !h.State.TakesJobs() || h.Revision == "" {
			continue
		}
		if revision != "" && h.Revision != revision {
			return true
		}
		revision = h.Revision
	}
	return false
}

func wireHostOf(h store.Host, clock time.Time, this bool) wireHost {
	w := wireHost{
		ID: h.ID, Name: h.Name, Address: h.Address, Version: h.Version, State: string(h.State), This: this, Slots: h.Slots, Running: h.Running,
		Plugins: h.Plugins, CatalogRevision: h.Revision, LeaseUntil: h.LeaseUntil.UTC().Truncate(time.Microsecond),
		LeaseSeconds: h.LeaseUntil.Sub(clock).Round(time.Millisecond).Seconds(),
		StartedTime:  moment(h.StartedAt),
	}
	if h.State == store.Lost {
		w.LostTime = moment(h.LostAt)
	}
	if w.Plugins == nil {
		w.Plugins = map[string][]string{}
	}
	return w
}
