package conformance

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

const (
	graceful = pluginpb.CancelMode_CANCEL_MODE_GRACEFUL
	forced   = pluginpb.CancelMode_CANCEL_MODE_FORCED
	abandon  = pluginpb.CancelMode_CANCEL_MODE_ABANDON
	byUser   = pluginpb.CancelReason_CANCEL_REASON_USER
)

func cancelCases() []testCase {
	const look = "rpc Cancel, CancelMode and CancelReason in proto/heimdall/plugin/v1/command.proto"
	long := []string{"long"}
	job, stopped := []string{afterEnd}, []string{afterCancel}
	return []testCase{
		{id: "examples-long", title: "an example of kind long runs for ten seconds", look: "ExampleKind in proto/heimdall/plugin/v1/plugin.proto", needs: long, after: job, run: runsLong},
		{id: afterCancel, title: "an orderly cancel ends a job within the grace time, as canceled", look: look, needs: long, after: job, run: cancelsGracefully},
		{id: "cancel-forced", title: "a forced cancel ends a job soon", look: look, needs: long, after: stopped, run: cancelsByForce},
		{id: "cancel-abandon", title: "an attempt that is abandoned ends", look: look, needs: long, after: stopped, run: abandons},
		{id: "cancel-twice", title: "a cancel can be repeated, and become stronger; the job ends once", look: look, needs: long, after: stopped, run: cancelsTwice},
		{id: "cancel-early", title: "a cancel that overtakes its start, and another one after it, leave a canceled job", look: look, needs: long, after: []string{afterCancel, "cancel-unknown"}, run: cancelsEarly},
		{id: "cancel-late", title: "a cancel after the end is not accepted and changes nothing", look: look, needs: anyEnd, after: []string{"list-running", "cancel-forced", "cancel-abandon"}, run: cancelsLate},
		{id: "cancel-unknown", title: "a cancel of an unknown attempt is not accepted", look: look, run: cancelsUnknown},
		{id: "cancel-reasons", title: "the class of the end tells the reason of the cancel", look: look, needs: long, after: stopped, run: tellsReasons},
		{id: "cancel-children", title: "after a cancel no process is left of the job", look: look, needs: long, after: []string{"cancel-forced"}, run: leavesNoChildren},
		{id: "deadline", title: "a job ends with the class timeout when its deadline passes", look: "StartRequest.deadline in proto/heimdall/plugin/v1/command.proto", needs: long, after: stopped, run: keepsDeadline},
	}
}

