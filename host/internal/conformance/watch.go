package conformance

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

func watchesFromEveryNumber(ctx context.Context, k *check) error {
	// A table has a result, and so one event more than the least.
	p, request, events, err := k.ends(ctx, "table", "quick", "logs", "big", "fails")
	if err != nil {
		return err
	}
	kept, err := k.watch(ctx, p, request.GetAttemptId(), 0).closed(ctx, k.Patience)
	if err != nil {
		return err
	}
	if !repeats(p.marks.beyond(request.GetAttemptId(), events), kept) {
		return saw("Start brought %s, and Watch from 0 %s", outline(events), outline(kept)).want("the same events, but for those that later ones replaced")
	}
	last := events[len(events)-1].GetNumber()
	for from := uint64(1); from <= min(last, 500); from++ {
		got, err := k.watch(ctx, p, request.GetAttemptId(), from).closed(ctx, k.Patience)
		if err != nil {
			return err
		}
		var wanted []*pluginpb.Event
		for _, e := range kept {
			if e.GetNumber() >= from {
				wanted = append(wanted, e)
			}
		}
		if !same(got, wanted) {
			return saw("Watch from %d brought %s", from, outline(got)).want("%s", outline(wanted))
		}
	}
	return nil
}

func watchesRunning(ctx context.Context, k *check) error {
	p, request, first, err := k.begin(ctx, "long")
	if err != nil {
		return err
	}
	second := k.watch(ctx, p, request.GetAttemptId(), 1)
	if err := second.started(ctx, k.Patience); err != nil {
		return err
	}
	if err := k.stop(ctx, p, request); err != nil {
		return err
	}
	a, err := first.closed(ctx, k.Patience)
	if err != nil {
		return err
	}
	b, err := second.closed(ctx, k.Patience)
	if err != nil {
		return err
	}
	// Later events may have replaced earlier ones before they were watched.
	if len(b) == 0 || !proto.Equal(a[len(a)-1], b[len(b)-1]) {
		return saw("Start brought %s, and Watch beside it %s", outline(a), outline(b)).want("the same end")
	}
	return nil
}

func watchUnknown(ctx context.Context, k *check) error {
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	return k.watchRefused(ctx, p, "8f2c0000-0000-4000-8000-000000000000")
}

// watchRefused watches an attempt that the process must not know.
func (k *check) watchRefused(ctx context.Context, p *process, id string) error {
	s := k.watch(ctx, p, id, 1)
	if err := until(ctx, k.Patience, func() bool { _, over, _ := s.state(); return over }); err != nil {
		return saw("Watch of an attempt that it cannot know stays open").want("the status NOT_FOUND")
	}
	events, _, failure := s.state()
	if failure == nil {
		return saw("Watch of an attempt that it cannot know brought %s", outline(events)).want("the status NOT_FOUND")
	}
	return refused("Watch of an attempt that it cannot know", failure, codes.NotFound)
}

func acksPart(ctx context.Context, k *check) error {
	p, request, _, err := k.ends(ctx, append(slices.Clone(anyEnd), "fails")...)
	if err != nil {
		return err
	}
	id := request.GetAttemptId()
	events, err := k.watch(ctx, p, id, 0).closed(ctx, k.Patience)
	if err != nil {
		return err
	}
	if len(events) < 2 {
		return skip("the example has one event only")
	}
	number := events[0].GetNumber()
	if err := p.ack(ctx, id, number); err != nil {
		return err
	}
	known, err := p.list(ctx)
	if err != nil {
		return err
	}
	if known[id].GetState() != pluginpb.AttemptState_ATTEMPT_STATE_ENDED {
		return saw("List tells the state %v after event %d was acknowledged", known[id].GetState(), number).want("ENDED, until the end is acknowledged")
	}
	got, err := k.watch(ctx, p, id, number+1).closed(ctx, k.Patience)
	if err != nil {
		return err
	}
	if !same(got, events[1:]) {
		return saw("after event %d was acknowledged Watch brought %s", number, outline(got)).want("%s", outline(events[1:]))
	}
	return nil
}

func forgetsAcked(ctx context.Context, k *check) error {
	p, request, err := k.acked(ctx)
	if err != nil {
		return err
	}
	known, err := p.list(ctx)
	if err != nil {
		return err
	}
	if info := known[request.GetAttemptId()]; info != nil {
		return saw("List still names the attempt, as %v", info.GetState()).want("that it is forgotten")
	}
	return k.watchRefused(ctx, p, request.GetAttemptId())
}

func acksUnknown(ctx context.Context, k *check) error {
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	for _, id := range []string{"8f2c0000-0000-4000-8000-000000000000", ""} {
		for _, number := range []uint64{0, 1, 1 << 63} {
			if err := p.ack(ctx, id, number); err != nil {
				return err
			}
		}
	}
	return p.answers(ctx, "acknowledgements of nothing")
}

func listsRunning(ctx context.Context, k *check) error {
	p, request, s, err := k.begin(ctx, "long")
	if err != nil {
		return err
	}
	id := request.GetAttemptId()
	known, err := p.list(ctx)
	if err != nil {
		return err
	}
	info := known[id]
	switch {
	case info == nil:
		return saw("List does not name an attempt that runs").want("it")
	case info.GetState() != pluginpb.AttemptState_ATTEMPT_STATE_RUNNING:
		return saw("List tells the state %v of an attempt that runs", info.GetState()).want("RUNNING")
	case info.GetJobId() != request.GetJob().GetId():
		return saw("List tells the job %q", info.GetJobId()).want("%q", request.GetJob().GetId())
	case info.GetLastEvent() == 0:
		return saw("List tells 0 as the last event, after \"started\"").want("the number of the last event")
	}
	if err := k.stop(ctx, p, request); err != nil {
		return err
	}
	if _, err := s.ended(ctx, k.Patience); err != nil {
		return err
	}
	events, _, _ := s.state()
	if known, err = p.list(ctx); err != nil {
		return err
	}
	info, last := known[id], events[len(events)-1].GetNumber()
	if info.GetState() != pluginpb.AttemptState_ATTEMPT_STATE_ENDED || info.GetLastEvent() != last {
		return saw("List tells the state %v and the last event %d of an attempt that has ended", info.GetState(), info.GetLastEvent()).want("ENDED and %d", last)
	}
	return nil
}

func listsInOrder(ctx context.Context, k *check) error {
	e, err := k.example(append(slices.Clone(anyEnd), "fails")...)
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	var started []string
	for range 5 {
		request := p.request(e)
		if _, _, err := k.finish(ctx, p, request); err != nil {
			return err
		}
		started = append(started, request.GetAttemptId())
	}
	ctx, cancel := p.within(ctx)
	defer cancel()
	answer, err := p.plugins.List(ctx, &pluginpb.ListRequest{})
	if err != nil {
		return called("List", err)
	}
	var listed []string
	for _, a := range answer.GetAttempts() {
		listed = append(listed, a.GetAttemptId())
	}
	if !slices.Equal(listed, started) {
		return saw("List names %v", listed).want("%v, in the order of their start", started)
	}
	if answer.GetHostEpoch() != 0 {
		return saw("List tells the epoch %d, and no host has renewed", answer.GetHostEpoch()).want("0")
	}
	return nil
}
