package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/grpclog"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// robust are the breeds that are not.
func robust() map[string]breed {
	check := func(wrong string, answer *pluginpb.CheckResponse) breed {
		return breed{wrong: wrong, call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			if _, ok := request.(*pluginpb.CheckRequest); ok {
				return answer, nil
			}
			return next(ctx, request)
		}}
	}
	return map[string]breed{
		"speechless": check("Check does not say what is wrong", &pluginpb.CheckResponse{Checked: true}),
		"optimist":   check("all is well with any settings", &pluginpb.CheckResponse{Checked: true, Ok: true}),
		"fragile": {wrong: "a call with an unknown value ends the process", call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			if r, ok := request.(*pluginpb.CancelRequest); ok && r.GetMode() > pluginpb.CancelMode_CANCEL_MODE_ABANDON {
				fmt.Fprintln(os.Stderr, "panic: index out of range")
				os.Exit(2)
			}
			return next(ctx, request)
		}},
		"brittle": {wrong: "a start without folders ends the process", receive: func(request any) {
			if r, ok := request.(*pluginpb.StartRequest); ok && r.GetFolders() == nil {
				fmt.Fprintln(os.Stderr, "panic: nil pointer dereference")
				os.Exit(2)
			}
		}},
		"trusting": {wrong: "settings that are no JSON are taken for none", receive: func(request any) {
			if r, ok := request.(*pluginpb.StartRequest); ok && !json.Valid(r.GetSettings()) {
				r.Settings = []byte("{}")
			}
		}},
		"delicate": {wrong: "bytes that are no protocol end the process", begin: func() {
			grpclog.SetLoggerV2(grpclog.NewLoggerV2WithVerbosity(fuse{}, fuse{}, io.Discard, 99))
		}},
	}
}

// fuse ends the process when the library speaks of a connection that is none.
type fuse struct{}

// Write implements io.Writer.
func (fuse) Write(text []byte) (int, error) {
	if strings.Contains(string(text), "failed to create ServerTransport") || strings.Contains(string(text), "bogus greeting") {
		os.Exit(2)
	}
	return len(text), nil
}
