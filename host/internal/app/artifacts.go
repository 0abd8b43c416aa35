package app

import (
	"context"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/artifacts"
	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// checkTime is how long the start waits for the place of artifacts.
const checkTime = 3 * time.Second

// openArtifacts opens the place where artifacts are kept. What is wrong with it for good
// ends the start; a service that is away does not: jobs that bring nothing large run
// without it, and the others when it is back.
func (h *host) openArtifacts(ctx context.Context) (err error) {
	if h.artifacts, err = artifacts.Open(h.Config.Artifacts.URL, h.dir.path); err != nil {
		return err
	}
	checking, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	err = h.artifacts.Check(checking)
	if errs.Is(err, errs.Unavailable) && ctx.Err() == nil {
		h.log.Warn("artifacts cannot be kept now: jobs that bring large results fail until the service is back, and the logs of ended jobs stay in their folders", "error", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("artifacts cannot be kept where artifacts.url says: %w", err)
	}
	return nil
}
