package sdk_test

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

type greeter struct{}

func (*greeter) Run(_ context.Context, job *sdk.Job[sdk.None]) error {
	return job.Text("Hello, " + job.User + "!")
}

// BenchmarkStart measures a whole quick job over a unix socket beside a bare
// unary call over the same. Both sides run in this process.
func BenchmarkStart(b *testing.B) {
	plugin, err := sdk.New("greeter", func() *greeter { return &greeter{} })
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer(plugin.GRPCOptions()...)
	plugin.Register(server)
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	path := filepath.Join(b.TempDir(), "socket")
	listener, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()

	b.Run("unary", func(b *testing.B) {
		client := grpc_health_v1.NewHealthClient(conn)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := client.Check(b.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("job", func(b *testing.B) {
		client := pluginpb.NewCommandServiceClient(conn)
		b.ReportAllocs()
		for b.Loop() {
			startAndAck(b, client)
		}
	})
}

var attempts atomic.Int64

func startAndAck(b *testing.B, client pluginpb.CommandServiceClient) {
	id := strconv.FormatInt(attempts.Add(1), 10)
	stream, err := client.Start(b.Context(), &pluginpb.StartRequest{
		AttemptId: id,
		Settings:  []byte("{}"),
		Input:     []byte("{}"),
		Job:       &pluginpb.JobInfo{Id: "00000000-0000-4000-8000-000000000001", Name: "ping"},
		User:      &pluginpb.User{Name: "alice"},
	})
	if err != nil {
		b.Fatal(err)
	}
	for {
		if _, err := stream.Recv(); err == io.EOF {
			break
		} else if err != nil {
			b.Fatal(err)
		}
	}
	if n := attempts.Load(); n%256 == 0 {
		ack := &pluginpb.AckRequest{}
		for i := n - 255; i <= n; i++ {
			ack.Attempts = append(ack.Attempts, &pluginpb.AckedAttempt{AttemptId: strconv.FormatInt(i, 10), Event: 3})
		}
		if _, err := client.Ack(b.Context(), ack); err != nil {
			b.Fatal(err)
		}
	}
}
