package app

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/queue"
)

// How far the clock of this host may be from that of the store. Leases, and jobs that
// are due, go by the store's. The host's own gives jobs their ids and times, says when
// a retry is to follow, whether a deadline is over when a job is submitted or runs,
// and when idempotency keys and ended jobs may go: all that is off by as much.
const (
	mostSkew = 5 * time.Second
	warnSkew = 500 * time.Millisecond
)

// boottime reads the clock that goes on while the machine sleeps: the host's right
// to run jobs does not wait for it to wake.
func boottime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // the kernel has had this clock since 2.6.39
	}
	return time.Duration(ts.Nano())
}

// checkClock refuses a host whose clock is wrong.
func (h *host) checkClock(ctx context.Context) error {
	sent := time.Now()
	clock, err := h.store.Clock(ctx)
	if err != nil {
		return err
	}
	skew := queue.Skew(clock, sent, time.Now())
	switch {
	case skew.Abs() > mostSkew:
		return fmt.Errorf("the clock of this host is wrong: %s; set it, for example with chrony, and start again", ahead(skew))
	case skew.Abs() >= warnSkew:
		h.log.Warn("the clock of this host is not exact: times and the order of jobs are off by that", "skew", ahead(skew))
	}
	return nil
}

// skewed returns an error while the clock of this host is wrong.
func (h *host) skewed() error {
	if skew := h.queue.Skew(); skew.Abs() > mostSkew {
		return errs.Errorf(errs.Unavailable, "the clock of this host is wrong: %s", ahead(skew))
	}
	return nil
}

func ahead(skew time.Duration) string {
	if skew < 0 {
		return fmt.Sprintf("that of the store is %v behind it", -skew.Round(time.Millisecond))
	}
	return fmt.Sprintf("that of the store is %v ahead of it", skew.Round(time.Millisecond))
}
