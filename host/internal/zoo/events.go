package main

import (
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// events are the breeds whose events are not as the protocol wants them.
func events() map[string]breed {
	return map[string]breed{
		"repeats-events": {
			wrong: "each batch of events is sent twice",
			send: func(events []*pluginpb.Event, next func([]*pluginpb.Event) error) error {
				if err := next(events); err != nil {
					return err
				}
				return next(events)
			},
		},
		"never-ends": {
			wrong: "the end event is kept back",
			send: func(events []*pluginpb.Event, next func([]*pluginpb.Event) error) error {
				last := len(events) - 1
				if last >= 0 && events[last].GetEnded() != nil {
					events = events[:last]
				}
				return next(events)
			},
		},
		"open-ended": {
			wrong: "streams stay open behind the end",
			stream: func(stream grpc.ServerStream, method string, next func(grpc.ServerStream) error) error {
				err := next(stream)
				if err == nil && !strings.HasSuffix(method, "/Drain") {
					<-stream.Context().Done()
				}
				return err
			},
		},
		"ends-twice": {
			wrong: "the end is reported twice",
			send: func(events []*pluginpb.Event, next func([]*pluginpb.Event) error) error {
				if last := events[len(events)-1]; last.GetEnded() != nil {
					again := proto.CloneOf(last)
					again.Number++
					events = append(slices.Clone(events), again)
				}
				return next(events)
			},
		},
		"mumbles": {
			wrong: "errors have no class",
			send: func(events []*pluginpb.Event, next func([]*pluginpb.Event) error) error {
				return next(changed(events, func(e *pluginpb.Event) {
					if failure := e.GetEnded().GetError(); failure.GetClass() == pluginpb.ErrorClass_ERROR_CLASS_FAILED {
						failure.Class = pluginpb.ErrorClass_ERROR_CLASS_UNSPECIFIED
					}
				}))
			},
		},
		"counts-down": {wrong: "the numbers of events decrease", send: countDown()},
	}
}

// countDown numbers all events of the process downwards.
func countDown() func([]*pluginpb.Event, func([]*pluginpb.Event) error) error {
	var mu sync.Mutex
	number := uint64(1 << 32)
	return func(events []*pluginpb.Event, next func([]*pluginpb.Event) error) error {
		mu.Lock()
		changed := make([]*pluginpb.Event, len(events))
		for i, e := range events {
			number--
			// A copy: what the plugin keeps for a repeat stays as it is.
			changed[i] = &pluginpb.Event{Number: number, Time: e.GetTime(), Kind: e.GetKind()}
		}
		mu.Unlock()
		return next(changed)
	}
}

// changed changes copies of events: what the plugin keeps stays as it is.
func changed(events []*pluginpb.Event, change func(*pluginpb.Event)) []*pluginpb.Event {
	out := make([]*pluginpb.Event, len(events))
	for i, e := range events {
		out[i] = proto.CloneOf(e)
		change(out[i])
	}
	return out
}
