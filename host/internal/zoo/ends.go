package main

import (
	"context"
	"os/signal"
	"strings"
	"syscall"

	"google.golang.org/grpc"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// ends are the breeds that do not end as they should.
func ends() map[string]breed {
	return map[string]breed{
		"endless": {
			wrong: "Drain stays open",
			stream: func(stream grpc.ServerStream, method string, next func(grpc.ServerStream) error) error {
				err := next(stream)
				if strings.HasSuffix(method, "/Drain") {
					<-stream.Context().Done()
				}
				return err
			},
		},
		"drained": {
			wrong: "Drain says that nothing runs, whatever does",
			stream: func(stream grpc.ServerStream, method string, next func(grpc.ServerStream) error) error {
				if strings.HasSuffix(method, "/Drain") {
					return stream.SendMsg(&pluginpb.DrainResponse{})
				}
				return next(stream)
			},
		},
		// The sdk listens to signals once it serves, so they are taken from it later.
		"undying": {wrong: "SIGTERM does not end an idle process", call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			if _, ok := request.(*pluginpb.DescribeRequest); ok {
				signal.Ignore(syscall.SIGTERM)
			}
			return next(ctx, request)
		}},
		"busy": {wrong: "SIGTERM does not end a process with jobs", receive: func(request any) {
			if _, ok := request.(*pluginpb.StartRequest); ok {
				signal.Ignore(syscall.SIGTERM)
			}
		}},
		"nervous": {wrong: "SIGINT ends it", call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			if _, ok := request.(*pluginpb.DescribeRequest); ok {
				signal.Reset(syscall.SIGINT)
			}
			return next(ctx, request)
		}},
	}
}
