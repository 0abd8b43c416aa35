package pluginhost

import (
	"context"
	"fmt"
	"slices"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Checkpoint is what an earlier attempt has saved.
type Checkpoint struct {
	Format int32 // of the data, chosen by the plugin
	Data   []byte
}

// CanResume returns nil when an attempt on the plugin could go on from a
// checkpoint of this format, else why not, in one sentence. It waits for a plugin
// that starts, or starts again after a crash, as Run does.
func (h *Host) CanResume(ctx context.Context, plugin, version string, format int32) error {
	p, err := h.await(ctx, plugin, version)
	if err != nil {
		return err
	}
	return p.resumes(format)
}

// resumes returns nil when the process can go on from a checkpoint.
func (p *process) resumes(format int32) error {
	switch {
	case p.description.Resume == nil:
		return fmt.Errorf("version %s of plugin %s cannot go on with the work of an earlier attempt", p.description.Version, p.name)
	case !slices.Contains(p.description.Resume, format):
		return fmt.Errorf("version %s of plugin %s does not know checkpoints of format %d", p.description.Version, p.name, format)
	}
	return nil
}

// NotResumed is the error of a job whose work was to be gone on with, and was not.
func NotResumed(why error) *job.Error {
	return &job.Error{Class: job.Lost, Message: fmt.Sprintf("the job could not be resumed: %v; what became of its work is unknown", why)}
}

// notResumed is the end of an attempt that was to go on with the work of an
// earlier one and did not begin.
func notResumed(why error) *Ended {
	return &Ended{Error: NotResumed(why), Remains: true}
}
