package store

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// A disk that does not answer does not keep a caller for ever; whether it was
// written is unknown.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		s := &lite{}
		s.writes = combiner[func(transaction) error, struct{}]{
			size:  func(func(transaction) error) int { return 0 },
			flush: func([]*call[func(transaction) error, struct{}]) { <-stuck },
		}
		begun := time.Now()
		err := s.do(t.Context(), nil)
		if !errors.Is(err, ErrUnknown) || !errs.Is(err, errs.Unavailable) || time.Since(begun) != writeTimeout {
			t.Errorf("do: got error %v after %v, want that the outcome is unknown after %v", err, time.Since(begun), writeTimeout)
		}
		close(stuck)
		s.writes.close()
	})
}
