package conformance

import (
	"sync"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// marks are the numbers up to which events of attempts were acknowledged because
// of a checkpoint. A plugin may have forgotten them.
type marks struct {
	mu sync.Mutex
	of map[string]uint64
}

// raise notes a number of an attempt.
func (m *marks) raise(id string, number uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = map[string]uint64{}
	}
	m.of[id] = max(m.of[id], number)
}

// at returns the number of an attempt; 0: nothing of it was acknowledged.
func (m *marks) at(id string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of[id]
}

// beyond returns those of an attempt's events that it has to keep.
func (m *marks) beyond(id string, events []*pluginpb.Event) []*pluginpb.Event {
	number := m.at(id)
	for len(events) > 0 && events[0].GetNumber() <= number {
		events = events[1:]
	}
	return events
}
