package conformance

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/heimdall-run/heimdall/sdk/handshake"
)

// maxLine bounds the handshake. What is longer is none.
const maxLine = 4 << 10

// readLine returns the first line of a file, and whether it is whole.
func readLine(path string) (line string, whole bool) {
	f, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	text := make([]byte, maxLine)
	n, _ := f.Read(text) // no bytes: nothing was written yet
	line, _, whole = strings.Cut(string(text[:n]), "\n")
	return line, whole
}

// parseLine returns the socket that a handshake names.
func parseLine(line string) (socket string, err error) {
	want := fmt.Sprintf("1|%d|unix|PATH|grpc", handshake.ProtocolVersion)
	fields := strings.Split(strings.TrimRight(line, "\r"), "|")
	// More may follow: a certificate, and a mode of multiplexing.
	if len(fields) < 5 || fields[0] != "1" || fields[1] != strconv.Itoa(handshake.ProtocolVersion) || fields[2] != "unix" || fields[4] != "grpc" {
		return "", saw("the first line of stdout is %.200q", line).want("a line of the form %s", want)
	}
	if len(fields) > 5 && fields[5] != "" {
		return "", saw("the handshake names a certificate").want("no TLS: the socket lies in a folder that nobody else may enter")
	}
	return fields[3], nil
}

// dial makes a connection to a plugin. It connects with the first call.
func dial(socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///plugin",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			MinConnectTimeout: 10 * time.Second,
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: time.Second},
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(handshake.MaxMessage), grpc.MaxCallSendMsgSize(handshake.MaxMessage)),
	)
}

// discard takes what plugins made with plain go-plugin send of their streams:
// they block when nobody does. It ends with the connection.
func discard(ctx context.Context, conn *grpc.ClientConn) {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/plugin.GRPCStdio/StreamStdio")
	if err != nil || stream.SendMsg(&emptypb.Empty{}) != nil || stream.CloseSend() != nil {
		return
	}
	for stream.RecvMsg(&emptypb.Empty{}) == nil {
	}
}

// peer returns the process that serves a socket.
func peer(socket string) (pid int, err error) {
	conn, err := net.DialTimeout("unix", socket, 10*time.Second)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var credErr error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); credErr == nil {
			pid = int(cred.Pid)
		}
	})
	if err == nil {
		err = credErr
	}
	return pid, err
}
