package pluginhost_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/sdk/handshake"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// BenchmarkRun is a whole attempt, to be held against BenchmarkUnary: both
// serve from another process and say the CPU time of the two together. The
// plugin is a fake unless HEIMDALL_BENCH_PLUGIN is the path of ping.
func BenchmarkRun(b *testing.B) {
	f := newFixture(b)
	name := "good"
	if binary := os.Getenv("HEIMDALL_BENCH_PLUGIN"); binary != "" {
		name = "ping"
		if err := os.Symlink(binary, filepath.Join(f.plugins, "heimdall-plugin-ping")); err != nil {
			b.Fatal(err)
		}
	} else {
		writePlugin(b, f.plugins, "heimdall-plugin-good")
	}
	h := f.start(b)
	var n atomic.Int64
	measure(b, h.Plugins()[0].PID, func() error {
		ended := h.Run(context.Background(), request(name, strconv.FormatInt(n.Add(1), 10), "hello"), ignore{})
		ended.Ack()
		if ended.Error != nil {
			return ended.Error
		}
		return nil
	})
}

// ignore is a sink that costs nothing.
type ignore struct{}

func (ignore) Started(time.Time)                               {}
func (ignore) Progress(_, _ float64, _ string)                 {}
func (ignore) Output(job.Output)                               {}
func (ignore) Usage(string, float64)                           {}
func (ignore) Checkpoint(context.Context, int32, []byte) error { return nil }
func (ignore) Truncated(job.Stream, int64)                     {}

// BenchmarkUnary is a bare unary call on a unix socket.
func BenchmarkUnary(b *testing.B) {
	socket := filepath.Join(newFixture(b).plugins, "s")
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	server := exec.Command(self)
	server.Env = append(os.Environ(), "HEIMDALL_TEST_ROLE=bare", "HEIMDALL_TEST_SOCKET="+socket)
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	defer server.Wait()
	defer server.Process.Kill()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	client := pluginpb.NewPluginServiceClient(conn)
	if _, err := client.Renew(context.Background(), &pluginpb.RenewRequest{}, grpc.WaitForReady(true)); err != nil {
		b.Fatal(err)
	}
	measure(b, server.Process.Pid, func() error {
		_, err := client.Renew(context.Background(), &pluginpb.RenewRequest{})
		return err
	})
}

// serveBare serves nothing but calls that answer at once.
func serveBare() {
	listener, err := net.Listen("unix", os.Getenv("HEIMDALL_TEST_SOCKET"))
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer()
	pluginpb.RegisterPluginServiceServer(server, &fake{})
	_ = server.Serve(listener)
}

func measure(b *testing.B, pid int, call func() error) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			b.ReportAllocs()
			times := make([]time.Duration, b.N)
			var next atomic.Int64
			before := cpu(b, pid)
			b.ResetTimer()
			var wait sync.WaitGroup
			for range callers {
				wait.Go(func() {
					for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
						begun := time.Now()
						if err := call(); err != nil {
							b.Error(err)
						}
						times[i] = time.Since(begun)
					}
				})
			}
			wait.Wait()
			b.StopTimer()
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/1e3, "p50-µs")
			b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds())/1e3, "p99-µs")
			b.ReportMetric(float64((cpu(b, pid)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// cpu returns the CPU time of this process and another one.
func cpu(b *testing.B, other int) time.Duration {
	var sum time.Duration
	for _, pid := range []int{os.Getpid(), other} {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			b.Fatal(err)
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		for _, field := range fields[11:13] { // utime and stime, in ticks of 10 ms
			ticks, err := strconv.Atoi(field)
			if err != nil {
				b.Fatal(err)
			}
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return sum
}

// BenchmarkProcess is an attempt with a process of its own, beside the same with
// nothing but go-plugin: start, one call, Kill. HEIMDALL_BENCH_PLUGIN is the path
// of ping; without it both run the fake.
func BenchmarkProcess(b *testing.B) {
	f := newFixture(b)
	name, binary := "good", os.Getenv("HEIMDALL_BENCH_PLUGIN")
	if binary != "" {
		name = "ping"
		if err := os.Symlink(binary, filepath.Join(f.plugins, "heimdall-plugin-ping")); err != nil {
			b.Fatal(err)
		}
	} else {
		writePlugin(b, f.plugins, "heimdall-plugin-good")
		binary = filepath.Join(f.plugins, "heimdall-plugin-good")
	}
	b.Run("go-plugin", func(b *testing.B) {
		for b.Loop() {
			client := plugin.NewClient(&plugin.ClientConfig{
				HandshakeConfig:  handshake.Config,
				VersionedPlugins: map[int]plugin.PluginSet{handshake.ProtocolVersion: handshake.Set(nil)},
				AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
				Cmd:              exec.Command(binary),
				Logger:           hclog.NewNullLogger(),
			})
			protocol, err := client.Client()
			if err != nil {
				b.Fatal(err)
			}
			conn := protocol.(*plugin.GRPCClient).Conn
			if _, err := pluginpb.NewPluginServiceClient(conn).Describe(b.Context(), &pluginpb.DescribeRequest{}); err != nil {
				b.Fatal(err)
			}
			client.Kill()
		}
	})
	b.Run("per job", func(b *testing.B) {
		h := f.start(b, func(c *pluginhost.Config) {
			c.Policies = map[string]pluginhost.Policy{name: {Isolation: pluginhost.PerJob}}
			c.Log = nil
		})
		n := 0
		for b.Loop() {
			n++
			ended := h.Run(context.Background(), request(name, strconv.Itoa(n), "hello"), ignore{})
			ended.Ack()
			if ended.Error != nil {
				b.Fatal(ended.Error)
			}
		}
	})
}
