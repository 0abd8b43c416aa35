package conformance

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// childTime is how long a job that has begun may take to start a process. Not
// every job has any, so that they cannot be waited for for long.
const childTime = 3 * time.Second

// parent is a running job that has started processes, alone on its plugin.
type parent struct {
	*process
	example *Example
	request *pluginpb.StartRequest
	stream  *stream
	before  int // processes that the plugin had without the job
}

// children returns how many processes the job has.
func (p *parent) children() int { return len(p.family()) - p.before }

// parents begins a job of each example of kind long, each in a process of its
// own, and returns those that start processes.
func (k *check) parents(ctx context.Context) (found []*parent, err error) {
	examples, err := k.examples("long")
	if err != nil {
		return nil, err
	}
	var all []*parent
	for _, e := range examples {
		p, err := k.launch(ctx)
		if err != nil {
			return nil, err
		}
		j := &parent{process: p, example: e, request: p.request(e), before: len(p.family())}
		j.stream = k.start(ctx, p, j.request)
		if err := j.stream.started(ctx, k.Patience); err != nil {
			return nil, fmt.Errorf("example %q: %w", e.Title, err)
		}
		all = append(all, j)
	}
	_ = until(ctx, childTime, func() bool {
		found = slices.DeleteFunc(slices.Clone(all), func(j *parent) bool { return j.children() <= 0 })
		return len(found) == len(all)
	})
	if len(found) == 0 {
		return nil, skip("no example of kind long starts a process")
	}
	return found, nil
}

func leavesNoChildren(ctx context.Context, k *check) error {
	for _, mode := range []pluginpb.CancelMode{graceful, forced} {
		jobs, err := k.parents(ctx)
		if err != nil {
			return err
		}
		for _, j := range jobs {
			if err := k.cancelsChildren(ctx, j, mode); err != nil {
				return fmt.Errorf("example %q, %v: %w", j.example.Title, mode, err)
			}
		}
		k.close() // the next mode gets processes of its own
	}
	return nil
}

func (k *check) cancelsChildren(ctx context.Context, j *parent, mode pluginpb.CancelMode) error {
	if _, err := j.cancel(ctx, j.request.GetAttemptId(), mode, byUser); err != nil {
		return err
	}
	if _, err := j.stream.ended(ctx, grace+k.Patience); err != nil {
		return err
	}
	if err := until(ctx, k.Patience, func() bool { return j.children() <= 0 }); err != nil {
		return saw("after the end there were still the processes %s", tell(j.family())).want("none but those that were there before the job")
	}
	return nil
}

func leavesNoOrphans(ctx context.Context, k *check) error {
	jobs, err := k.parents(ctx)
	if err != nil {
		return err
	}
	for _, p := range jobs {
		p.kill()
		if !p.ends(ctx, k.Patience) {
			return saw("the process cannot be killed").want("that it can")
		}
		kill(-p.pid, unix.SIGKILL) // as a host does
		if err := until(ctx, k.Patience, func() bool { return len(p.family()) == 0 }); err != nil {
			return saw("after SIGKILL of the plugin and its group there were still the processes %s", tell(p.family())).want("none")
		}
	}
	return nil
}
