package conformance

import (
	"context"
	"slices"

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
		{id: "list-order", title: "List names attempts in the order of their start, and the epoch 0 before a host has renewed", look: "ListResponse in proto/heimdall/plugin/v1/plugin.proto", needs: withFails, after: job, run: listsInOrder},
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
