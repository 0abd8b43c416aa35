package watch

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// keepTime is how long a job waits until the catalog that it was chosen from is kept.
const keepTime = 5 * time.Second

// kept is what is known of the revisions in the store.
type kept struct {
	last atomic.Pointer[string]
	turn chan struct{} // holds whoever saves one
}

// Keep saves a catalog that was in force, so that a job which was chosen from it can
// be explained later. It costs nothing when the last one that was kept is the same;
// changes that no job was chosen after are not kept.
func (w *Catalog) Keep(ctx context.Context, s *catalog.Snapshot) error {
	if w.isKept(s) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, keepTime)
	defer cancel()
	select {
	case w.kept.turn <- struct{}{}:
		defer func() { <-w.kept.turn }()
	case <-ctx.Done():
		return w.notKept(s, ctx.Err())
	}
	if w.isKept(s) {
		return nil
	}
	content, err := s.Content()
	if err != nil {
		return err
	}
	if err := w.Store.SaveRevision(ctx, s.Revision, content); err != nil {
		return w.notKept(s, err)
	}
	w.kept.last.Store(&s.Revision)
	return nil
}

func (w *Catalog) isKept(s *catalog.Snapshot) bool {
	last := w.kept.last.Load()
	return last != nil && *last == s.Revision
}

func (w *Catalog) notKept(s *catalog.Snapshot, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		err = errs.Errorf(errs.Unavailable, "the store is slow: %w", err)
	}
	return fmt.Errorf("keep revision %.20s of the catalog: %w", s.Revision, err)
}
