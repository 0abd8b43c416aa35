package sdk

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

const (
	watchTime   = 2 * time.Second // between two looks at the host's right to run, at most
	renewalTime = time.Second     // that a start waits for a renewal of it
	// idleExit is after how long without a host a process that holds nothing
	// ends; keptExit, one that only holds ends which nobody has acknowledged, as
	// long as a host can find it.
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

	sooner chan struct{} // told when the right may end before the next look
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
		before := l.until
		l.until = now + validFor
		// Without a right that holds, the next look is not timed by one.
		if before <= now || l.until < before {
			select {
			case l.sooner <- struct{}{}:
			default:
			}
		}
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
	timer := time.NewTimer(watchTime)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			s.instances.sweep(time.Now().Add(-idleTime))
			if s.look(bootTime()) {
				return true
			}
		case <-s.lease.sooner:
		case <-ctx.Done():
			return false
		}
		timer.Reset(s.lease.nextLook(bootTime()))
	}
}

// nextLook returns the time to the next look: what somebody else may run is not to
// run here a moment longer than the host may.
func (l *lease) nextLook(now time.Duration) time.Duration {
	_, until := l.state()
	if until <= now {
		return watchTime
	}
	return min(watchTime, until-now+time.Millisecond)
}

// may reports whether the host's right to run holds, as far as is known. A renewal
// that is on its way is waited for.
func (l *lease) may(ctx context.Context) bool {
	for deadline := time.Now().Add(renewalTime); ; {
		if _, until := l.state(); until == 0 || bootTime() <= until {
			return true
		}
		if !time.Now().Before(deadline) {
			return false
		}
		select {
		case <-time.After(5 * time.Millisecond):
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
		if reason, mode := a.lonely(alone, until != 0 && now > until); reason != nil {
			a.stop(mode, 0, reason)
		}
	}

	switch {
	case running > 0:
		return false
	case len(known) > 0 && s.findable():
		return alone > keptExit
	case alone > s.idleExit:
		slog.New(s.log).Info("no host for a while: plugin ends", "since", alone)
		return true
	default:
		return false
	}
}

// findable reports whether a later life of the host can find the process, which it
// does by the folder of its socket.
func (s *Server) findable() bool {
	_, err := os.Stat(s.folder)
	return s.folder == "" || !errors.Is(err, fs.ErrNotExist)
}

// lonely returns why an attempt should stop when its host was not heard of for a
// time, and how; nil when it should go on. One that somebody else may run already,
// anew or from its checkpoint, has no time for an orderly end.
func (a *attempt) lonely(alone time.Duration, expired bool) (*Error, pluginpb.CancelMode) {
	mode := a.leave()
	if expired && (a.request.GetRetryable() || mode == pluginpb.CancelMode_CANCEL_MODE_ABANDON) {
		if mode == pluginpb.CancelMode_CANCEL_MODE_GRACEFUL {
			mode = pluginpb.CancelMode_CANCEL_MODE_FORCED
		}
		return stopError(pluginpb.CancelReason_CANCEL_REASON_LEASE_LOST, ""), mode
	}

	orphan := a.request.GetOrphanTimeout()
	if orphan != nil && alone > orphan.AsDuration() {
		return stopError(pluginpb.CancelReason_CANCEL_REASON_LEASE_LOST, "no host followed the job for "+orphan.AsDuration().String()), mode
	}
	return nil, mode
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
