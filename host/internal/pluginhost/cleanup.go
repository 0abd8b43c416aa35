package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// cleanupTime is how long a plugin may take to clean up after one attempt.
const cleanupTime = time.Minute

// Remains names an attempt that may have left something outside.
type Remains struct {
	Request        // the attempt as it would be started now, with the last checkpoint
	Reason  string // one sentence: why something may be left
}

// ErrStillRuns is why nothing can be cleaned up yet after an attempt.
var ErrStillRuns = errors.New("the process that ran the job has not ended yet")

// Cleanup has the plugin remove what an attempt may have left outside. It returns
// nil when nothing is left; a plugin that knows no cleanup leaves nothing. It
// waits for a plugin that starts, as Run does. While the process that ran the
// attempt may still live, the error is ErrStillRuns.
func (h *Host) Cleanup(ctx context.Context, r Remains) error {
	if p, ok := h.givenUp.Load(r.AttemptID); ok {
		if !p.(*process).dead() {
			return fmt.Errorf("plugin %s: %w", r.Plugin, ErrStillRuns)
		}
		h.givenUp.Delete(r.AttemptID)
	}
	p, err := h.await(ctx, r.Plugin, r.PluginVersion)
	if err != nil {
		return err
	}
	if p.running.Add(1) < 0 { // it ends
		p.running.Add(-1)
		return fmt.Errorf("plugin %s is being replaced", r.Plugin)
	}
	defer p.running.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, cleanupTime)
	defer cancel()
	start := r.message()
	p.child.mask.tell(start.Secrets)
	_, err = p.commands.Cleanup(ctx, &pluginpb.CleanupRequest{
		AttemptId:  start.AttemptId,
		Job:        start.Job,
		Settings:   start.Settings,
		Secrets:    start.Secrets,
		Checkpoint: start.Checkpoint,
		Folders:    start.Folders,
		Reason:     r.Reason,
	})
	if err != nil && !unimplemented(err) {
		return fmt.Errorf("plugin %s: %s", r.Plugin, p.sentence(err))
	}
	return nil
}
