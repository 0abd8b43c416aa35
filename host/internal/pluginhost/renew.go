package pluginhost

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// renewDeadline bounds how long Renew waits for a process that does not answer.
const renewDeadline = time.Second

// right is the host's right to run, as it was renewed last.
type right struct {
	mu    sync.Mutex
	epoch int64
	until time.Duration // on CLOCK_BOOTTIME
	held  bool          // the epoch is known
}

// Renew tells all processes that the host lives, and may run jobs for so long from
// now; 0 or less is no new right beside the one that it has. It waits at most a
// second for those that do not answer. Plugins that do not hear of a host for long
// stop by themselves.
func (h *Host) Renew(epoch int64, validFor time.Duration) {
	r := &h.right
	r.mu.Lock()
	r.epoch, r.held = epoch, true
	if validFor > 0 {
		r.until = boottime() + validFor
	}
	r.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), renewDeadline)
	defer cancel()
	var wait sync.WaitGroup
	h.mu.Lock()
	for s := range h.builds {
		processes := s.own.all()
		if p := s.current.Load(); p != nil {
			processes = append(processes, p)
		}
		for _, p := range processes {
			wait.Go(func() {
				r.tell(ctx, p)
				h.judge(p)
			})
		}
	}
	h.mu.Unlock()
	wait.Wait()
}

// holds reports whether the host may run jobs, which it may before it ever renewed.
func (r *right) holds() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.until == 0 || boottime() < r.until
}

// judge ends a process that has not answered for too long: it hangs, and what
// runs in it will never end by itself.
func (h *Host) judge(p *process) {
	since := p.silent.Load()
	if since == nil || time.Since(*since) < p.times.silent || p.stopping.Load() {
		return
	}
	p.log.Error("a plugin hangs and is ended", "pid", p.child.record.PID, "silent_for", time.Since(*since).Round(time.Millisecond))
	h.wait.Go(func() {
		p.stop(fmt.Sprintf("it did not answer for %v", p.times.silent), p.times.hung)
	})
}

// tell passes what is left of the right to one process. With nothing left it says
// that the host lives.
func (r *right) tell(ctx context.Context, p *process) {
	r.mu.Lock()
	epoch, left, held := r.epoch, max(r.until-boottime(), 0), r.held
	r.mu.Unlock()
	if !held {
		return
	}
	_, err := p.plugins.Renew(ctx, &pluginpb.RenewRequest{HostEpoch: epoch, ValidFor: durationpb.New(left)})
	switch status.Code(err) {
	case codes.DeadlineExceeded, codes.Unavailable: // it hangs, or has closed its socket
		now := time.Now()
		if !p.silent.CompareAndSwap(nil, &now) {
			return // it was said before
		}
	default:
		p.silent.Store(nil)
	}
	if err != nil && !unimplemented(err) && !p.stopping.Load() {
		p.log.Warn("a plugin did not take in that the host goes on", "error", sentence(err))
	}
}

// boottime reads the clock that goes on while the machine sleeps.
func boottime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // the kernel has had this clock since 2.6.39
	}
	return time.Duration(ts.Nano())
}
