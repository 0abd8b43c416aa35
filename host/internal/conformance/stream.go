package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// stream gathers the events of an attempt from one call.
type stream struct {
	stop  context.CancelFunc
	acked func() bool // whether some of its events need not come again

	mu     sync.Mutex
	events []*pluginpb.Event
	over   bool
	err    error // why the call ended; nil: in order
}

// follow begins to gather what receive brings, and shows it to taken. The caller
// waits for group.
func follow(group *sync.WaitGroup, stop context.CancelFunc, receive func() ([]*pluginpb.Event, error), taken func([]*pluginpb.Event), acked func() bool) *stream {
	s := &stream{stop: stop, acked: acked}
	group.Go(func() {
		defer stop()
		for {
			events, err := receive()
			s.mu.Lock()
			s.events = append(s.events, events...)
			if err != nil {
				s.over = true
				if !errors.Is(err, io.EOF) {
					s.err = err
				}
				s.mu.Unlock()
				return
			}
			s.mu.Unlock()
			taken(events)
		}
	})
	return s
}

// state returns what has come so far.
func (s *stream) state() (events []*pluginpb.Event, over bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events[:len(s.events):len(s.events)], s.over, s.err
}

// sees waits for an event and returns it; it does not wait for one that may not
// come again.
func (s *stream) sees(ctx context.Context, within time.Duration, what string, is func(*pluginpb.Event) bool, missed func() bool) (*pluginpb.Event, error) {
	var found *pluginpb.Event
	err := until(ctx, within, func() bool {
		events, over, _ := s.state()
		if i := slices.IndexFunc(events, is); i >= 0 {
			found = events[i]
		}
		return found != nil || over || missed()
	})
	switch events, _, failure := s.state(); {
	case found != nil || missed():
		return found, nil
	case errors.Is(err, errLate):
		return nil, saw("no event %q within %s, only %s", what, within, outline(events)).want("one")
	case err != nil:
		return nil, err
	case failure != nil:
		return nil, saw("the stream broke after %s: %s", outline(events), told(failure)).want("an event %q", what)
	default:
		return nil, saw("the stream closed after %s", outline(events)).want("an event %q before", what)
	}
}

// started waits until the work has begun. When something of it was acknowledged,
// it has, and the event does not come again.
func (s *stream) started(ctx context.Context, within time.Duration) error {
	_, err := s.sees(ctx, within, "started", func(e *pluginpb.Event) bool { return e.GetStarted() != nil }, s.acked)
	return err
}

// ended waits for the end of the attempt.
func (s *stream) ended(ctx context.Context, within time.Duration) (*pluginpb.Ended, error) {
	e, err := s.sees(ctx, within, "ended", func(e *pluginpb.Event) bool { return e.GetEnded() != nil }, func() bool { return false })
	return e.GetEnded(), err
}

// closed waits for the end of the call and returns all its events.
func (s *stream) closed(ctx context.Context, within time.Duration) ([]*pluginpb.Event, error) {
	err := until(ctx, within, func() bool { _, over, _ := s.state(); return over })
	events, _, failure := s.state()
	switch {
	case errors.Is(err, errLate):
		return events, saw("the stream was still open after %s; it had brought %s", within, outline(events)).want("that it closes after the event \"ended\"")
	case err != nil:
		return events, err
	case failure != nil:
		return events, saw("the stream broke after %s: %s", outline(events), told(failure)).want("that it closes in order after the event \"ended\"")
	}
	return events, nil
}

// running reports whether no end has come yet.
func (s *stream) running() bool {
	events, over, _ := s.state()
	return !over && end(events) == nil
}

// end returns the first end among events; nil if there is none.
func end(events []*pluginpb.Event) *pluginpb.Ended {
	for _, e := range events {
		if ended := e.GetEnded(); ended != nil {
			return ended
		}
	}
	return nil
}

// result returns the last result among events; nil if there is none.
func result(events []*pluginpb.Event) (last *pluginpb.Result) {
	for _, e := range events {
		if r := e.GetResult(); r != nil {
			last = r
		}
	}
	return last
}

// name returns the kind of an event.
func name(e *pluginpb.Event) string {
	switch e.GetKind().(type) {
	case *pluginpb.Event_Started:
		return "started"
	case *pluginpb.Event_Progress:
		return "progress"
	case *pluginpb.Event_Output:
		return "output"
	case *pluginpb.Event_Usage:
		return "usage"
	case *pluginpb.Event_Checkpoint:
		return "checkpoint"
	case *pluginpb.Event_LogTruncated:
		return "log_truncated"
	case *pluginpb.Event_Result:
		return "result"
	case *pluginpb.Event_Ended:
		return "ended"
	}
	return "unknown"
}

// outline names events, for people.
func outline(events []*pluginpb.Event) string {
	if len(events) == 0 {
		return "no events"
	}
	var names []string
	for i, e := range events {
		if i >= 8 && i < len(events)-2 {
			if i == 8 {
				names = append(names, "…")
			}
			continue
		}
		names = append(names, fmt.Sprintf("%d %s", e.GetNumber(), name(e)))
	}
	return "the events " + strings.Join(names, ", ")
}

// outcome says how an attempt ended, for people.
func outcome(ended *pluginpb.Ended) string {
	failure := ended.GetError()
	if failure == nil {
		return "it ended well"
	}
	return fmt.Sprintf("it ended with the class %s: %s", class(failure.GetClass()), clip(failure.GetMessage(), 200))
}

// class is the name of a class, as people write it.
func class(c pluginpb.ErrorClass) string {
	return strings.ToLower(strings.TrimPrefix(c.String(), "ERROR_CLASS_"))
}
