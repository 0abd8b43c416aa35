package sdk

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

const (
	watchTime = 2 * time.Second // between two looks at the host's right to run
	// idleExit is after how long without a host a process that holds nothing
	// ends; keptExit, one that only holds ends which nobody has acknowledged.
	idleExit = time.Minute
	keptExit = time.Hour
)

// lease is what a process knows of its host. Times are those of the clock that
// goes on while the machine sleeps.
type lease struct {
	mu    sync.Mutex
	epoch int64
	seen  time.Duration // when the host was last heard of
	until time.Duration // when the host's right to run ends; 0: it never said
}

func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // not on any kernel that we run on
	}
	return time.Duration(ts.Nano())
}

// touch notes that the host lives.
func (l *lease) touch() {
	now := bootTime()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = max(l.seen, now)
}

// renew notes that the host lives, and extends its right unless validFor is 0. It
// returns the epoch in force, and false when the given one is older.
func (l *lease) renew(epoch int64, validFor time.Duration) (known int64, ok bool) {
	now := bootTime()
	l.mu.Lock()
	defer l.mu.Unlock()
	if epoch < l.epoch {
		return l.epoch, false
	}
	l.epoch = epoch
	l.seen = max(l.seen, now)
	if validFor != 0 {
		l.until = now + validFor
	}
	return epoch, true
}

func (l *lease) hostEpoch() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

func (l *lease) state() (seen, until time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen, l.until
}

// watch looks after a process without a host until ctx is done. It returns true
// when the process should end.
func (s *Server) watch(ctx context.Context) bool {
	ticker := time.NewTicker(watchTime)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.instances.sweep(time.Now().Add(-idleTime))
			if s.look(bootTime()) {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

// look stops the attempts that no host may or does follow any more, and reports
// whether the process should end.
func (s *Server) look(now time.Duration) bool {
	seen, until := s.lease.state()
	alone := now - seen
	known, running := s.list(), 0
	for _, a := range known {
		if ended, _ := a.log.state(); ended {
			continue
		}
		running++
		if reason := a.lonely(alone, until != 0 && now > until); reason != nil {
			a.stop(a.leave(), 0, reason)
		}
	}

	switch {
	case running > 0:
		return false
	case len(known) > 0:
		return alone > keptExit
	case alone > idleExit:
		slog.New(s.log).Info("no host for a while: plugin ends", "since", alone)
		return true
	default:
		return false
	}
}

// lonely returns why an attempt should stop when its host was not heard of for a
// time; nil when it should go on.
func (a *attempt) lonely(alone time.Duration, expired bool) *Error {
	if expired && a.request.GetRetryable() {
		return stopError(pluginpb.CancelReason_CANCEL_REASON_LEASE_LOST, "")
	}

	orphan := a.request.GetOrphanTimeout()
	if orphan != nil && alone > orphan.AsDuration() {
		return stopError(pluginpb.CancelReason_CANCEL_REASON_LEASE_LOST, "no host followed the job for "+orphan.AsDuration().String())
	}
	return nil
}

// leave is how an attempt without host stops: work that another one can follow
// from a checkpoint is left alone.
func (a *attempt) leave() pluginpb.CancelMode {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lasting {
		return pluginpb.CancelMode_CANCEL_MODE_ABANDON
	}
	return pluginpb.CancelMode_CANCEL_MODE_GRACEFUL
}
