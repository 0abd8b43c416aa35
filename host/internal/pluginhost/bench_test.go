package pluginhost_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// BenchmarkRun is a whole attempt, to be held against BenchmarkUnary. The plugin
// is another process, and costs CPU of its own.
func BenchmarkRun(b *testing.B) {
	f := newFixture(b)
	binary := os.Getenv("HEIMDALL_BENCH_PLUGIN") // e.g. bin/plugins/heimdall-plugin-ping
	name := "good"
	if binary == "" {
		writePlugin(b, f.plugins, "heimdall-plugin-good")
	} else {
		name = "ping"
		if err := os.Symlink(binary, filepath.Join(f.plugins, "heimdall-plugin-ping")); err != nil {
			b.Fatal(err)
		}
	}
	h := f.start(b)
	var n atomic.Int64
	for _, callers := range []int{1, 32} { // per CPU
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			b.SetParallelism(callers)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					ended := h.Run(context.Background(), request(name, fmt.Sprint(n.Add(1)), "hello"), newSink())
					if ended.Error != nil {
						b.Error(ended.Error)
					}
					ended.Ack()
				}
			})
		})
	}
}

// BenchmarkUnary is a bare unary call on a unix socket.
func BenchmarkUnary(b *testing.B) {
	socket := filepath.Join(newFixture(b).plugins, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	pluginpb.RegisterPluginServiceServer(server, &fake{})
	go server.Serve(listener)
	defer server.Stop()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	client := pluginpb.NewPluginServiceClient(conn)
	for _, callers := range []int{1, 32} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			b.SetParallelism(callers)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := client.Renew(context.Background(), &pluginpb.RenewRequest{}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

var _ pluginhost.Sink = (*sink)(nil)
