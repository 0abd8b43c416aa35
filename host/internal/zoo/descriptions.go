package main

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// descriptions are the breeds that do not say rightly what they are.
func descriptions() map[string]breed {
	describe := func(wrong string, change func(*pluginpb.DescribeResponse)) breed {
		return breed{wrong: wrong, call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			answer, err := next(ctx, request)
			if d, ok := answer.(*pluginpb.DescribeResponse); ok {
				d = proto.CloneOf(d)
				change(d)
				return d, err
			}
			return answer, err
		}}
	}
	return map[string]breed{
		"mute": {wrong: "it does not describe itself", call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			if _, ok := request.(*pluginpb.DescribeRequest); ok {
				return nil, status.Error(codes.Unavailable, "not now")
			}
			return next(ctx, request)
		}},
		"moody":     describe("the description changes", func(d *pluginpb.DescribeResponse) { d.Docs = time.Now().String() }),
		"alias":     describe("the name is not that of the file", func(d *pluginpb.DescribeResponse) { d.Name = "somebody" }),
		"newest":    describe("the version is no version", func(d *pluginpb.DescribeResponse) { d.Version = "newest" }),
		"kindless":  describe("it does not say that it performs jobs", func(d *pluginpb.DescribeResponse) { d.Kinds = nil }),
		"boaster":   describe("a capability makes no sense", func(d *pluginpb.DescribeResponse) { d.Capabilities.MaxConcurrency = -1 }),
		"schemeful": describe("a schema is none", func(d *pluginpb.DescribeResponse) { d.InputSchema = `{"type": "objekt"}` }),
		"misfit": {
			wrong:   "the settings of an example do not fit",
			options: []sdk.Option{sdk.Examples(sdk.Example{Kind: sdk.Fails, Title: "In color", Settings: map[string]any{"color": 1}})},
		},
	}
}
