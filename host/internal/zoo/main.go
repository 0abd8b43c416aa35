// Command zoo is a healthy plugin in which one thing can be broken: which one is
// told by the name of its file, heimdall-plugin-<breed>, because a plugin gets
// nothing else from whoever starts it. It is for tests of the host and of the
// conformance suite, and is never shipped.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// breed is one kind of plugin: the healthy one, with the changes that are set.
type breed struct {
	wrong string // what is broken, for people

	// begin runs before anything else, without a look at the cookie.
	begin func()
	// run is done in place of the healthy one's.
	run func(ctx context.Context, job *sdk.Job[Input], healthy func() error) error
	// call answers a call in place of next, which is what the healthy one does.
	call func(ctx context.Context, request any, next grpc.UnaryHandler) (any, error)
	// stream serves a streaming call in place of next.
	stream func(stream grpc.ServerStream, method string, next func(grpc.ServerStream) error) error
	// receive changes the request of a streaming call before it is served.
	receive func(request any)
	// send sends a batch of events of an attempt in place of next.
	send func(events []*pluginpb.Event, next func([]*pluginpb.Event) error) error
	// options are added to those of the healthy one.
	options []sdk.Option
}

// breeds are all that there are, by the name of the plugin.
func breeds() map[string]breed {
	all := map[string]breed{"healthy": {wrong: "nothing"}}
	for _, some := range []map[string]breed{
		handshakes(), descriptions(), settings(), events(), attempts(), acks(), cancels(), results(), logs(),
		hosts(), leftovers(), ends(), secrets(), robust(),
	} {
		for name, b := range some {
			all[name] = b
		}
	}
	return all
}

func main() {
	name := strings.TrimPrefix(filepath.Base(os.Args[0]), "heimdall-plugin-")
	name, _, _ = strings.Cut(name, "_v")
	b, ok := breeds()[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "the zoo has no breed %q\n", name)
		os.Exit(1)
	}
	if b.begin != nil {
		b.begin()
	}
	options := append([]sdk.Option{
		sdk.Version("1.0.0"),
		sdk.MaxConcurrency(64),
		sdk.Resume(1),
		sdk.Configure(func(*Zoo) error { return nil }),
		sdk.Examples(examples()...),
		sdk.GRPC(
			grpc.ChainUnaryInterceptor(b.unary),
			grpc.ChainStreamInterceptor(b.streaming),
		),
	}, b.options...)
	sdk.Serve(name, func() *Animal { return &Animal{Greeting: "Hello", breed: &b} }, options...)
}

// unary breaks what a call answers.
func (b *breed) unary(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if b.call == nil {
		return next(ctx, request)
	}
	return b.call(ctx, request, next)
}

// streaming breaks what a stream brings.
func (b *breed) streaming(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if b.send != nil {
		stream = &sender{stream, b.send}
	}
	if b.receive != nil {
		stream = &receiver{stream, b.receive}
	}
	if b.stream == nil {
		return next(service, stream)
	}
	return b.stream(stream, info.FullMethod, func(stream grpc.ServerStream) error { return next(service, stream) })
}

// receiver is a stream whose requests go through receive.
type receiver struct {
	grpc.ServerStream
	receive func(any)
}

// RecvMsg implements grpc.ServerStream.
func (r *receiver) RecvMsg(message any) error {
	err := r.ServerStream.RecvMsg(message)
	if err == nil {
		r.receive(message)
	}
	return err
}

// sender is a stream whose events go through send.
type sender struct {
	grpc.ServerStream
	send func([]*pluginpb.Event, func([]*pluginpb.Event) error) error
}

// SendMsg implements grpc.ServerStream.
func (s *sender) SendMsg(message any) error {
	switch batch := message.(type) {
	case *pluginpb.StartResponse:
		return s.send(batch.GetEvents(), func(events []*pluginpb.Event) error {
			return s.ServerStream.SendMsg(&pluginpb.StartResponse{Events: events})
		})
	case *pluginpb.WatchResponse:
		return s.send(batch.GetEvents(), func(events []*pluginpb.Event) error {
			return s.ServerStream.SendMsg(&pluginpb.WatchResponse{Events: events})
		})
	}
	return s.ServerStream.SendMsg(message)
}
