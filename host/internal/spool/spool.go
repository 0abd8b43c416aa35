// Package spool keeps on disk the ends of attempts that the store cannot take
// now, so that a host which dies meanwhile still has them when it is back.
package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

const (
	fileName = "ends"
	mostSize = 64 << 20 // of the file, unless the configuration says otherwise
	// reserve is room on the disk that is taken before there is anything to write,
	// for when the disk is full: some hundred ends.
	reserve = 1 << 20
)

// ErrFull: the spool holds as much as it may.
var ErrFull = errors.New("the spool of ends is full")

var errClosed = errors.New("the spool of ends is closed")

// Config says where a spool is.
type Config struct {
	Folder string // made when it is missing; nobody else writes there
	Most   int64  // bytes of its file; 0: 64 MiB
	Log    hclog.Logger
}

// Ticket names a record of an open spool.
type Ticket int64

// Entry is a record that an earlier life of the host has left.
type Entry struct {
	Ticket Ticket
	Record Record
}

// Spool is an append-only file of records. It is emptied when none of them is
// needed any more.
type Spool struct {
	folder string
	most   int64
	log    hclog.Logger
	left   []Entry
	work   sync.WaitGroup // the writer

	mu      sync.Mutex
	file    *os.File
	size    int64 // of what is written whole
	ragged  bool  // there may be something behind that
	live    map[Ticket]span
	last    Ticket
	waiting []*put
	writing bool // by one writer, which alone changes the file
	closed  bool
}

// put is a record that somebody waits for.
type put struct {
	framed []byte
	ticket Ticket
	err    error
	done   chan struct{}
}

// Open opens the spool of a folder, or makes one. Records that an earlier life
// has left are in Left, up to the first that is not as it was written; what follows
// that is kept in a file of its own, for people to look at.
func Open(c Config) (*Spool, error) {
	s := &Spool{folder: c.Folder, most: c.Most, log: c.Log, live: map[Ticket]span{}}
	if s.most == 0 {
		s.most = mostSize
	}
	if s.log == nil {
		s.log = hclog.NewNullLogger()
	}
	if err := os.MkdirAll(c.Folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the spool: %w", err)
	}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open the spool of ends: %w; mend that, or move the file away and give the ends in it up", err)
	}
	return s, nil
}

func (s *Spool) open() error {
	path := s.path(fileName)
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	records, whole, damage := parse(content)
	if damage != nil {
		s.setAside(content[whole:])
	}
	if s.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	s.size, s.ragged = whole, true
	for _, r := range records {
		s.last++
		s.live[s.last] = r.at
		s.left = append(s.left, Entry{s.last, r.Record})
	}
	s.reserve()
	return s.syncFolder()
}

// setAside keeps a copy of what is cut off, for people to look at.
func (s *Spool) setAside(rest []byte) {
	name := "damaged-" + time.Now().UTC().Format("20060102T150405.000")
	err := s.write(name, rest)
	s.log.Error("the spool of ends is damaged, or was not written to its end: the ends in that part are not known, and their jobs may be called lost",
		"bytes", len(rest), "kept_as", s.path(name), "error", err)
}

// write makes a file that survives a power cut.
func (s *Spool) write(name string, content []byte) error {
	f, err := os.OpenFile(s.path(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// Left returns the records that an earlier life of the host has left, in the order
// in which they came.
func (s *Spool) Left() []Entry { return slices.Clone(s.left) }

// Put keeps a record. When it returns without an error, the record survives a
// power cut. Those that come at the same time share their way to the disk.
func (s *Spool) Put(r Record) (Ticket, error) {
	framed, err := frame(r)
	if err != nil {
		return 0, err
	}
	p := &put{framed: framed, done: make(chan struct{})}
	if !s.add(p) {
		return 0, errClosed
	}
	<-p.done
	if p.err != nil {
		return 0, fmt.Errorf("spool the end of job %s: %w", r.End.JobID, p.err)
	}
	return p.ticket, nil
}

func (s *Spool) add(p *put) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.waiting = append(s.waiting, p)
	s.begin()
	return true
}

// begin starts the writer unless it runs. The caller holds the lock.
func (s *Spool) begin() {
	if !s.writing {
		s.writing = true
		s.work.Go(s.serve)
	}
}

// Done says that a record is not needed any more. A spool that is opened before
// the others are done may have it still.
func (s *Spool) Done(t Ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, t)
	if len(s.live) == 0 && !s.closed {
		s.begin() // empties the file
	}
}

// Depth returns how many records are needed, and the size of the file.
func (s *Spool) Depth() (records int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.live), s.size
}

// Close waits for the writer and lets go of the file. What is in it stays.
func (s *Spool) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	s.work.Wait()
	if closed {
		return nil
	}
	return s.file.Close()
}

func (s *Spool) path(name string) string { return filepath.Join(s.folder, name) }

func (s *Spool) syncFolder() error {
	d, err := os.Open(s.folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// reserve takes room on the disk. A file system that cannot do without it.
func (s *Spool) reserve() {
	const keepSize = unix.FALLOC_FL_KEEP_SIZE
	err := unix.Fallocate(int(s.file.Fd()), keepSize, 0, min(reserve, s.most))
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		s.log.Warn("no room could be taken on the disk for ends that the store cannot take", "error", err)
	}
}
