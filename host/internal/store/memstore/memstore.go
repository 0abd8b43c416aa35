// Package memstore is the store in memory, for tests. It keeps the promises that
// storetest checks, by the clock of the process, so that it can be used in a
// synctest bubble; faults befall it on demand.
package memstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Store is one host's way to the tables of a store. Its methods do what those of
// store.DB do.
type Store struct {
	tables *tables

	mu     sync.Mutex
	befall func(call string) Fault
}

// New returns an empty store.
func New() *Store { return &Store{tables: newTables()} }

// Link returns another way to the same tables, on which no faults befall.
func (s *Store) Link() *Store { return &Store{tables: s.tables} }

// Fault is what befalls a call. The zero Fault is none.
type Fault struct {
	Before func(context.Context) error // an error is the answer, and nothing is done
	After  func(context.Context) error // an error takes the place of the answer to what was done
}

// Befall makes f choose the fault of each call on this way, by the name of the
// method; nil: there are none.
func (s *Store) Befall(f func(call string) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.befall = f
}

// Away is the answer of a store that cannot be reached.
func Away(context.Context) error {
	return errs.Errorf(errs.Unavailable, "the store is not available: no connection")
}

// Lost is what is known when the answer to a write was lost.
func Lost(context.Context) error {
	return &errs.Error{Kind: errs.Unavailable, Message: "the store is not available: the connection broke", Err: store.ErrUnknown}
}

// Slow waits for so long.
func Slow(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Until waits until c is closed.
func Until(c <-chan struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-c:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// do runs one call on the tables, with the fault that befalls it.
func (s *Store) do(ctx context.Context, call string, fn func(*tables) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	fault := s.fault(call)
	if fault.Before != nil {
		if err := fault.Before(ctx); err != nil {
			return err
		}
	}
	err := s.tables.do(fn)
	if fault.After != nil {
		if err := fault.After(ctx); err != nil {
			return err
		}
	}
	return err
}

func (s *Store) fault(call string) Fault {
	s.mu.Lock()
	befall := s.befall
	s.mu.Unlock()
	if befall == nil {
		return Fault{}
	}
	return befall(call)
}

// Check returns an error when the store does not answer.
func (s *Store) Check(ctx context.Context) error {
	return s.do(ctx, "Check", func(*tables) error { return nil })
}

// SaveRevision keeps the content of a catalog revision, unless it is kept already.
func (s *Store) SaveRevision(ctx context.Context, revision string, content []byte) error {
	if err := checkText("revision", revision); err != nil {
		return err
	}
	return s.do(ctx, "SaveRevision", func(t *tables) error {
		if _, kept := t.revisions[revision]; !kept {
			t.revisions[revision] = slices.Clone(content)
		}
		return nil
	})
}

// Revision returns the content of a catalog revision.
func (s *Store) Revision(ctx context.Context, revision string) (content []byte, err error) {
	err = s.do(ctx, "Revision", func(t *tables) error {
		kept, ok := t.revisions[revision]
		if !ok {
			return errs.Errorf(errs.NotFound, "the catalog revision %.20q is not kept", revision)
		}
		content = slices.Clone(kept)
		return nil
	})
	return content, err
}
