package client

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Host is one of the hosts of a store.
type Host struct {
	ID              string              `json:"id"`
	Name            string              `json:"name"`
	Address         string              `json:"address"`
	Version         string              `json:"version"`
	State           string              `json:"state"` // live, draining, stopped or lost
	This            bool                `json:"this"`  // it is the one that answers
	Slots           int                 `json:"slots"`
	Running         int                 `json:"running"`
	Plugins         map[string][]string `json:"plugins"` // names to versions
	CatalogRevision string              `json:"catalog_revision"`
	StartedTime     time.Time           `json:"started_time"`
	LeaseUntil      time.Time           `json:"lease_until"`
	LeaseSeconds    float64             `json:"lease_seconds"`
	LostTime        time.Time           `json:"lost_time"` // zero unless it is lost
}

// Hosts are the hosts of a store.
type Hosts struct {
	Hosts          []Host `json:"data"`
	CatalogsDiffer bool   `json:"catalogs_differ"` // two of those that take jobs have different ones

	Raw json.RawMessage `json:"-"` // the answer as it came
}

// Hosts returns the hosts of the store.
func (c *Client) Hosts(ctx context.Context) (*Hosts, error) {
	h := &Hosts{}
	raw, err := c.call(ctx, http.MethodGet, "/hosts", nil, nil, h)
	h.Raw = raw
	return h, err
}
