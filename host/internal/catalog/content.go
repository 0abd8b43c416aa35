package catalog

import (
	"encoding/json"
	"fmt"
)

// content is what selection depends on.
type content struct {
	Commands []*Command `json:"commands"`
	Clusters []*Cluster `json:"clusters"`
}

// Content returns what selection depends on, as JSON without any context, so
// that it can be stored.
func (s *Snapshot) Content() ([]byte, error) { return json.Marshal(content{s.Commands, s.Clusters}) }

// ParseContent returns the snapshot of a revision that was stored: what Content
// returned, without contexts.
func ParseContent(revision string, text []byte) (*Snapshot, error) {
	var c content
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("read revision %.20s of the catalog: %w", revision, err)
	}
	s, err := NewSnapshot(c.Commands, c.Clusters)
	if err != nil {
		return nil, fmt.Errorf("read revision %.20s of the catalog: %w", revision, err)
	}
	s.Revision = revision // that of then, whatever has become part of the content since
	return s, nil
}
