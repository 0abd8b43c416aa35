package sdk

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

func startedEvent() *pluginpb.Event {
	return &pluginpb.Event{Kind: &pluginpb.Event_Started{Started: &pluginpb.Started{}}}
}

func endedEvent() *pluginpb.Event {
	return &pluginpb.Event{Kind: &pluginpb.Event_Ended{Ended: &pluginpb.Ended{}}}
}

func outputEvent(key, value string) *pluginpb.Event {
	return &pluginpb.Event{Kind: &pluginpb.Event_Output{Output: &pluginpb.Output{Key: key, Value: value}}}
}

func resultEvent(size int) *pluginpb.Event {
	return &pluginpb.Event{Kind: &pluginpb.Event_Result{Result: &pluginpb.Result{
		Content: &pluginpb.Result_Inline{Inline: bytes.Repeat([]byte("x"), size)},
	}}}
}

func TestQuickJobIsOneBatch(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		var log eventLog
		log.add(startedEvent(), false)
		time.Sleep(gatherTime - time.Nanosecond)
		if batch, _, _ := log.next(1); len(batch) != 0 {
			t.Errorf("got %d events at once, want them to gather", len(batch))
		}
		log.end(resultEvent(1), endedEvent())
		batch, done, _ := log.next(1)
		if len(batch) != 3 || !done {
			t.Errorf("got %d events and done = %v, want all 3", len(batch), done)
		}
	})
}

func TestEventsGatherForAWhile(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		var log eventLog
		for round := range uint64(3) {
			log.add(startedEvent(), false)
			_, _, changed := log.next(round + 1)
			begin := time.Now()
			<-changed
			if got := time.Since(begin); got != gatherTime {
				t.Errorf("told after %v, want %v", got, gatherTime)
			}
			if batch, _, _ := log.next(round + 1); len(batch) != 1 {
				t.Errorf("got %d events, want 1", len(batch))
			}
		}
	})
}

func TestBatchesAreBounded(t *testing.T) {
	t.Parallel()

	var log eventLog
	value := string(bytes.Repeat([]byte("v"), 8<<10))
	for i := range 100 {
		log.add(outputEvent(string(rune('A'+i)), value), false)
	}
	log.end(resultEvent(maxInline), endedEvent())
	from, count := uint64(1), 0
	for done := false; !done; {
		var batch []*pluginpb.Event
		batch, done, _ = log.next(from)
		size := 0
		for _, event := range batch {
			size += weight(event)
		}
		if size > 256<<10 || len(batch) == 0 {
			t.Fatalf("got a batch of %d events and %d bytes, want 1 to 256 KiB", len(batch), size)
		}
		count += len(batch)
		from = batch[len(batch)-1].GetNumber() + 1
	}
	if count != 102 {
		t.Errorf("got %d events, want 102", count)
	}
}

func TestKeptEventsAreBounded(t *testing.T) {
	t.Parallel()

	var log eventLog
	for i := range 2 * maxKept {
		log.add(outputEvent(string(rune(i)), "v"), false)
	}
	if got := len(log.kept); got != maxKept {
		t.Errorf("keeps %d events, want %d", got, maxKept)
	}
	if log.add(startedEvent(), true) == 0 {
		t.Error("an event that comes once was dropped, want it kept")
	}
}

// A second reader that comes late must not wait for events that are gone.
func TestAcknowledgedEndEndsEveryStream(t *testing.T) {
	t.Parallel()

	var log eventLog
	log.add(startedEvent(), false)
	log.end(endedEvent())
	if !log.ack(2) {
		t.Fatal("the end is not acknowledged")
	}
	if batch, done, _ := log.next(1); len(batch) != 0 || !done {
		t.Errorf("got %d events and done = %v, want none and the end", len(batch), done)
	}
}
