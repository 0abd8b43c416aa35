package conformance

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

const (
	leakJobs = 1000 // at most
	leastRun = 60   // without as many, growth says nothing
	// What a process may hold more after the second half of the jobs than after
	// the first. Less than one each is noise: pools, caches, collectors.
	moreFiles, moreThreads, moreMemory = 16, 16, 24 << 10 // KiB
)

func leakCases() []testCase {
	const look = "docs/plugins.md, Other languages: one process performs all jobs of a build"
	return []testCase{
		{id: "leaks", title: "over a thousand jobs, or as many as there is time for, files, threads and memory level off", look: look, needs: []string{"quick"}, after: []string{afterEnd}, run: levelsOff},
		{id: "leaks-processes", title: "no process is left of jobs that have ended", look: look, needs: anyEnd, after: []string{afterEnd}, run: leavesNoProcesses},
	}
}

func levelsOff(ctx context.Context, k *check) error {
	e, err := k.example("quick")
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	// How many fit into half the time decides how many the second half has.
	count, err := k.repeat(ctx, p, e, leakJobs/2, k.LeakTime/2)
	if err != nil {
		return err
	}
	if count < leastRun/2 {
		return skip("only %d jobs of kind quick fit into %s", count, k.LeakTime/2)
	}
	first, err := measure(p.pid)
	if err != nil {
		return fmt.Errorf("measure the plugin: %w", err)
	}
	if _, err := k.repeat(ctx, p, e, count, 3*k.LeakTime); err != nil {
		return err
	}
	// What was let go of may need a moment to be gone.
	var last usage
	late := until(ctx, k.Patience/2, func() bool {
		last, err = measure(p.pid)
		return err != nil || last.files <= first.files+moreFiles && last.threads <= first.threads+moreThreads && last.anon <= first.anon+moreMemory
	})
	if err != nil {
		return fmt.Errorf("measure the plugin: %w", err)
	}
	if late == nil {
		return nil
	}
	return saw("%d files, %d threads and %d KiB after %d jobs; %d, %d and %d KiB after %d", first.files, first.threads, first.anon, count,
		last.files, last.threads, last.anon, 2*count).want("that a process that has done its jobs holds no more than before them")
}

// repeat runs jobs one after another until there are enough or the time is up,
// and returns how many.
func (k *check) repeat(ctx context.Context, p *process, e *Example, count int, within time.Duration) (int, error) {
	deadline, heard := time.Now().Add(within), time.Time{}
	for done := range count {
		if time.Now().After(deadline) {
			return done, nil
		}
		if time.Since(heard) > 5*time.Second {
			// A process that hears of no host for a minute may end between two jobs.
			if err := p.renew(ctx, 1, time.Hour); err != nil && !unimplemented(err) {
				return done, called("Renew", err)
			}
			heard = time.Now()
		}
		request := p.request(e)
		call, stop := context.WithTimeout(ctx, k.Patience)
		events, err := k.serve(call, p, request)
		stop()
		if err != nil {
			return done, err
		}
		if failure := end(events).GetError(); failure != nil {
			return done, fmt.Errorf("job %d: %w", done+1, saw("%s", outcome(end(events))).want("that it ends well as the first did"))
		}
		if err := p.ack(ctx, request.GetAttemptId(), events[len(events)-1].GetNumber()); err != nil {
			return done, err
		}
	}
	return count, nil
}

// serve runs one job without the expense of following it aside.
func (k *check) serve(ctx context.Context, p *process, request *pluginpb.StartRequest) (events []*pluginpb.Event, err error) {
	call, err := p.commands.Start(ctx, request)
	if err != nil {
		return nil, called("Start", err)
	}
	for end(events) == nil {
		batch, err := call.Recv()
		if status.Code(err) == codes.DeadlineExceeded {
			return nil, saw("no end within %s, only %s", k.Patience, outline(events)).want("one")
		}
		if err != nil {
			return nil, saw("the stream ended after %s: %s", outline(events), told(err)).want("the event \"ended\" before")
		}
		events = append(events, batch.GetEvents()...)
		if saved := lastCheckpoint(batch.GetEvents()); saved != nil {
			if err := p.ack(ctx, request.GetAttemptId(), saved.GetNumber()); err != nil {
				return nil, err
			}
		}
	}
	return events, nil
}

func leavesNoProcesses(ctx context.Context, k *check) error {
	examples, err := k.examples(anyEnd...)
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	before := len(p.family())
	for _, e := range examples {
		if _, err := k.succeed(ctx, p, p.request(e)); err != nil {
			return err
		}
		if err := until(ctx, k.Patience, func() bool { return len(p.family()) <= before }); err != nil {
			return saw("after the end of %q there were still the processes %s", e.Title, tell(p.family())).want("none but those that were there before it")
		}
	}
	return nil
}
