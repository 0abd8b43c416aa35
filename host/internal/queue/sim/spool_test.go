package sim_test

import (
	"maps"
	"slices"
	"sync"

	"github.com/heimdall-run/heimdall/host/internal/spool"
)

// disk is what a machine keeps of ends: it is there after a kill.
type disk struct {
	mu   sync.Mutex
	last spool.Ticket
	kept map[spool.Ticket]spool.Record
}

func newDisk() *disk { return &disk{kept: map[spool.Ticket]spool.Record{}} }

// spooler is one life's use of a disk.
type spooler struct {
	*disk
	life *life
	left []spool.Entry
}

func (l *life) spooler() *spooler {
	d := l.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &spooler{disk: d, life: l}
	for _, t := range slices.Sorted(maps.Keys(d.kept)) {
		s.left = append(s.left, spool.Entry{Ticket: t, Record: d.kept[t]})
	}
	return s
}

// Put keeps a record.
func (s *spooler) Put(r spool.Record) (spool.Ticket, error) {
	if err := s.life.awake(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.kept[s.last] = r
	return s.last, nil
}

// Done forgets one.
func (s *spooler) Done(t spool.Ticket) {
	if s.life.awake() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, t)
}

// Left returns what the life before has kept.
func (s *spooler) Left() []spool.Entry { return s.left }
