package main

import (
	"bytes"
	"context"
	"encoding/json"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// settings are the breeds that take settings and input which do not fit.
func settings() map[string]breed {
	start := func(wrong string, change func(*pluginpb.StartRequest)) breed {
		return breed{wrong: wrong, receive: func(request any) {
			if r, ok := request.(*pluginpb.StartRequest); ok {
				change(r)
			}
		}}
	}
	var configured atomic.Int64
	return map[string]breed{
		"lax-settings":   start("unknown keys of the settings are passed over", func(r *pluginpb.StartRequest) { r.Settings = known(r.Settings) }),
		"lax-input":      start("unknown keys of the input are passed over", func(r *pluginpb.StartRequest) { r.Input = known(r.Input) }),
		"blind-settings": start("settings of a wrong type are passed over", func(r *pluginpb.StartRequest) { r.Settings = typed(r.Settings) }),
		"blind-input":    start("input of a wrong type is passed over", func(r *pluginpb.StartRequest) { r.Input = typed(r.Input) }),
		"settled": {wrong: "it is configured once only", call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			if _, ok := request.(*pluginpb.ConfigureRequest); ok && configured.Add(1) > 1 {
				return nil, status.Error(codes.FailedPrecondition, "it is configured already")
			}
			return next(ctx, request)
		}},
		"agreeable": {wrong: "settings of its own that do not fit are taken", call: func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error) {
			if _, ok := request.(*pluginpb.ConfigureRequest); ok {
				return &pluginpb.ConfigureResponse{}, nil
			}
			return next(ctx, request)
		}},
	}
}

// known drops the key that nobody knows.
func known(text []byte) []byte {
	object := map[string]json.RawMessage{}
	if json.Unmarshal(text, &object) != nil {
		return text
	}
	delete(object, "heimdall_check_unknown")
	out, _ := json.Marshal(object) // it came from JSON
	return out
}

// typed drops what is made up of something else than the plugin expects.
func typed(text []byte) []byte {
	object := map[string]json.RawMessage{}
	if json.Unmarshal(text, &object) != nil {
		return text
	}
	if _, ok := object["heimdall_check_unknown"]; ok {
		return text
	}
	for name, value := range object {
		if bytes.ContainsAny(value, "{") || has(value, "heimdall") || string(value) == "0.5" {
			delete(object, name)
		}
	}
	out, _ := json.Marshal(object) // it came from JSON
	return out
}
