package main

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// cancels are the breeds that do not stop as they should.
func cancels() map[string]breed {
	cancel := func(wrong string, change func(r *pluginpb.CancelRequest, next func() (*pluginpb.CancelResponse, error)) (*pluginpb.CancelResponse, error)) breed {
		return breed{wrong: wrong, call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			r, ok := request.(*pluginpb.CancelRequest)
			if !ok {
				return next(ctx, request)
			}
			return change(r, func() (*pluginpb.CancelResponse, error) {
				answer, err := next(ctx, r)
				if err != nil {
					return nil, err
				}
				return answer.(*pluginpb.CancelResponse), nil
			})
		}}
	}
	deaf := func(wrong string, mode pluginpb.CancelMode) breed {
		var started ids
		b := cancel(wrong, func(r *pluginpb.CancelRequest, next func() (*pluginpb.CancelResponse, error)) (*pluginpb.CancelResponse, error) {
			if r.GetMode() == mode && started.has(r.GetAttemptId()) {
				return &pluginpb.CancelResponse{Accepted: true}, nil
			}
			return next()
		})
		b.receive = func(request any) {
			if r, ok := request.(*pluginpb.StartRequest); ok {
				started.add(r.GetAttemptId())
			}
		}
		return b
	}
	var stopping, unknown ids
	return map[string]breed{
		"stubborn":  deaf("an orderly cancel is not obeyed", pluginpb.CancelMode_CANCEL_MODE_GRACEFUL),
		"unforced":  deaf("a forced cancel is not obeyed", pluginpb.CancelMode_CANCEL_MODE_FORCED),
		"clingy":    deaf("an attempt that is abandoned goes on", pluginpb.CancelMode_CANCEL_MODE_ABANDON),
		"aimless":   {wrong: "a deadline is not kept", receive: func(request any) { dropDeadline(request) }},
		"snippy":    {wrong: "a long job is over too soon", run: snip},
		"crouching": crouching("a process is left of a canceled job", false),
		"irritable": cancel("a second cancel ends the process", func(r *pluginpb.CancelRequest, next func() (*pluginpb.CancelResponse, error)) (*pluginpb.CancelResponse, error) {
			if stopping.has(r.GetAttemptId()) {
				os.Exit(3)
			}
			answer, err := next()
			if answer.GetAccepted() {
				stopping.add(r.GetAttemptId())
			}
			return answer, err
		}),
		"resentful": {
			wrong: "a start that a cancel has overtaken is refused",
			call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
				answer, err := next(ctx, request)
				if c, ok := answer.(*pluginpb.CancelResponse); ok && !c.GetAccepted() {
					unknown.add(request.(*pluginpb.CancelRequest).GetAttemptId())
				}
				return answer, err
			},
			stream: func(stream grpc.ServerStream, _ string, next func(grpc.ServerStream) error) error {
				var refused error
				err := next(&receiver{stream, func(request any) {
					if r, ok := request.(*pluginpb.StartRequest); ok && unknown.has(r.GetAttemptId()) {
						refused = status.Error(codes.AlreadyExists, "it was canceled")
						r.AttemptId = ""
					}
				}})
				if refused != nil {
					return refused
				}
				return err
			},
		},
		"retroactive": retroactive(),
		"obliging": cancel("a cancel of an unknown attempt is accepted", func(r *pluginpb.CancelRequest, next func() (*pluginpb.CancelResponse, error)) (*pluginpb.CancelResponse, error) {
			answer, err := next()
			if strings.HasPrefix(r.GetAttemptId(), "8f2c0000") {
				return &pluginpb.CancelResponse{Accepted: true}, nil
			}
			return answer, err
		}),
		"reasonless": cancel("every cancel is one by a person", func(r *pluginpb.CancelRequest, next func() (*pluginpb.CancelResponse, error)) (*pluginpb.CancelResponse, error) {
			r.Reason = pluginpb.CancelReason_CANCEL_REASON_USER
			return next()
		}),
	}
}

func dropDeadline(request any) {
	if r, ok := request.(*pluginpb.StartRequest); ok {
		r.Deadline = nil
	}
}

// snip ends long jobs early.
func snip(ctx context.Context, job *sdk.Job[Input], healthy func() error) error {
	if job.Input.Sleep == 0 {
		return healthy()
	}
	select {
	case <-time.After(4 * time.Second):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// crouching starts a process that the sdk knows nothing of. A kind one ends it
// with the job.
func crouching(wrong string, kind bool) breed {
	return breed{wrong: wrong, run: func(ctx context.Context, job *sdk.Job[Input], healthy func() error) error {
		if !job.Input.Child {
			return healthy()
		}
		cmd := exec.Command("sleep", strconv.Itoa(60))
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return err
		}
		if kind {
			defer cmd.Wait()
			defer cmd.Process.Kill()
		}
		return healthy()
	}}
}

// retroactive accepts cancels of what has ended.
func retroactive() breed {
	var started ids
	return breed{
		wrong: "a cancel after the end is accepted",
		receive: func(request any) {
			if r, ok := request.(*pluginpb.StartRequest); ok {
				started.add(r.GetAttemptId())
			}
		},
		call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			answer, err := next(ctx, request)
			if r, ok := request.(*pluginpb.CancelRequest); ok && started.has(r.GetAttemptId()) {
				return &pluginpb.CancelResponse{Accepted: true}, nil
			}
			return answer, err
		},
	}
}
