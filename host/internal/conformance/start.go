package conformance

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

func startsOnce(ctx context.Context, k *check) error {
	// The one that leaves most to see.
	e, err := k.example("logs", "quick", "table", "big")
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	request := p.request(e)
	var all [][]*pluginpb.Event
	first, second := k.start(ctx, p, request), k.start(ctx, p, request)
	for _, s := range []*stream{first, second} {
		events, err := s.closed(ctx, k.Patience)
		if err != nil {
			return err
		}
		all = append(all, events)
	}
	before := sizes(request)
	third, err := k.start(ctx, p, request).closed(ctx, k.Patience)
	if err != nil {
		return err
	}
	for _, events := range all {
		id := request.GetAttemptId()
		if !repeats(p.marks.beyond(id, events), p.marks.beyond(id, third)) {
			return saw("%s from one start and %s from another", outline(events), outline(third)).want("the same events")
		}
	}
	if after := sizes(request); after != before {
		return saw("stdout and stderr of %v bytes, and of %v after another start", before, after).want("that nothing is done again")
	}
	known, err := p.list(ctx)
	if err != nil {
		return err
	}
	if len(known) != 1 {
		return saw("List names %d attempts", len(known)).want("the one that was started")
	}
	// What one start alone would have left.
	alone := p.request(e)
	if _, err := k.succeed(ctx, p, alone); err != nil {
		return err
	}
	if once := sizes(alone); once != before && before != [2]int64{} && (before[0] == 2*once[0] && before[1] == 2*once[1]) {
		return saw("stdout and stderr of %v bytes after two starts at once, and of %v after one", before, once).want("that two starts do the work once")
	}
	return nil
}

// same compares events.
func same(a, b []*pluginpb.Event) bool {
	return slices.EqualFunc(a, b, func(a, b *pluginpb.Event) bool { return proto.Equal(a, b) })
}

// repeats reports whether events that were kept are those that came before,
// without the ones that later ones have replaced.
func repeats(live, kept []*pluginpb.Event) bool {
	next := 0
	for _, e := range live {
		if next < len(kept) && proto.Equal(e, kept[next]) {
			next++
			continue
		}
		switch name(e) {
		case "progress", "output", "usage", "checkpoint":
		default:
			return false
		}
	}
	return next == len(kept)
}

func refusesAckedStart(ctx context.Context, k *check) error {
	p, request, err := k.acked(ctx)
	if err != nil {
		return err
	}
	return k.startRefused(ctx, p, request, codes.AlreadyExists)
}

// startRefused starts an attempt that must be refused with a status.
func (k *check) startRefused(ctx context.Context, p *process, request *pluginpb.StartRequest, code codes.Code) error {
	s := k.start(ctx, p, request)
	err := until(ctx, k.Patience, func() bool { events, over, _ := s.state(); return over || len(events) > 0 })
	s.stop()
	if err != nil {
		return saw("a start that had to be refused was not answered: %v", err).want("the status %v", code)
	}
	_, _, failure := s.state()
	return refused("Start", failure, code)
}

// acked runs a job to its end and acknowledges that.
func (k *check) acked(ctx context.Context) (*process, *pluginpb.StartRequest, error) {
	e, err := k.example(append(slices.Clone(anyEnd), "fails")...)
	if err != nil {
		return nil, nil, err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return nil, nil, err
	}
	request := p.request(e)
	events, _, err := k.finish(ctx, p, request)
	if err != nil {
		return nil, nil, err
	}
	return p, request, p.ack(ctx, request.GetAttemptId(), events[len(events)-1].GetNumber())
}

func startsMany(ctx context.Context, k *check) error {
	e, err := k.example(anyEnd...)
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	count := 64
	if most := int(k.description.GetCapabilities().GetMaxConcurrency()); most > 0 {
		count = min(count, most)
	}
	streams := make([]*stream, count)
	for i := range streams {
		streams[i] = k.start(ctx, p, p.request(e))
	}
	for i, s := range streams {
		ended, err := s.ended(ctx, 2*k.Patience)
		if err != nil {
			return err
		}
		if ended.GetError() != nil {
			return saw("attempt %d of %d at once: %s", i+1, count, outcome(ended)).want("that it ends well as one alone does")
		}
	}
	return nil
}

func refusesTooMany(ctx context.Context, k *check) error {
	most := int(k.description.GetCapabilities().GetMaxConcurrency())
	if most <= 0 || most > 128 {
		return skip("max_concurrency is %d", most)
	}
	e, err := k.example("long")
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	streams := make([]*stream, most)
	for i := range streams {
		streams[i] = k.start(ctx, p, p.request(e))
	}
	for _, s := range streams {
		if err := s.started(ctx, 2*k.Patience); err != nil {
			return err
		}
	}
	return k.startRefused(ctx, p, p.request(e), codes.ResourceExhausted)
}

func outlivesStream(ctx context.Context, k *check) error {
	p, request, s, err := k.begin(ctx, "long")
	if err != nil {
		return err
	}
	s.stop()
	if err := until(ctx, k.Patience, func() bool { _, over, _ := s.state(); return over }); err != nil {
		return err
	}
	again := k.watch(ctx, p, request.GetAttemptId(), 1)
	if err := again.started(ctx, k.Patience); err != nil {
		return err
	}
	// Whoever ties work to a call has been told by now.
	for range 5 {
		known, err := p.list(ctx)
		if err != nil {
			return err
		}
		info := known[request.GetAttemptId()]
		if info.GetState() != pluginpb.AttemptState_ATTEMPT_STATE_RUNNING || !again.running() {
			events, _, _ := again.state()
			return saw("after its stream was cut List tells the state %v, and Watch %s", info.GetState(), outline(events)).want("that the job goes on")
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	return nil
}
