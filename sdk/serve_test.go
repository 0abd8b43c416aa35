package sdk_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/handshake"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// TestMain turns the test binary into a plugin when a test starts it as one, and
// says how long that lives without a host.
func TestMain(m *testing.M) {
	if os.Getenv("SDK_TEST_PLUGIN") != "" {
		idle, err := time.ParseDuration(os.Getenv("SDK_TEST_PLUGIN"))
		if err != nil {
			panic(err)
		}
		sdk.Serve("chatty", func() *chatty { return &chatty{} }, sdk.IdleExit(idle))
	}
	os.Setenv("SDK_CANARY", "1") // must not reach programs that jobs run
	os.Exit(m.Run())
}

// chatty prints far more than a pipe holds, and then does what the input says.
type chatty struct{}

type chattyInput struct {
	Wait bool `json:"wait"`
}

func (*chatty) Run(ctx context.Context, job *sdk.Job[chattyInput]) error {
	for range 2000 {
		fmt.Println(strings.Repeat("x", 100))
		fmt.Fprintln(os.Stderr, strings.Repeat("y", 100))
	}
	if err := job.Exec("sh", "-c", "exit 0").Run(); err != nil {
		return err
	}
	job.Log.Info("works", "n", 1)
	if job.Input.Wait {
		job.Output("state", "waiting")
		<-ctx.Done()
		return ctx.Err()
	}
	return job.Text("done")
}

// process is a plugin process as a host runs it: stdout and stderr are files.
type process struct {
	*exec.Cmd
	host   *host
	folder string // of its socket
	stderr string // path
}

func startProcess(t *testing.T) *process { return startIdle(t, time.Minute) }

// startIdle starts one that lives so long without a host.
func startIdle(t *testing.T, idle time.Duration) *process {
	t.Helper()
	dir, sockets := t.TempDir(), t.TempDir()
	stderr, err := os.Create(filepath.Join(dir, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	stdout, err := os.Create(filepath.Join(dir, "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SDK_TEST_PLUGIN="+idle.String(), handshake.Config.MagicCookieKey+"="+handshake.Config.MagicCookieValue,
		"PLUGIN_PROTOCOL_VERSIONS=1", plugin.EnvUnixSocketDir+"="+sockets)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })

	var address string
	eventually(t, "handshake line", func() bool {
		line, _ := os.ReadFile(stdout.Name())
		parts := strings.Split(strings.TrimSpace(string(line)), "|")
		if len(parts) >= 5 && strings.HasSuffix(string(line), "\n") {
			address = parts[3]
		}
		return address != ""
	})
	return &process{Cmd: cmd, host: dial(t, cmd, address), folder: sockets, stderr: stderr.Name()}
}

// dial connects as hosts do, through go-plugin.
func dial(t *testing.T, cmd *exec.Cmd, address string) *host {
	t.Helper()
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake.Config,
		Plugins:          handshake.Set(nil),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Reattach: &plugin.ReattachConfig{
			Protocol:        plugin.ProtocolGRPC,
			ProtocolVersion: handshake.ProtocolVersion,
			Addr:            unixAddr(address),
			Pid:             cmd.Process.Pid,
		},
	})
	protocol, err := client.Client()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := protocol.Dispense(handshake.Name)
	if err != nil {
		t.Fatal(err)
	}
	return &host{
		t:                    t,
		PluginServiceClient:  pluginpb.NewPluginServiceClient(conn.(*grpc.ClientConn)),
		CommandServiceClient: pluginpb.NewCommandServiceClient(conn.(*grpc.ClientConn)),
	}
}

type unixAddr string

func (unixAddr) Network() string  { return "unix" }
func (a unixAddr) String() string { return string(a) }

func (p *process) wait(t *testing.T) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- p.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the process did not end")
		return nil
	}
}

func TestServeSurvivesPrinting(t *testing.T) {
	t.Parallel()

	p := startProcess(t)
	if err := p.host.start(p.host.request("a")).end(); err != nil {
		t.Errorf("ended with %v, want no error", err)
	}
	log, err := os.ReadFile(p.stderr)
	if err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{"stdout": "xxx\n", "stderr": "yyy\n", "log": `"job":"job of a"`} {
		if !strings.Contains(string(log), want) {
			t.Errorf("%s is not in the process's stderr", what)
		}
	}

	if err := p.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := p.host.start(p.host.request("b")).end(); err != nil {
		t.Errorf("after SIGINT: ended with %v, want no error", err)
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.wait(t); err != nil {
		t.Errorf("after SIGTERM: %v, want exit status 0", err)
	}
}

func TestServeEndsJobsAtSIGTERM(t *testing.T) {
	t.Parallel()

	p := startProcess(t)
	request := p.host.request("a")
	request.Input = []byte(`{"wait":true}`)
	s := p.host.start(request)
	s.until(func(e *pluginpb.Event) bool { return e.GetOutput() != nil })
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := s.end().GetMessage(); !strings.Contains(got, "shuts down") {
		t.Errorf("message = %q, want the shutdown", got)
	}
	if err := p.wait(t); err != nil {
		t.Errorf("got %v, want exit status 0", err)
	}
}

// A process whose host does not come back ends by itself, once it has nothing that a
// host could want, or none could find it.
func TestServeEndsWithoutHost(t *testing.T) {
	t.Parallel()

	for name, what := range map[string]func(*process){
		"it holds nothing":   func(*process) {},
		"nobody can find it": func(p *process) { check(t, os.RemoveAll(p.folder)) },
		"its end is acknowledged": func(p *process) {
			_, err := p.host.Ack(t.Context(), &pluginpb.AckRequest{Attempts: []*pluginpb.AckedAttempt{{AttemptId: "a", Event: 100}}})
			check(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			p := startIdle(t, 3*time.Second)
			if name != "it holds nothing" {
				if err := p.host.start(p.host.request("a")).end(); err != nil {
					t.Fatalf("the job ended with %v", err)
				}
			}
			what(p)
			if err := p.wait(t); err != nil {
				t.Errorf("ended with %v, want exit status 0", err)
			}
			if log, _ := os.ReadFile(p.stderr); !strings.Contains(string(log), "no host for a while: plugin ends") {
				t.Errorf("the process does not say why it ended: %.300s", log)
			}
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A server of go-plugin takes four megabytes unless it is told otherwise.
func TestServeTakesLargeRequests(t *testing.T) {
	t.Parallel()

	p := startProcess(t)
	request := p.host.request("a")
	request.Input = append([]byte("{}"), bytes.Repeat([]byte(" "), 16<<20)...)
	if err := p.host.start(request).end(); err != nil {
		t.Errorf("ended with %v, want no error", err)
	}
}

func TestServeByHand(t *testing.T) {
	t.Parallel()

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SDK_TEST_PLUGIN=1m")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "a plugin of Heimdall") {
		t.Errorf("got %q and %v, want a friendly message and exit status 1", out, err)
	}
}
