package metrics

import "sync"

// other stands for the values of a label beyond the number that it may have.
const other = "other"

// bounded keeps the values of a label to a number of them: the first that come
// keep their names, all others share one. A catalog of ten thousand clusters would
// make as many times series as it has pairs.
type bounded struct {
	most int

	mu   sync.RWMutex
	seen map[string]bool
}

func newBounded(most int) *bounded { return &bounded{most: most, seen: map[string]bool{}} }

// of returns the value that stands for one.
func (b *bounded) of(value string) string {
	b.mu.RLock()
	known, full := b.seen[value], len(b.seen) >= b.most
	b.mu.RUnlock()
	switch {
	case known:
		return value
	case full:
		return other
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.seen) >= b.most && !b.seen[value] {
		return other
	}
	b.seen[value] = true
	return value
}
