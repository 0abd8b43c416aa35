package sdk

import (
	"context"
	"fmt"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// commandService performs attempts.
type commandService struct {
	pluginpb.UnimplementedCommandServiceServer
	*Server
}

// refuse returns why an unknown attempt may not start. The caller holds s.mu.
func (s *Server) refuse(id string) error {
	capacity := int(s.description.GetCapabilities().GetMaxConcurrency())
	if _, ok := s.forgotten[id]; ok {
		return status.Errorf(codes.AlreadyExists, "attempt %s has ended and was acknowledged", id)
	}

	switch {
	case id == "":
		return status.Error(codes.InvalidArgument, "attempt_id is empty")
	case s.draining:
		return status.Errorf(codes.FailedPrecondition, "plugin %s drains and starts nothing more", s.description.GetName())
	case capacity > 0 && s.running >= capacity:
		return status.Errorf(codes.ResourceExhausted, "plugin %s runs %d attempts, which is its limit", s.description.GetName(), capacity)
	default:
		return nil
	}
}

// Start implements pluginpb.CommandServiceServer.
func (s *commandService) Start(request *pluginpb.StartRequest, stream grpc.ServerStreamingServer[pluginpb.StartResponse]) error {
	if request.GetRetryable() && !s.lease.may(stream.Context()) {
		return status.Error(codes.FailedPrecondition, "the host's right to run jobs is over: another host may run this one")
	}
	a, err := s.begin(request)
	if err != nil {
		return err
	}
	return a.log.follow(stream.Context(), 1, func(events []*pluginpb.Event) error {
		return stream.Send(&pluginpb.StartResponse{Events: events})
	})
}

// Watch implements pluginpb.CommandServiceServer.
func (s *commandService) Watch(request *pluginpb.WatchRequest, stream grpc.ServerStreamingServer[pluginpb.WatchResponse]) error {
	a := s.get(request.GetAttemptId())
	if a == nil {
		return status.Errorf(codes.NotFound, "attempt %q is not known", request.GetAttemptId())
	}
	return a.log.follow(stream.Context(), request.GetFrom(), func(events []*pluginpb.Event) error {
		return stream.Send(&pluginpb.WatchResponse{Events: events})
	})
}

// Ack implements pluginpb.CommandServiceServer.
func (s *commandService) Ack(_ context.Context, request *pluginpb.AckRequest) (*pluginpb.AckResponse, error) {
	for _, acked := range request.GetAttempts() {
		a := s.get(acked.GetAttemptId())
		if a != nil && a.log.ack(acked.GetEvent()) {
			s.forget(a.id)
		}
	}
	return &pluginpb.AckResponse{}, nil
}

// Cancel implements pluginpb.CommandServiceServer.
func (s *commandService) Cancel(_ context.Context, request *pluginpb.CancelRequest) (*pluginpb.CancelResponse, error) {
	return &pluginpb.CancelResponse{Accepted: s.cancel(request)}, nil
}

// UpdateSecrets implements pluginpb.CommandServiceServer.
func (s *commandService) UpdateSecrets(_ context.Context, request *pluginpb.UpdateSecretsRequest) (*pluginpb.UpdateSecretsResponse, error) {
	a := s.get(request.GetAttemptId())
	if a == nil {
		return nil, status.Errorf(codes.NotFound, "attempt %q is not known", request.GetAttemptId())
	}
	a.updateSecrets(request.GetSecrets())
	return &pluginpb.UpdateSecretsResponse{}, nil
}

// Check implements pluginpb.CommandServiceServer.
func (s *commandService) Check(ctx context.Context, request *pluginpb.CheckRequest) (*pluginpb.CheckResponse, error) {
	response := &pluginpb.CheckResponse{}
	err := guard(func() error {
		in, err := s.instances.acquire(ctx, request.GetSettings(), request.GetSecrets())
		if err != nil {
			return err
		}
		defer s.instances.release(in)
		checker, ok := in.plugin.(Checker)
		if !ok {
			return nil
		}
		response.Checked = true
		return checker.Check(ctx)
	})
	if err != nil {
		return &pluginpb.CheckResponse{Checked: true, Detail: clip(err.Error(), maxMessage)}, nil
	}
	response.Ok = true
	return response, nil
}

// Cleanup implements pluginpb.CommandServiceServer.
func (s *commandService) Cleanup(ctx context.Context, request *pluginpb.CleanupRequest) (*pluginpb.CleanupResponse, error) {
	err := guard(func() error {
		in, err := s.instances.acquire(ctx, request.GetSettings(), request.GetSecrets())
		if err != nil {
			return err
		}
		defer s.instances.release(in)
		cleaner, ok := in.plugin.(Cleaner)
		if !ok {
			return nil
		}
		return cleaner.Cleanup(ctx, Remains{request})
	})
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "clean up after attempt %s: %v", request.GetAttemptId(), err)
	}
	return &pluginpb.CleanupResponse{}, nil
}

// guard turns a panic of the author's code into an error.
func guard(f func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = &Error{Class: Internal, Message: fmt.Sprintf("panic: %v", cause), Detail: string(debug.Stack())}
		}
	}()
	return f()
}
