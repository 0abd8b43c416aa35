package main

import (
	"context"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// hosts are the breeds that do not take the loss of a host or of themselves as
// they should.
func hosts() map[string]breed {
	start := func(wrong string, change func(*pluginpb.StartRequest)) breed {
		return breed{wrong: wrong, receive: func(request any) {
			if r, ok := request.(*pluginpb.StartRequest); ok {
				change(r)
			}
		}}
	}
	return map[string]breed{
		"faithful": {wrong: "it ends with the first connection", options: []sdk.Option{sdk.GRPC(grpc.StatsHandler(&lifeline{}))}},
		"orphan": {wrong: "it ends when its parent is gone", begin: func() {
			parent := os.Getppid()
			go func() { // as long as the process
				for os.Getppid() == parent {
					time.Sleep(20 * time.Millisecond)
				}
				os.Exit(0)
			}()
		}},
		"tenacious": start("attempts that may be retried go on without host", func(r *pluginpb.StartRequest) { r.Retryable = false }),
		"immortal":  start("attempts go on however long no host follows them", func(r *pluginpb.StartRequest) { r.OrphanTimeout = nil }),
		"clockwork": clockwork(),
		"hasty": {wrong: "the right to run holds for a second only", call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			if r, ok := request.(*pluginpb.RenewRequest); ok {
				r.ValidFor = durationpb.New(min(r.GetValidFor().AsDuration(), time.Second))
			}
			return next(ctx, request)
		}},
		"literal": {wrong: "a renewal of 0 ends the right to run", call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			if r, ok := request.(*pluginpb.RenewRequest); ok && r.GetValidFor().AsDuration() == 0 {
				r.ValidFor = durationpb.New(1)
			}
			return next(ctx, request)
		}},
		"disloyal": {wrong: "a host of an older epoch is obeyed", call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			answer, err := next(ctx, request)
			if status.Code(err) == codes.FailedPrecondition {
				return &pluginpb.RenewResponse{}, nil
			}
			return answer, err
		}},
		"widower": crouching("a process is left of a plugin that is killed", true),
		"haunted": {wrong: "a fresh process knows an attempt", call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			answer, err := next(ctx, request)
			if list, ok := answer.(*pluginpb.ListResponse); ok && len(list.GetAttempts()) == 0 {
				list.Attempts = []*pluginpb.AttemptInfo{{AttemptId: "from before", State: pluginpb.AttemptState_ATTEMPT_STATE_RUNNING}}
			}
			return answer, err
		}},
	}
}

// clockwork takes the time without a host for that of the job.
func clockwork() breed {
	var mu sync.Mutex
	times := map[string]time.Duration{}
	return breed{
		wrong: "attempts end after their orphan_timeout whatever the host does",
		receive: func(request any) {
			if r, ok := request.(*pluginpb.StartRequest); ok && r.GetOrphanTimeout() != nil {
				mu.Lock()
				defer mu.Unlock()
				times[r.GetAttemptId()] = r.GetOrphanTimeout().AsDuration()
			}
		},
		run: func(_ context.Context, job *sdk.Job[Input], healthy func() error) error {
			mu.Lock()
			within, ok := times[job.AttemptID]
			mu.Unlock()
			if !ok {
				return healthy()
			}
			done := make(chan error, 1)
			go func() { done <- healthy() }() // the job's end stops what it waits for
			select {
			case err := <-done:
				return err
			case <-time.After(within):
				return sdk.Errorf(sdk.Lost, "no host followed the job")
			}
		},
	}
}

// lifeline ends the process with its first connection.
type lifeline struct{}

// TagRPC implements stats.Handler.
func (*lifeline) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (*lifeline) HandleRPC(context.Context, stats.RPCStats) {}

// TagConn implements stats.Handler.
func (*lifeline) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (*lifeline) HandleConn(_ context.Context, s stats.ConnStats) {
	if _, ok := s.(*stats.ConnEnd); ok {
		os.Exit(0)
	}
}