func runsLong(ctx context.Context, k *check) error {
	const least = 10 * time.Second
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	examples, err := k.examples("long")
	if err != nil {
		return err
	}
	var streams []*stream
	for _, e := range examples {
		s := k.start(ctx, p, p.request(e))
		if err := s.started(ctx, k.Patience); err != nil {
			return fmt.Errorf("example %q: %w", e.Title, err)
		}
		streams = append(streams, s)
	}
	begun := time.Now()
	for time.Since(begun) < least {
		for i, s := range streams {
			if !s.running() {
				events, _, _ := s.state()
				return saw("example %q had %s after %s", examples[i].Title, outline(events), time.Since(begun).Round(time.Millisecond)).want("that it runs for at least %s", least)
			}
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	return nil
}

// cancels cancels a running job and returns how it ended.
func (k *check) cancels(ctx context.Context, mode pluginpb.CancelMode, reason pluginpb.CancelReason) (*pluginpb.Ended, error) {
	p, request, s, err := k.begin(ctx, "long")
	if err != nil {
		return nil, err
	}
	accepted, err := p.cancel(ctx, request.GetAttemptId(), mode, reason)
	if err != nil {
		return nil, err
	}
	if !accepted {
		return nil, saw("the cancel of a running attempt was not accepted").want("accepted = true")
	}
	// The grace time is over in a few seconds; patience is for a busy machine.
	return s.ended(ctx, grace+k.Patience)
}

// isClass checks the class of an end.
func isClass(ended *pluginpb.Ended, classes ...pluginpb.ErrorClass) error {
	for _, c := range classes {
		if ended.GetError().GetClass() == c {
			return nil
		}
	}
	return saw("%s", outcome(ended)).want("the class %s", class(classes[0]))
}

func cancelsGracefully(ctx context.Context, k *check) error {
	ended, err := k.cancels(ctx, graceful, byUser)
	if err != nil {
		return err
	}
	return isClass(ended, pluginpb.ErrorClass_ERROR_CLASS_CANCELED)
}

func cancelsByForce(ctx context.Context, k *check) error {
	ended, err := k.cancels(ctx, forced, byUser)
	if err != nil {
		return err
	}
	return isClass(ended, pluginpb.ErrorClass_ERROR_CLASS_CANCELED)
}

func abandons(ctx context.Context, k *check) error {
	ended, err := k.cancels(ctx, abandon, pluginpb.CancelReason_CANCEL_REASON_SHUTDOWN)
	if err != nil {
		return err
	}
	return isClass(ended, pluginpb.ErrorClass_ERROR_CLASS_CANCELED, pluginpb.ErrorClass_ERROR_CLASS_LOST)
}

func cancelsTwice(ctx context.Context, k *check) error {
	p, request, s, err := k.begin(ctx, "long")
	if err != nil {
		return err
	}
	for _, mode := range []pluginpb.CancelMode{graceful, graceful, forced} {
		if _, err := p.cancel(ctx, request.GetAttemptId(), mode, byUser); err != nil {
			return err
		}
	}
	ended, err := s.ended(ctx, grace+k.Patience)
	if err != nil {
		return err
	}
	if err := isClass(ended, pluginpb.ErrorClass_ERROR_CLASS_CANCELED); err != nil {
		return err
	}
	return p.answers(ctx, "three cancels of one attempt")
}

func cancelsEarly(ctx context.Context, k *check) error {
	e, err := k.example("long")
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	request := p.request(e)
	accepted, err := p.cancel(ctx, request.GetAttemptId(), graceful, byUser)
	if err != nil {
		return err
	}
	if accepted {
		return saw("the cancel of an attempt that was not started was accepted").want("accepted = false")
	}
	s := k.start(ctx, p, request)
	// It may have ended by the first one, or wait for the second.
	if err := until(ctx, k.Patience, func() bool { events, over, _ := s.state(); return over || len(events) > 0 }); err != nil {
		return saw("the start that followed a cancel is not answered").want("its events")
	}
	if err := k.stop(ctx, p, request); err != nil {
		return err
	}
	ended, err := s.ended(ctx, grace+k.Patience)
	if err != nil {
		return err
	}
	return isClass(ended, pluginpb.ErrorClass_ERROR_CLASS_CANCELED)
}

func cancelsLate(ctx context.Context, k *check) error {
	e, err := k.example(anyEnd...)
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	request := p.request(e)
	events, err := k.succeed(ctx, p, request)
	if err != nil {
		return err
	}
	for _, mode := range []pluginpb.CancelMode{graceful, forced, abandon} {
		accepted, err := p.cancel(ctx, request.GetAttemptId(), mode, byUser)
		if err != nil {
			return err
		}
		if accepted {
			return saw("the cancel of an attempt that had ended was accepted").want("accepted = false")
		}
	}
	known, err := p.list(ctx)
	if err != nil {
		return err
	}
	info, last := known[request.GetAttemptId()], events[len(events)-1].GetNumber()
	if info.GetState() != pluginpb.AttemptState_ATTEMPT_STATE_ENDED || info.GetLastEvent() != last {
		return saw("after the cancel List tells the state %v and the last event %d", info.GetState(), info.GetLastEvent()).want("ENDED and %d, as before", last)
	}
	return nil
}

func cancelsUnknown(ctx context.Context, k *check) error {
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	accepted, err := p.cancel(ctx, "8f2c0000-0000-4000-8000-000000000000", forced, byUser)
	if err != nil {
		return err
	}
	if accepted {
		return saw("it was accepted").want("accepted = false")
	}
	return nil
}

func tellsReasons(ctx context.Context, k *check) error {
	const canceled = pluginpb.ErrorClass_ERROR_CLASS_CANCELED
	for _, r := range []struct {
		reason  pluginpb.CancelReason
		classes []pluginpb.ErrorClass
	}{
		{byUser, []pluginpb.ErrorClass{canceled}},
		{pluginpb.CancelReason_CANCEL_REASON_TIMEOUT, []pluginpb.ErrorClass{pluginpb.ErrorClass_ERROR_CLASS_TIMEOUT}},
		{pluginpb.CancelReason_CANCEL_REASON_SHUTDOWN, []pluginpb.ErrorClass{canceled}},
		{pluginpb.CancelReason_CANCEL_REASON_CLIENT_GONE, []pluginpb.ErrorClass{canceled}},
		{pluginpb.CancelReason_CANCEL_REASON_LEASE_LOST, []pluginpb.ErrorClass{pluginpb.ErrorClass_ERROR_CLASS_LOST, canceled}},
		{pluginpb.CancelReason_CANCEL_REASON_LIMIT, []pluginpb.ErrorClass{pluginpb.ErrorClass_ERROR_CLASS_QUOTA, canceled}},
		{pluginpb.CancelReason_CANCEL_REASON_UNSPECIFIED, []pluginpb.ErrorClass{canceled}},
	} {
		ended, err := k.cancels(ctx, graceful, r.reason)
		if err == nil {
			err = isClass(ended, r.classes...)
		}
		if err != nil {
			return fmt.Errorf("with the reason %v: %w", r.reason, err)
		}
		k.close() // the next one gets a process of its own
	}
	return nil
}

func keepsDeadline(ctx context.Context, k *check) error {
	e, err := k.example("long")
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	for _, left := range []time.Duration{500 * time.Millisecond, -time.Minute} {
		request := p.request(e)
		request.Deadline = timestamppb.New(time.Now().Add(left))
		ended, err := k.start(ctx, p, request).ended(ctx, 10*time.Second+k.Patience)
		if err == nil {
			err = isClass(ended, pluginpb.ErrorClass_ERROR_CLASS_TIMEOUT)
		}
		if err != nil {
			return fmt.Errorf("with a deadline in %s: %w", left, err)
		}
	}
	return nil
}
