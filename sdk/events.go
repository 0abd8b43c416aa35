package sdk

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

const (
	// gatherTime is how long an event that nobody waits for may lie before it is
	// sent, so that a quick job is one message.
	gatherTime = 5 * time.Millisecond
	// maxBatch bounds the bytes of one message of events; one large event may
	// still be alone in one.
	maxBatch = 192 << 10
	// maxKept bounds the events that are kept for a repeat.
	maxKept = 512
)

// eventLog holds the events of an attempt that are not acknowledged yet. Later
// events of some kinds replace earlier ones, so it is bounded.
type eventLog struct {
	mu      sync.Mutex
	kept    []*pluginpb.Event // by number
	last    uint64            // number of the newest event
	due     uint64            // events up to here may be sent
	acked   uint64            // events up to here are durable at the host
	ended   bool
	gather  *time.Timer
	waiting bool          // gather runs
	changed chan struct{} // closed at the next change; nil: nobody waits
}

// add takes an event and returns its number, or 0 if the log has ended or is
// full. An urgent event is sent at once, with all before it.
func (l *eventLog) add(event *pluginpb.Event, urgent bool) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.append(event, urgent)
}

// end adds the last events, all of them or none.
func (l *eventLog) end(events ...*pluginpb.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}

	for i, event := range events {
		l.append(event, i == len(events)-1)
	}
	l.ended = true
	if l.gather != nil {
		l.gather.Stop()
	}
}

func (l *eventLog) append(event *pluginpb.Event, urgent bool) uint64 {
	if l.ended {
		return 0
	}
	l.replace(event)
	if len(l.kept) >= maxKept && bounded(event) {
		return 0
	}

	l.last++
	event.Number = l.last
	event.Time = timestamppb.Now()
	l.kept = append(l.kept, event)
	switch {
	case urgent:
		l.due = l.last
		l.notify()
	case !l.waiting:
		l.waiting = true
		l.arm()
	}
	return l.last
}

func (l *eventLog) arm() {
	if l.gather != nil {
		l.gather.Reset(gatherTime)
		return
	}
	l.gather = time.AfterFunc(gatherTime, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.waiting = false
		l.due = l.last
		l.notify()
	})
}

// replace drops the event that the new one makes worthless.
func (l *eventLog) replace(event *pluginpb.Event) {
	if len(l.kept) == 0 {
		return
	}
	for i, old := range l.kept {
		if replaces(event, old) {
			l.kept = append(l.kept[:i], l.kept[i+1:]...)
			return
		}
	}
}

func replaces(event, old *pluginpb.Event) bool {
	switch kind := event.GetKind().(type) {
	case *pluginpb.Event_Progress:
		return old.GetProgress() != nil
	case *pluginpb.Event_Output:
		return old.GetOutput() != nil && old.GetOutput().GetKey() == kind.Output.GetKey()
	case *pluginpb.Event_Usage:
		return old.GetUsage() != nil && old.GetUsage().GetUnit() == kind.Usage.GetUnit()
	case *pluginpb.Event_Checkpoint:
		return old.GetCheckpoint() != nil
	default:
		return false
	}
}

// bounded reports whether an author can make any number of such events.
func bounded(event *pluginpb.Event) bool {
	switch event.GetKind().(type) {
	case *pluginpb.Event_Output, *pluginpb.Event_Usage:
		return true
	default:
		return false
	}
}

// follow sends the events from a number on until the end was sent or ctx is
// done.
func (l *eventLog) follow(ctx context.Context, from uint64, send func([]*pluginpb.Event) error) error {
	for {
		batch, done, changed := l.next(from)
		if len(batch) > 0 {
			if err := send(batch); err != nil {
				return err
			}
			from = batch[len(batch)-1].GetNumber() + 1
		}
		if done {
			return nil
		}
		if changed == nil {
			continue
		}

		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// next returns the events that are due from a number on. When there are none, it
// returns what tells of a change; done means that none will follow the batch.
func (l *eventLog) next(from uint64) (batch []*pluginpb.Event, done bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from = max(from, l.acked+1) // what is acknowledged comes no more

	first := len(l.kept)
	for first > 0 && l.kept[first-1].GetNumber() >= from {
		first--
	}
	size, last := 0, first
	for last < len(l.kept) && l.kept[last].GetNumber() <= l.due {
		size += weight(l.kept[last])
		if size > maxBatch && last > first {
			break
		}
		last++
	}
	if last > first {
		// A copy, because replacing moves the events of the log.
		batch = append(make([]*pluginpb.Event, 0, last-first), l.kept[first:last]...)
		from = batch[len(batch)-1].GetNumber() + 1
	}

	done = l.ended && from > l.last
	if done || len(batch) > 0 {
		return batch, done, nil
	}
	return nil, false, l.wait()
}

// weight is about the size of an event on the wire.
func weight(event *pluginpb.Event) int {
	const header = 64
	switch kind := event.GetKind().(type) {
	case *pluginpb.Event_Result:
		return header + len(kind.Result.GetInline())
	case *pluginpb.Event_Checkpoint:
		return header + len(kind.Checkpoint.GetData())
	case *pluginpb.Event_Output:
		return header + len(kind.Output.GetKey()) + len(kind.Output.GetValue())
	case *pluginpb.Event_Ended:
		return header + len(kind.Ended.GetError().GetMessage()) + len(kind.Ended.GetError().GetDetail())
	default:
		return header
	}
}

// ack forgets the events up to a number and reports whether the end is among
// them.
func (l *eventLog) ack(number uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	number = min(number, l.due)
	if number > l.acked {
		l.acked = number
		keep := 0
		for keep < len(l.kept) && l.kept[keep].GetNumber() <= number {
			keep++
		}
		l.kept = append(l.kept[:0:0], l.kept[keep:]...)
		l.notify()
	}
	return l.ended && l.acked == l.last
}

// durable waits until the host holds the event of a number.
func (l *eventLog) durable(ctx context.Context, number uint64) error {
	for {
		l.mu.Lock()
		done, changed := l.acked >= number, l.wait()
		l.mu.Unlock()
		if done {
			return nil
		}

		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// state returns whether the attempt has ended and the number of its last event.
func (l *eventLog) state() (ended bool, last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended, l.last
}

func (l *eventLog) wait() chan struct{} {
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}

func (l *eventLog) notify() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}
