package conformance

import (
	"context"
	"fmt"
	"time"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

func leavesNoChildren(ctx context.Context, k *check) error {
	examples, err := k.examples("long")
	if err != nil {
		return err
	}
	seen := 0
	for _, e := range examples {
		for _, mode := range []pluginpb.CancelMode{graceful, forced} {
			n, err := k.cancelsChildren(ctx, e, mode)
			if err != nil {
				return fmt.Errorf("example %q, %v: %w", e.Title, mode, err)
			}
			seen += n
		}
	}
	if seen == 0 {
		return skip("no example of kind long starts a process")
	}
	return nil
}

// cancelsChildren cancels a job and returns how many processes it had.
func (k *check) cancelsChildren(ctx context.Context, e *Example, mode pluginpb.CancelMode) (seen int, err error) {
	p, err := k.launch(ctx)
	if err != nil {
		return 0, err
	}
	before := len(p.family())
	request := p.request(e)
	s := k.start(ctx, p, request)
	if err := s.started(ctx, k.Patience); err != nil {
		return 0, err
	}
	// Not every job has any, so that they cannot be waited for for long.
	_ = until(ctx, time.Second, func() bool { seen = len(p.family()) - before; return seen > 0 })
	if _, err := p.cancel(ctx, request.GetAttemptId(), mode, byUser); err != nil {
		return seen, err
	}
	if _, err := s.ended(ctx, grace+k.Patience); err != nil {
		return seen, err
	}
	if err := until(ctx, k.Patience, func() bool { return len(p.family()) <= before }); err != nil {
		return seen, saw("after the end there were still the processes %s", tell(p.family())).want("none but those that were there before the job")
	}
	return seen, nil
}
