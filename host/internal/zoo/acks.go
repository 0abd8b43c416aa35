package main

import (
	"context"
	"math"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// acks are the breeds that do not keep or forget as they should.
func acks() map[string]breed {
	ack := func(wrong string, change func(ctx context.Context, request *pluginpb.AckRequest, next grpc.UnaryHandler) (any, error)) breed {
		return breed{wrong: wrong, call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			if r, ok := request.(*pluginpb.AckRequest); ok {
				return change(ctx, r, next)
			}
			return next(ctx, request)
		}}
	}
	return map[string]breed{
		"forgetful": ack("an acknowledgement of some events forgets all", func(ctx context.Context, r *pluginpb.AckRequest, next grpc.UnaryHandler) (any, error) {
			for _, a := range r.GetAttempts() {
				a.Event = math.MaxUint64
			}
			return next(ctx, r)
		}),
		"keeper": ack("nothing that was acknowledged is forgotten", func(context.Context, *pluginpb.AckRequest, grpc.UnaryHandler) (any, error) {
			return &pluginpb.AckResponse{}, nil
		}),
		"strict": ack("acknowledgements of unknown attempts are errors", func(ctx context.Context, r *pluginpb.AckRequest, next grpc.UnaryHandler) (any, error) {
			for _, a := range r.GetAttempts() {
				if a.GetAttemptId() == "" {
					return nil, status.Error(codes.InvalidArgument, "attempt_id is empty")
				}
			}
			return next(ctx, r)
		}),
		"unmoved": ack("a job goes on waiting when its checkpoint was acknowledged", func(ctx context.Context, r *pluginpb.AckRequest, next grpc.UnaryHandler) (any, error) {
			if a := r.GetAttempts(); len(a) == 1 && a[0].GetEvent() == 2 { // after "started"
				return &pluginpb.AckResponse{}, nil
			}
			return next(ctx, r)
		}),
		"insistent": {wrong: "a job waits for a host that keeps no checkpoints", call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			if r, ok := request.(*pluginpb.DescribeRequest); ok {
				r.Features = []string{"checkpoints"}
			}
			return next(ctx, request)
		}},
		"restless": restless(),
	}
}

// restless begins again what was acknowledged.
func restless() breed {
	var acked ids
	return breed{
		wrong: "a start after the acknowledged end does the work again",
		call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			if r, ok := request.(*pluginpb.AckRequest); ok {
				for _, a := range r.GetAttempts() {
					acked.add(a.GetAttemptId())
				}
			}
			return next(ctx, request)
		},
		receive: func(request any) {
			if r, ok := request.(*pluginpb.StartRequest); ok && acked.has(r.GetAttemptId()) {
				r.AttemptId += " again"
			}
		},
	}
}
