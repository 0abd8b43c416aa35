package main

import (
	"sync"

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
