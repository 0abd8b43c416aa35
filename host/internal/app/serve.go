package app

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// closeTime bounds how long answers may take that are still on their way once
// no job runs any more.
const closeTime = 5 * time.Second

// serve runs the parts. When ctx is done they stop one after the other, so that
// each outlives those that need it: first jobs drain, then the API closes, then
// the plugins.
func (h *host) serve(ctx context.Context) error {
	group, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	working, drain := context.WithCancel(failed)
	defer drain()
	context.AfterFunc(ctx, func() {
		h.ready.stopping.Store(true)
		h.log.Info("stopping: no more jobs are taken, running ones may end", "within", h.Config.Queue.ShutdownGrace)
		drain()
	})
	serving, stopPlugins := context.WithCancel(failed)
	defer stopPlugins()
	waiting, stopWaits := context.WithCancel(failed)
	defer stopWaits()

	group.Go(func() error { return h.plugins.Serve(serving) })
	group.Go(func() error { return h.jobs.Serve(waiting) })
	group.Go(func() error { return h.serveDebug(serving) })
	group.Go(func() error { return h.catalog.Serve(working) })
	group.Go(func() error { return h.presence.Serve(working) })
	group.Go(func() error { return h.bell.Serve(waiting) })
	group.Go(func() error { return h.reports.Share(working, h.sharing) })
	group.Go(func() error { return h.cleaner.Serve(working) })
	group.Go(func() error { return h.retention.Serve(working) })
	group.Go(func() error {
		h.runner.Sweep(working, h.store)
		return nil
	})
	group.Go(func() error {
		for {
			select {
			case <-working.Done():
				return nil
			case <-h.Reload:
				h.catalog.Reload()
			}
		}
	})
	group.Go(func() error {
		if err := h.server.Serve(h.listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		err := h.queue.Serve(working)
		// Those who wait have their answers coming, or hear that none will.
		stopWaits()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		if h.server.Shutdown(ctx) != nil {
			_ = h.server.Close()
		}
		stopPlugins()
		return err
	})

	address := h.listener.Addr().String()
	if err := h.dir.publish(address); err != nil {
		h.log.Warn("the address could not be written to data_dir", "error", err)
	}
	defer h.dir.withdraw()
	s := h.catalog.Snapshot()
	h.log.Info("serving", "address", "http://"+address, "store", h.store.Kind(),
		"commands", len(s.Commands), "clusters", len(s.Clusters), "version", h.Version)
	err := group.Wait()
	h.log.Info("stopped")
	return err
}

// readiness says whether the host should be sent jobs.
type readiness struct {
	stopping atomic.Bool
}

// slowStore is how long the store may take for a question that costs nothing.
const slowStore = time.Second

// check returns nil when the host can take jobs.
func (h *host) check(ctx context.Context) error {
	if h.ready.stopping.Load() {
		return errs.Errorf(errs.Unavailable, "the host is stopping")
	}
	if err := room(h.dir.path); err != nil {
		return err
	}
	if err := h.skewed(); err != nil {
		return err
	}
	begun := time.Now()
	if err := h.store.Check(ctx); err != nil {
		return err
	}
	if took := time.Since(begun); took > slowStore { // it was not cut off: that would cost a connection
		return errs.Errorf(errs.Unavailable, "the store is slow: its answer took %v", took.Round(time.Millisecond))
	}
	return nil
}
