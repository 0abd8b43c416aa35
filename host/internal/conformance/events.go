package conformance

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

func eventCases() []testCase {
	const look = "rpc Start, Watch and Ack in proto/heimdall/plugin/v1/command.proto; Event in event.proto"
	withFails := append(slices.Clone(anyEnd), "fails")
	job, closed := []string{afterEnd}, []string{"events-close"}
	ordered := []string{"events-order"} // and so numbered
	return []testCase{
		{id: afterEnd, title: "a job reports its end", look: look, needs: withFails, run: reportsItsEnd},
		{id: "events-close", title: "the stream closes after the event ended", look: look, needs: withFails, after: job, run: closesStream},
		{id: "events-numbers", title: "events are numbered from 1 and strictly upwards", look: look, needs: withFails, after: closed, run: numbersIncrease},
		{id: "events-order", title: "started comes first, ended last and once, a result in between, and each has its time", look: look, needs: anyEnd, after: []string{"events-numbers"}, run: eventsInOrder},
		{id: "events-failed", title: "an example of kind fails ends with a class and a sentence, and without result", look: look, needs: []string{"fails"}, after: job, run: failsWithReason},
		{id: "start-again", title: "a second start of an attempt follows the first and starts nothing", look: look, needs: anyEnd, after: ordered, run: startsOnce},
		{id: "start-after-ack", title: "a start of an attempt whose end was acknowledged is answered with ALREADY_EXISTS", look: look, needs: withFails, after: []string{"start-again", "ack-end"}, run: refusesAckedStart},
		{id: "start-many", title: "64 attempts run at once, or as many as it says", look: look, needs: anyEnd, after: job, run: startsMany},
		{id: "start-too-many", title: "an attempt beyond max_concurrency is answered with RESOURCE_EXHAUSTED", look: look, needs: []string{"long"}, after: []string{"start-many"}, run: refusesTooMany},
		{id: "start-cut", title: "a job goes on when its stream is cut", look: look, needs: []string{"long"}, after: []string{"watch-running"}, run: outlivesStream},
		{id: "watch-from", title: "Watch brings the same events again from every number on", look: look, needs: withFails, after: ordered, run: watchesFromEveryNumber},
		{id: "watch-running", title: "Watch of a running attempt brings what was and what comes", look: look, needs: []string{"long"}, after: []string{"events-order", afterCancel}, run: watchesRunning},
		{id: "watch-unknown", title: "Watch of an unknown attempt is answered with NOT_FOUND", look: look, run: watchUnknown},
		{id: "ack-part", title: "an acknowledgement of some events keeps the rest and the attempt", look: look, needs: withFails, after: ordered, run: acksPart},
		{id: "ack-end", title: "an attempt whose end is acknowledged is forgotten", look: look, needs: withFails, after: []string{"events-order", "watch-unknown"}, run: forgetsAcked},
		{id: "ack-unknown", title: "acknowledgements of unknown attempts and numbers are passed over", look: look, run: acksUnknown},
		{id: "list-running", title: "List tells the job, the state and the last event of an attempt", look: look, needs: []string{"long"}, after: []string{"events-order", afterCancel}, run: listsRunning},
	}
}

// ends starts a process and runs an example of some kinds on it to its end.
func (k *check) ends(ctx context.Context, kinds ...string) (*process, *pluginpb.StartRequest, []*pluginpb.Event, error) {
	e, err := k.example(kinds...)
	if err != nil {
		return nil, nil, nil, err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	request := p.request(e)
	s := k.start(ctx, p, request)
	events, err := s.closed(ctx, k.Patience)
	return p, request, events, err
}

func reportsItsEnd(ctx context.Context, k *check) error {
	e, err := k.example(append(slices.Clone(anyEnd), "fails")...)
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	_, _, err = k.finish(ctx, p, p.request(e))
	return err
}

func closesStream(ctx context.Context, k *check) error {
	_, _, _, err := k.ends(ctx, append(slices.Clone(anyEnd), "fails")...)
	return err
}

func numbersIncrease(ctx context.Context, k *check) error {
	_, _, events, err := k.ends(ctx, append(slices.Clone(anyEnd), "fails")...)
	if err != nil {
		return err
	}
	last := uint64(0)
	for i, e := range events {
		if e.GetNumber() <= last {
			return saw("number %d after %d, in %s", e.GetNumber(), last, outline(events)).want("a larger one")
		}
		if i == 0 && e.GetNumber() != 1 {
			return saw("%s", outline(events)).want("1 as the first number of a job that replaces no event")
		}
		last = e.GetNumber()
	}
	return nil
}

func eventsInOrder(ctx context.Context, k *check) error {
	_, _, events, err := k.ends(ctx, anyEnd...)
	if err != nil {
		return err
	}
	for i, e := range events {
		switch what := name(e); {
		case (what == "started") != (i == 0):
			return saw("%s", outline(events)).want("started as the first event, and once")
		case (what == "ended") != (i == len(events)-1):
			return saw("%s", outline(events)).want("ended as the last event, and once")
		case what == "unknown":
			return saw("event %d of no kind", e.GetNumber()).want("one of the kinds of event.proto")
		case !e.GetTime().IsValid() || e.GetTime().AsTime().IsZero() || e.GetTime().GetSeconds() == 0:
			return saw("event %d (%s) without time", e.GetNumber(), what).want("when it happened")
		}
	}
	if failure := end(events).GetError(); failure != nil {
		return saw("%s", outcome(end(events))).want("an example of this kind to end well")
	}
	return nil
}

func failsWithReason(ctx context.Context, k *check) error {
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	examples, err := k.examples("fails")
	if err != nil {
		return err
	}
	for _, e := range examples {
		events, ended, err := k.finish(ctx, p, p.request(e))
		if err != nil {
			return err
		}
		failure := ended.GetError()
		known := pluginpb.ErrorClass_name[int32(failure.GetClass())] != ""
		switch {
		case failure == nil:
			return saw("%q ended well", e.Title).want("an error")
		case !known || failure.GetClass() == pluginpb.ErrorClass_ERROR_CLASS_UNSPECIFIED:
			return saw("%q ended with the class %v", e.Title, failure.GetClass()).want("a class that says whose fault it was")
		case failure.GetMessage() == "":
			return saw("%q ended without a message", e.Title).want("a sentence for the caller")
		case result(events) != nil:
			return saw("a result of a job that failed, in %s", outline(events)).want("none")
		}
	}
	return nil
}

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
		if !repeats(events, third) {
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
	events, err := k.start(ctx, p, request).closed(ctx, k.Patience)
	if err == nil {
		return saw("a start after the acknowledged end brought %s", outline(events)).want("the status ALREADY_EXISTS")
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
	if most == 0 || most > 128 {
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
	if !repeats(events, kept) {
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
	p, request, events, err := k.ends(ctx, append(slices.Clone(anyEnd), "fails")...)
	if err != nil {
		return err
	}
	id := request.GetAttemptId()
	if events, err = k.watch(ctx, p, id, 0).closed(ctx, k.Patience); err != nil {
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
