package conformance

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

func drainCases() []testCase {
	const (
		look   = "rpc Drain in proto/heimdall/plugin/v1/plugin.proto"
		signal = "docs/plugins.md, Other languages: SIGTERM"
	)
	long := []string{"long"}
	return []testCase{
		{id: "drain-idle", title: "Drain of an idle process says that nothing runs, and closes", look: look, run: drainsIdle},
		{id: "drain-running", title: "Drain says what runs, refuses new starts with FAILED_PRECONDITION, and closes when nothing runs", look: look, needs: long, after: []string{"drain-idle", "start-again", afterCancel}, run: drainsRunning},
		{id: "sigterm", title: "SIGTERM ends an idle process", look: signal, run: endsBySIGTERM},
		{id: "sigterm-running", title: "SIGTERM ends a process with its jobs", look: signal, needs: long, after: []string{"cancel-children"}, run: endsBySIGTERMRunning},
		{id: "sigint", title: "SIGINT is ignored", look: signal, run: ignoresSIGINT},
	}
}

// draining is what a call of Drain has brought.
type draining struct {
	mu    sync.Mutex
	told  [][]string
	over  bool
	cause error
}

func (d *draining) state() (told [][]string, over bool, cause error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.told), d.over, d.cause
}

func (k *check) drain(ctx context.Context, p *process) (*draining, error) {
	ctx, stop := context.WithCancel(ctx)
	call, err := p.plugins.Drain(ctx, &pluginpb.DrainRequest{Reason: "the check wants to see it drain", Grace: durationpb.New(grace)})
	if err != nil {
		stop()
		return nil, called("Drain", err)
	}
	d := &draining{}
	k.group.Go(func() {
		defer stop()
		for {
			answer, err := call.Recv()
			d.mu.Lock()
			if err != nil {
				d.over = true
				if !errors.Is(err, io.EOF) {
					d.cause = err
				}
				d.mu.Unlock()
				return
			}
			d.told = append(d.told, answer.GetRunning())
			d.mu.Unlock()
		}
	})
	return d, nil
}

// closes waits until Drain has said that nothing runs.
func (k *check) closes(ctx context.Context, d *draining) error {
	late := until(ctx, grace+k.Patience, func() bool { _, over, _ := d.state(); return over })
	told, _, cause := d.state()
	switch {
	case late != nil:
		return saw("Drain was still open; it had said %v", told).want("that it closes when nothing runs")
	case cause != nil:
		return called("Drain", cause)
	case len(told) == 0 || len(told[len(told)-1]) > 0:
		return saw("Drain said %v and closed", told).want("an empty list at the end")
	}
	return nil
}

func drainsIdle(ctx context.Context, k *check) error {
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	d, err := k.drain(ctx, p)
	if err != nil {
		return err
	}
	p.doomed = true // it may end now
	return k.closes(ctx, d)
}

func drainsRunning(ctx context.Context, k *check) error {
	p, request, s, err := k.begin(ctx, "long")
	if err != nil {
		return err
	}
	d, err := k.drain(ctx, p)
	if err != nil {
		return err
	}
	if err := until(ctx, k.Patience, func() bool { told, over, _ := d.state(); return over || len(told) > 0 }); err != nil {
		return saw("Drain said nothing").want("at once what runs")
	}
	id := request.GetAttemptId()
	told, over, cause := d.state()
	if over || len(told) == 0 || !slices.Equal(told[0], []string{id}) {
		return saw("Drain said %v (closed: %t, %v)", told, over, cause).want("the attempt %s, which runs", id)
	}
	e, err := k.example("long")
	if err != nil {
		return err
	}
	if err := k.startRefused(ctx, p, p.request(e), codes.FailedPrecondition); err != nil {
		return err
	}
	// One that is known is followed all the same.
	again := k.start(ctx, p, request)
	if err := again.started(ctx, k.Patience); err != nil {
		return err
	}
	if err := k.stop(ctx, p, request); err != nil {
		return err
	}
	if _, err := s.ended(ctx, grace+k.Patience); err != nil {
		return err
	}
	p.doomed = true // it may end now
	return k.closes(ctx, d)
}

func endsBySIGTERM(ctx context.Context, k *check) error {
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	if _, err := p.describe(ctx, "0.1.0"); err != nil {
		return err
	}
	return k.terminates(ctx, p)
}

// termTime is how long a process may take after SIGTERM, however patient the check is:
// one that no host calls any more ends by itself some time later.
const termTime = 30 * time.Second

// terminates sends SIGTERM to a process and waits for its end and that of all
// that came from it.
func (k *check) terminates(ctx context.Context, p *process) error {
	p.doomed = true
	p.signal(unix.SIGTERM)
	limit := min(k.Patience, termTime)
	if !p.ends(ctx, limit) {
		return saw("the process still ran %s after SIGTERM", limit).want("that it ends in a few seconds")
	}
	if err := until(ctx, k.Patience, func() bool { return len(p.family()) == 0 }); err != nil {
		return saw("after its end there were still the processes %s", tell(p.family())).want("none")
	}
	return nil
}

func endsBySIGTERMRunning(ctx context.Context, k *check) error {
	examples, err := k.examples("long")
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	most := int(k.description.GetCapabilities().GetMaxConcurrency())
	for i, e := range examples {
		if most > 0 && i >= most {
			break
		}
		if err := k.start(ctx, p, p.request(e)).started(ctx, k.Patience); err != nil {
			return err
		}
	}
	return k.terminates(ctx, p)
}

func ignoresSIGINT(ctx context.Context, k *check) error {
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	if _, err := p.describe(ctx, "0.1.0"); err != nil {
		return err
	}
	for range 5 {
		p.signal(unix.SIGINT)
		if err := pause(ctx); err != nil {
			return err
		}
	}
	return p.answers(ctx, "SIGINT, which reaches whole process groups")
}
