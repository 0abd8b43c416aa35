package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// attempts are the breeds that do not start or follow attempts as they should.
func attempts() map[string]breed {
	return map[string]breed{
		"diligent": diligent(),
		"crowded":  crowded(),
		"overbooked": {wrong: "it says that less runs at once than does", call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			answer, err := next(ctx, request)
			if d, ok := answer.(*pluginpb.DescribeResponse); ok {
				d = proto.CloneOf(d)
				d.Capabilities.MaxConcurrency = 4
				return d, err
			}
			return answer, err
		}},
		"devoted": devoted(),
		"rewinds": {wrong: "Watch always brings all events", receive: func(request any) {
			if r, ok := request.(*pluginpb.WatchRequest); ok {
				r.From = 1
			}
		}},
		"impatient": impatient(),
		"polite": {
			wrong: "Watch of an unknown attempt brings nothing, in order",
			stream: func(stream grpc.ServerStream, _ string, next func(grpc.ServerStream) error) error {
				if err := next(stream); status.Code(err) != codes.NotFound {
					return err
				}
				return nil
			},
		},
		"jumbled": {wrong: "List names the last attempt first", call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			answer, err := next(ctx, request)
			if list, ok := answer.(*pluginpb.ListResponse); ok {
				slices.Reverse(list.GetAttempts())
			}
			return answer, err
		}},
		"numb": {wrong: "List does not tell the last event", call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			answer, err := next(ctx, request)
			if list, ok := answer.(*pluginpb.ListResponse); ok {
				for _, a := range list.GetAttempts() {
					a.LastEvent = 0
				}
			}
			return answer, err
		}},
	}
}

// ids is a set of attempts.
type ids struct {
	mu  sync.Mutex
	set map[string]bool
}

// add reports whether an id is new.
func (i *ids) add(id string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.set == nil {
		i.set = map[string]bool{}
	}
	known := i.set[id]
	i.set[id] = true
	return !known
}

func (i *ids) has(id string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.set[id]
}

// diligent does the work of a start that it knows again.
func diligent() breed {
	var seen ids
	return breed{wrong: "a second start does the work again", receive: func(request any) {
		if r, ok := request.(*pluginpb.StartRequest); ok && !seen.add(r.GetAttemptId()) {
			r.AttemptId += " again"
		}
	}}
}

// crowded has less room than it says.
func crowded() breed {
	var running atomic.Int64
	return breed{wrong: "less runs at once than it says", stream: func(stream grpc.ServerStream, method string, next func(grpc.ServerStream) error) error {
		defer running.Add(-1)
		if running.Add(1) > 8 && strings.HasSuffix(method, "/Start") {
			return status.Error(codes.ResourceExhausted, "there is no more room")
		}
		time.Sleep(100 * time.Millisecond) // so that quick jobs meet
		return next(stream)
	}}
}

// devoted ties jobs to the stream of their start.
func devoted() breed {
	var mu sync.Mutex
	streams := map[string]context.Context{}
	return breed{
		wrong: "a job ends with the stream of its start",
		stream: func(stream grpc.ServerStream, method string, next func(grpc.ServerStream) error) error {
			if !strings.HasSuffix(method, "/Start") {
				return next(stream)
			}
			return next(&receiver{stream, func(request any) {
				mu.Lock()
				defer mu.Unlock()
				id := request.(*pluginpb.StartRequest).GetAttemptId()
				if streams[id] == nil {
					streams[id] = stream.Context()
				}
			}})
		},
		run: func(_ context.Context, job *sdk.Job[Input], healthy func() error) error {
			mu.Lock()
			ctx := streams[job.AttemptID]
			mu.Unlock()
			done := make(chan error, 1)
			go func() { done <- healthy() }() // the job's end stops what it waits for
			select {
			case err := <-done:
				return err
			case <-ctx.Done():
				return errors.New("nobody listens any more")
			}
		},
	}
}

// impatient does not let anybody watch what has not ended.
func impatient() breed {
	var started, over ids
	return breed{
		wrong: "Watch of a running attempt brings nothing",
		stream: func(stream grpc.ServerStream, method string, next func(grpc.ServerStream) error) error {
			if !strings.HasSuffix(method, "/Watch") {
				return next(&idStream{ServerStream: stream, started: &started, over: &over})
			}
			var request pluginpb.WatchRequest
			if err := stream.RecvMsg(&request); err != nil {
				return err
			}
			if id := request.GetAttemptId(); started.has(id) && !over.has(id) {
				return nil
			}
			return next(&replay{stream, &request})
		},
	}
}

// idStream notes the attempts that were started, and whose end was sent.
type idStream struct {
	grpc.ServerStream
	started, over *ids
	id            string
}

// RecvMsg implements grpc.ServerStream.
func (s *idStream) RecvMsg(message any) error {
	err := s.ServerStream.RecvMsg(message)
	if r, ok := message.(*pluginpb.StartRequest); ok {
		s.id = r.GetAttemptId()
		s.started.add(s.id)
	}
	return err
}

// SendMsg implements grpc.ServerStream.
func (s *idStream) SendMsg(message any) error {
	if batch, ok := message.(*pluginpb.StartResponse); ok {
		if n := len(batch.GetEvents()); n > 0 && batch.GetEvents()[n-1].GetEnded() != nil {
			s.over.add(s.id)
		}
	}
	return s.ServerStream.SendMsg(message)
}

// replay is a stream whose request was read already.
type replay struct {
	grpc.ServerStream
	request proto.Message
}

// RecvMsg implements grpc.ServerStream.
func (r *replay) RecvMsg(message any) error {
	proto.Merge(message.(proto.Message), r.request)
	return nil
}
