package main

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// secrets are the breeds that do not keep them.
func secrets() map[string]breed {
	return map[string]breed{
		"blabs": {wrong: "a secret is shown with the job", run: func(_ context.Context, job *sdk.Job[Input], healthy func() error) error {
			if password, ok := job.Secret("/password"); ok {
				job.Output("connected with", password.Reveal())
			}
			return healthy()
		}},
		"careless": {wrong: "a secret is in the environment of a program", run: func(_ context.Context, job *sdk.Job[Input], healthy func() error) error {
			password, ok := job.Secret("/password")
			if !ok || job.Input.Sleep == 0 {
				return healthy()
			}
			program := job.Exec("sleep", "60")
			program.Env = append(program.Env, "PASSWORD="+password.Reveal())
			if err := program.Start(); err != nil {
				return err
			}
			defer program.Wait()
			defer program.Kill()
			return healthy()
		}},
		"dismissive": {wrong: "new secrets of an unknown attempt are taken", call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			answer, err := next(ctx, request)
			if _, ok := request.(*pluginpb.UpdateSecretsRequest); ok && status.Code(err) == codes.NotFound {
				return &pluginpb.UpdateSecretsResponse{}, nil
			}
			return answer, err
		}},
	}
}
