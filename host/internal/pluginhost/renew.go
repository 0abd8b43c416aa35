package pluginhost

import (
	"context"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"
)

// renewDeadline bounds how long Renew waits for a process that does not answer.
const renewDeadline = time.Second

// right is the host's right to run, as it was renewed last.
type right struct {
	mu    sync.Mutex
	epoch int64
	until time.Duration // on CLOCK_BOOTTIME
	held  bool          // it was renewed at least once
}

// Renew tells all processes that the host may run jobs for so long from now. It
// waits at most a second for those that do not answer. Plugins that are not
// renewed for long stop by themselves.
func (h *Host) Renew(epoch int64, validFor time.Duration) {
	r := &h.right
	r.mu.Lock()
	r.epoch, r.until, r.held = epoch, boottime()+validFor, true
	r.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), renewDeadline)
	defer cancel()
	var wait sync.WaitGroup
	h.mu.Lock()
	for s := range h.builds {
		if p := s.current.Load(); p != nil {
			wait.Go(func() { r.tell(ctx, p) })
		}
	}
	h.mu.Unlock()
	wait.Wait()
}

// tell passes what is left of the right to one process.
func (r *right) tell(ctx context.Context, p *process) {
	r.mu.Lock()
	epoch, left, held := r.epoch, r.until-boottime(), r.held
	r.mu.Unlock()
	if !held || left <= 0 {
		return
	}
	_, err := p.plugins.Renew(ctx, &pluginpb.RenewRequest{HostEpoch: epoch, ValidFor: durationpb.New(left)})
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
