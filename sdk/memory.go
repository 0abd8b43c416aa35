package sdk

import (
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// featureLimits says that attempts hold their limits for the programs that they
// run.
const featureLimits = "limits"

// sampleTime is the time between looks at the memory of an attempt's programs.
const sampleTime = 250 * time.Millisecond

// limitMemory begins to look at the memory of the attempt's programs, when that
// is limited. The caller holds a.mu.
func (a *attempt) limitMemory() {
	if a.sampler == nil && a.request.GetLimits().GetMemoryBytes() > 0 {
		a.sampler = time.AfterFunc(sampleTime, a.sample)
	}
}

// sample stops the attempt when its programs use more memory together than they
// may, and looks again later.
func (a *attempt) sample() {
	var used int64
	a.eachChild(func(cmd *Cmd) { used += cmd.Memory() })
	limit := a.request.GetLimits().GetMemoryBytes()
	if used > limit {
		a.exceed(&Error{
			Class:   Quota,
			Message: fmt.Sprintf("the job used %s of memory, and its limit is %s", size(used), size(limit)),
			limit:   "memory",
		})
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.over {
		a.sampler.Reset(sampleTime)
	}
}

// exceed kills the programs of an attempt that has gone over a limit. It ends
// with that error whatever Run makes of it.
func (a *attempt) exceed(err *Error) {
	a.mu.Lock()
	if !a.stopping {
		a.exceeded = err
	}
	a.mu.Unlock()
	a.stop(pluginpb.CancelMode_CANCEL_MODE_FORCED, 0, err)
}

// overLimit returns the limit that the attempt has gone over; nil for none.
func (a *attempt) overLimit() *Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.exceeded
}

// size writes a number of bytes for people.
func size(n int64) string {
	units := []string{"KiB", "MiB", "GiB"}
	if n < 1<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	value, unit := float64(n)/(1<<10), 0
	for value >= 1<<10 && unit+1 < len(units) {
		value, unit = value/(1<<10), unit+1
	}
	if value == float64(int64(value)) {
		return fmt.Sprintf("%.0f %s", value, units[unit])
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
