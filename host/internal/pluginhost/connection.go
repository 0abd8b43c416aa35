package pluginhost

import (
	"context"
	"net"
	"time"

	"github.com/heimdall-run/heimdall/sdk/handshake"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

// connect makes the connection to a process that has shaken hands. The client
// of go-plugin could, but leaks it when the process ends at that moment, and
// opens streams for a broker that this protocol has no use for.
func (p *process) connect() error {
	conn, err := grpc.NewClient(
		"passthrough:///"+p.name,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(p.dial),
		grpc.WithUnaryInterceptor(p.observe),
		grpc.WithIdleTimeout(0), // never: dialing again needs the socket's file
		grpc.WithConnectParams(grpc.ConnectParams{
			// Without it a machine under load would have the first wait of the
			// backoff to greet in.
			MinConnectTimeout: 10 * time.Second,
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: time.Second},
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(handshake.MaxAnswer), grpc.MaxCallSendMsgSize(handshake.MaxMessage)),
	)
	if err != nil {
		return err
	}
	p.conn = conn
	p.plugins = pluginpb.NewPluginServiceClient(conn)
	p.commands = pluginpb.NewCommandServiceClient(conn)
	p.wait.Go(p.discard)
	return nil
}

func (p *process) dial(ctx context.Context, _ string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", p.child.record.Socket)
	if err != nil {
		return nil, err
	}
	if err := checkPeer(conn, p.child.record.PID); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// discard takes what a plugin writes to os.Stdout and os.Stderr. In a plugin
// made with plain go-plugin these are pipes into this stream, and it blocks
// when nobody reads them. It ends with the connection.
func (p *process) discard() {
	desc := &grpc.StreamDesc{ServerStreams: true}
	stream, err := p.conn.NewStream(context.Background(), desc, "/plugin.GRPCStdio/StreamStdio")
	if err != nil || stream.SendMsg(&emptypb.Empty{}) != nil || stream.CloseSend() != nil {
		return
	}
	for stream.RecvMsg(&emptypb.Empty{}) == nil {
	}
}
