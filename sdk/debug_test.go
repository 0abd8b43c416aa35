package sdk_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// text is written by a process and read by a test.
type text struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *text) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *text) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// TestServeForADebugger starts a plugin as a person does, and runs a job on it at
// the socket that it tells.
func TestServeForADebugger(t *testing.T) {
	t.Parallel()

	cmd := exec.Command(os.Args[0], "--debug")
	cmd.Env = append(os.Environ(), "SDK_TEST_PLUGIN=1m", "TMPDIR="+t.TempDir())
	var stderr text
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: cmd}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var socket string
	eventually(t, "it tells its socket", func() bool {
		if m := regexp.MustCompile(`plugin run --attach (\S+)`).FindStringSubmatch(stderr.String()); m != nil {
			socket = m[1]
		}
		return socket != ""
	})
	info, err := os.Stat(filepath.Dir(socket))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder of the socket: %v, %v, want that nobody else may enter", info.Mode(), err)
	}

	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	h := &host{t: t, PluginServiceClient: pluginpb.NewPluginServiceClient(conn), CommandServiceClient: pluginpb.NewCommandServiceClient(conn)}
	if err := h.start(h.request("a")).end(); err != nil {
		t.Errorf("ended with %v, want no error", err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := p.wait(t); err != nil {
		t.Errorf("after Ctrl-C: %v, want exit status 0", err)
	}
	if _, err := os.Stat(filepath.Dir(socket)); err == nil {
		t.Error("the folder of the socket is left")
	}
}
