package spool

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
)

// serve writes what waits, all of it at a time, until nothing does. It empties the
// file once no record in it is needed.
func (s *Spool) serve() {
	for group := s.take(); group != nil; group = s.take() {
		s.flush(group)
		for _, p := range group {
			close(p.done)
		}
	}
}

// take returns what is to be written next, or nil: then the writer is to end.
func (s *Spool) take() []*put {
	s.mu.Lock()
	defer s.mu.Unlock()
	group := s.waiting
	s.waiting = nil
	if group != nil {
		return group
	}
	if len(s.live) == 0 && s.size > 0 {
		s.size, s.ragged = 0, true
		s.tidy()
		s.reserve()
	}
	s.writing = false
	return nil
}

// tidy cuts off what is behind the last whole record. The caller holds the lock.
func (s *Spool) tidy() {
	if !s.ragged {
		return
	}
	if err := s.file.Truncate(s.size); err != nil {
		s.log.Warn("the spool of ends could not be cut yet", "error", err)
		return
	}
	s.ragged = false
}

// flush appends a group of records and sets what became of each.
func (s *Spool) flush(group []*put) {
	var size int64
	for _, p := range group {
		size += int64(len(p.framed))
	}
	if s.room() < size {
		if err := s.compact(); err != nil {
			s.log.Warn("the spool of ends could not be rid of what is not needed", "error", err)
		}
	}
	s.mu.Lock()
	s.tidy()
	offset, ragged := s.size, s.ragged
	s.mu.Unlock()
	if ragged { // what came behind it could not be found again
		refuse(group, fmt.Errorf("%s cannot be written", s.file.Name()))
		return
	}

	var content bytes.Buffer
	if offset == 0 {
		content.WriteString(header)
	}
	spans := make([]span, len(group))
	for i, p := range group {
		at := offset + int64(content.Len())
		if at+int64(len(p.framed)) > s.most {
			p.err = ErrFull
			continue
		}
		spans[i] = span{at, int64(len(p.framed))}
		content.Write(p.framed)
	}
	_, err := s.file.WriteAt(content.Bytes(), offset)
	if err == nil {
		err = s.file.Sync()
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.ragged = true
		s.tidy()
		refuse(group, err)
		return
	}
	s.size += int64(content.Len())
	for i, p := range group {
		if p.err == nil {
			s.last++
			p.ticket = s.last
			s.live[p.ticket] = spans[i]
		}
	}
}

func refuse(group []*put, err error) {
	for _, p := range group {
		p.err = err
	}
}

// room is how many bytes more the file may have.
func (s *Spool) room() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most - max(s.size, int64(len(header)))
}

// compact puts a file with nothing but the records that are needed in the place of
// this one.
func (s *Spool) compact() error {
	s.mu.Lock()
	needed := make(map[Ticket]span, len(s.live))
	var bytesNeeded int64
	for t, at := range s.live {
		needed[t] = at
		bytesNeeded += at.length
	}
	gain := s.size - int64(len(header)) - bytesNeeded
	s.mu.Unlock()
	if gain <= 0 {
		return nil
	}

	content := bytes.NewBufferString(header)
	moved := make(map[Ticket]span, len(needed))
	for _, t := range inOrder(needed) {
		framed := make([]byte, needed[t].length)
		if _, err := s.file.ReadAt(framed, needed[t].offset); err != nil {
			return err
		}
		moved[t] = span{int64(content.Len()), needed[t].length}
		content.Write(framed)
	}
	if err := s.write(fileName+".new", content.Bytes()); err != nil {
		return err
	}
	file, err := os.OpenFile(s.path(fileName+".new"), os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := os.Rename(s.path(fileName+".new"), s.path(fileName)); err != nil {
		_ = file.Close() // it was not used
		return err
	}
	if err := s.syncFolder(); err != nil {
		s.log.Warn("the folder of the spool could not be synced", "error", err)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.file.Close() // nothing of it is needed
	s.file, s.size, s.ragged = file, int64(content.Len()), false
	for t := range s.live { // those that were done meanwhile stay out
		s.live[t] = moved[t]
	}
	return nil
}

// inOrder returns tickets as they came.
func inOrder(spans map[Ticket]span) []Ticket { return slices.Sorted(maps.Keys(spans)) }
