package queue

import "sync"

// slots are rights to run one more attempt here.
type slots struct {
	mu   sync.Mutex
	free int
}

func newSlots(n int) *slots { return &slots{free: n} }

// take takes up to most slots and returns how many it got.
func (s *slots) take(most int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := max(min(most, s.free), 0)
	s.free -= n
	return n
}

func (s *slots) give(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free += n
}

// force takes slots that may not be free: fewer are taken until they are again.
func (s *slots) force(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free -= n
}

// count returns how many are free; less than 0 when more are taken than there are.
func (s *slots) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free
}

// some reports whether slots are free.
func (s *slots) some() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free > 0
}
