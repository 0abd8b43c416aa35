package main

import (
	"context"
	"os"
	"os/exec"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// leftovers are the breeds that do not go on, clean up or let go as they should.
func leftovers() map[string]breed {
	fresh := func(wrong string, when func(*pluginpb.StartRequest) bool) breed {
		return breed{wrong: wrong, receive: func(request any) {
			if r, ok := request.(*pluginpb.StartRequest); ok && r.GetMode() == pluginpb.StartMode_START_MODE_RESUME && when(r) {
				r.Mode, r.Checkpoint = pluginpb.StartMode_START_MODE_FRESH, nil
			}
		}}
	}
	cleanup := func(wrong string, fails func(*pluginpb.CleanupRequest) bool) breed {
		return breed{wrong: wrong, call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			if r, ok := request.(*pluginpb.CleanupRequest); ok && fails(r) {
				return nil, status.Error(codes.NotFound, "there is nothing to clean up")
			}
			return next(ctx, request)
		}}
	}
	var started, cleaned ids
	unseen := cleanup("it cleans up only after attempts of the same process", func(r *pluginpb.CleanupRequest) bool { return !started.has(r.GetAttemptId()) })
	unseen.receive = func(request any) {
		if r, ok := request.(*pluginpb.StartRequest); ok {
			started.add(r.GetAttemptId())
		}
	}
	held := make(chan *os.File, 1<<16)
	return map[string]breed{
		"starts-anew": fresh("RESUME begins new work", func(r *pluginpb.StartRequest) bool { return r.GetCheckpoint() == nil }),
		"gullible": fresh("RESUME from garbage begins new work", func(r *pluginpb.StartRequest) bool {
			return r.GetCheckpoint() != nil && string(r.GetCheckpoint().GetData()) != `"asleep"`
		}),
		"amnesiac": {wrong: "it does not know its own checkpoint", run: func(_ context.Context, job *sdk.Job[Input], healthy func() error) error {
			if found, err := job.Load(new(string)); job.Resume && found && err == nil {
				return sdk.Errorf(sdk.Internal, "what is this?")
			}
			return healthy()
		}},
		"unprepared": {wrong: "new work with the checkpoint of an earlier attempt is an error", run: func(_ context.Context, job *sdk.Job[Input], healthy func() error) error {
			if found, err := job.Load(new(string)); !job.Resume && found && err == nil {
				return sdk.Errorf(sdk.Internal, "what is this?")
			}
			return healthy()
		}},
		"fat": {
			wrong: "a checkpoint is too large",
			send: func(events []*pluginpb.Event, next func([]*pluginpb.Event) error) error {
				return next(changed(events, func(e *pluginpb.Event) {
					if c := e.GetCheckpoint(); c != nil {
						c.Data = append(make([]byte, 64<<10), c.GetData()...)
					}
				}))
			},
		},
		"sneaks-off": {
			wrong: "it does not tell that it has only stopped to follow its work",
			send: func(events []*pluginpb.Event, next func([]*pluginpb.Event) error) error {
				return next(changed(events, func(e *pluginpb.Event) {
					if e.GetEnded() != nil {
						e.GetEnded().Abandoned = false
					}
				}))
			},
		},
		"cleans-once": cleanup("a second Cleanup is an error", func(r *pluginpb.CleanupRequest) bool { return !cleaned.add(r.GetAttemptId()) }),
		"cleans-own":  unseen,
		"stumbles":    cleanup("Cleanup with a checkpoint is an error", func(r *pluginpb.CleanupRequest) bool { return r.GetCheckpoint() != nil }),
		"secluded": {wrong: "nothing: its cluster cannot be reached when it cleans up", call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			if _, ok := request.(*pluginpb.CleanupRequest); ok {
				return nil, status.Error(codes.Unavailable, "the cluster cannot be reached")
			}
			return next(ctx, request)
		}},
		"foldered": cleanup("Cleanup needs the folders", func(r *pluginpb.CleanupRequest) bool {
			_, err := os.Stat(r.GetFolders().GetLogs())
			return err != nil
		}),
		"leaky": {wrong: "each job leaves a file open", run: func(_ context.Context, _ *sdk.Job[Input], healthy func() error) error {
			file, err := os.Open(os.DevNull)
			if err != nil {
				return err
			}
			held <- file
			return healthy()
		}},
		"litters": {wrong: "a process is left of a job that has ended", run: func(_ context.Context, job *sdk.Job[Input], healthy func() error) error {
			if job.Input.Lines == 100 {
				if err := exec.Command("sleep", "60").Start(); err != nil {
					return err
				}
			}
			return healthy()
		}},
	}
}
