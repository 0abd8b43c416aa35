package sdk

import (
	"context"
	"log/slog"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// pluginService serves what every kind of plugin serves.
type pluginService struct {
	pluginpb.UnimplementedPluginServiceServer
	*Server
}

// Describe implements pluginpb.PluginServiceServer.
func (s *pluginService) Describe(_ context.Context, request *pluginpb.DescribeRequest) (*pluginpb.DescribeResponse, error) {
	s.lease.touch()
	s.forgetful.Store(!slices.Contains(request.GetFeatures(), featureCheckpoints))
	return s.description, nil
}

// Configure implements pluginpb.PluginServiceServer.
func (s *pluginService) Configure(_ context.Context, request *pluginpb.ConfigureRequest) (_ *pluginpb.ConfigureResponse, err error) {
	s.lease.touch()
	s.configMu.Lock()
	defer s.configMu.Unlock()
	if request.GetGeneration() < s.generation {
		return &pluginpb.ConfigureResponse{}, nil
	}

	err = guard(func() error { return s.configure(request.GetSettings(), request.GetSecrets()) })
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "settings of plugin %s: %v", s.description.GetName(), err)
	}
	s.generation = request.GetGeneration()
	return &pluginpb.ConfigureResponse{}, nil
}

// Renew implements pluginpb.PluginServiceServer.
func (s *pluginService) Renew(_ context.Context, request *pluginpb.RenewRequest) (*pluginpb.RenewResponse, error) {
	if known, ok := s.lease.renew(request.GetHostEpoch(), request.GetValidFor().AsDuration()); !ok {
		return nil, status.Errorf(codes.FailedPrecondition, "host epoch %d is older than %d, which is in force", request.GetHostEpoch(), known)
	}
	return &pluginpb.RenewResponse{}, nil
}

// List implements pluginpb.PluginServiceServer.
func (s *pluginService) List(context.Context, *pluginpb.ListRequest) (*pluginpb.ListResponse, error) {
	s.lease.touch()
	response := &pluginpb.ListResponse{HostEpoch: s.lease.hostEpoch()}
	for _, a := range s.list() {
		info := &pluginpb.AttemptInfo{
			AttemptId: a.id,
			State:     pluginpb.AttemptState_ATTEMPT_STATE_RUNNING,
			JobId:     a.request.GetJob().GetId(),
		}
		ended, last := a.log.state()
		info.LastEvent = last
		if ended {
			info.State = pluginpb.AttemptState_ATTEMPT_STATE_ENDED
		}
		response.Attempts = append(response.Attempts, info)
	}
	return response, nil
}

// Drain implements pluginpb.PluginServiceServer.
func (s *pluginService) Drain(request *pluginpb.DrainRequest, stream grpc.ServerStreamingServer[pluginpb.DrainResponse]) error {
	s.drain()
	slog.New(s.log).Info("plugin drains", "reason", request.GetReason())

	var told []string
	for first := true; ; first = false {
		running, changed := s.active()
		if first || !slices.Equal(running, told) {
			if err := stream.Send(&pluginpb.DrainResponse{Running: running}); err != nil {
				return err
			}
			told = running
		}
		if len(running) == 0 {
			return nil
		}

		select {
		case <-changed:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}
