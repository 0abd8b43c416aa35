package pluginhost_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// go-plugin believes that a process lives as long as anybody holds its stdout or
// stderr open.
func TestACrashIsNoticedWhileSomebodyHoldsTheStreams(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	s := newSink()
	done := make(chan *pluginhost.Ended, 1)
	go func() { done <- settle(h.Run(t.Context(), request("good", "a1", "holds the streams"), s)) }()
	<-s.begun
	killed := time.Now()
	if err := syscall.Kill(h.Plugins()[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := (<-done).Error; e == nil || e.Class != job.Lost {
		t.Errorf("Error = %+v, want class lost", e)
	}
	if took := time.Since(killed); took > 3*time.Second {
		t.Errorf("the crash was noticed after %v", took)
	}
	ended, _ := run(t, h, "good", "a2", "hello")
	inline(t, ended)
}

// go-plugin kills two seconds after it has asked, whatever is left to do.
func TestWhatStopsInGoodTimeIsNotKilled(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	s := newSink()
	done := make(chan *pluginhost.Ended, 1)
	go func() { done <- settle(h.Run(ctx, request("good", "a1", "slow to stop"), s)) }()
	<-s.begun
	pid := h.Plugins()[0].PID
	cancel(&pluginhost.Stop{Reason: pluginhost.StopUser, Message: "by ann", Grace: 20 * time.Second})
	if e := (<-done).Error; e == nil || e.Message != "all is tidy" {
		t.Errorf("Error = %+v, want what the plugin says after its cleanup", e)
	}
	if got := h.Plugins()[0].PID; got != pid {
		t.Errorf("PID = %d, want %d", got, pid)
	}
}

// go-plugin looks once a second, and by the number only, whether a process that
// it has not started itself still lives.
func TestACrashIsNoticedAtOnceAfterARestartOfTheHost(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	pid, file := killedHost(t, f)
	h := f.start(t)
	if got := h.Recall("good", "a1"); got != pluginhost.Known {
		t.Fatalf("Recall = %v, want known", got)
	}
	s := newSink()
	done := make(chan *pluginhost.Ended, 1)
	go func() { done <- settle(h.Follow(t.Context(), until("a1", file), s)) }()
	<-s.begun
	killed := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := (<-done).Error; e == nil || e.Class != job.Lost {
		t.Errorf("Error = %+v, want class lost", e)
	}
	if took := time.Since(killed); took > 900*time.Millisecond {
		t.Errorf("the crash was noticed after %v, want it at once", took)
	}
}

// go-plugin gives a plugin pipes: one that logs after the death of its host dies
// of the first line, and what others log after that is never read again.
func TestAPluginThatLogsOutlivesItsHost(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, good, "HEIMDALL_TEST_CHATTY=1")
	pid, file := killedHost(t, f)
	written := func() int64 { return allocated(t, filepath.Join(f.data, "run", "*", "stderr")) }
	before := written()
	eventually(t, "it has logged a page without a host", func() bool { return written() > before })
	if !alive(pid) {
		t.Fatal("the plugin has died of its log")
	}
	var log record
	h := f.start(t, func(c *pluginhost.Config) {
		c.Log = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Debug})
	})
	h.Recall("good", "a1")
	for _, stream := range []string{"stdout", "stderr"} {
		eventually(t, "its "+stream+" is in the log of the next host", func() bool { return log.has("chatty on " + stream) })
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	inline(t, settle(h.Follow(t.Context(), until("a1", file), newSink())))
	if got := h.Plugins()[0].PID; got != pid {
		t.Errorf("PID = %d, want %d", got, pid)
	}
}

// record is a log that is kept.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) has(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Contains(r.text.String(), text)
}

// go-plugin makes os.Stdout and os.Stderr of a plugin pipes into a stream of
// gRPC: who prints hangs when no host reads it.
func TestAPluginThatPrintsIsNotHeldUp(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ended := settle(h.Run(ctx, request("good", "a1", "prints"), newSink()))
	if got := inline(t, ended); got != "printed" {
		t.Errorf("result = %q", got)
	}
}

// go-plugin puts sockets into the plugin's temporary folder, where they stay when
// it is killed, are swept away when they are old, and may be too long a path.
func TestSocketsLieInAPrivateFolderAndGoWithTheirProcess(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.Mkdir(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	t.Setenv("TMPDIR", elsewhere)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	pid := h.Plugins()[0].PID
	folder := socketFolder(t, pid)
	info, err := os.Stat(folder)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 || !strings.HasPrefix(folder, f.data) {
		t.Errorf("sockets lie in %s with mode %v, want it below %s and private", folder, info.Mode(), f.data)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the folder of the socket has gone", func() bool {
		_, err := os.Stat(folder)
		return err != nil
	})
	filepath.WalkDir(elsewhere, func(path string, entry fs.DirEntry, _ error) error {
		if entry.Type()&fs.ModeSocket != 0 {
			t.Errorf("a socket lies at %s", path)
		}
		return nil
	})
}

// certificate returns a valid one as go-plugin writes it into handshakes. A host
// that has not asked for it dies of it in go-plugin.
func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawStdEncoding.EncodeToString(raw)
}

// servePlain is a plugin that has never heard of go-plugin: no controller, no
// standard streams, no health, no broker.
func servePlain() {
	socket := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "plugin0")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	f := &fake{attempts: map[string]*fakeAttempt{}}
	server := grpc.NewServer()
	pluginpb.RegisterPluginServiceServer(server, f)
	pluginpb.RegisterCommandServiceServer(server, f)
	fmt.Printf("1|1|unix|%s|grpc\n", socket)
	_ = server.Serve(listener)
}

// go-plugin waits for what only its own plugins have, and then kills.
func TestAPluginWithoutGoPlugin(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	writePlugin(t, f.plugins, good, "HEIMDALL_TEST_ROLE=plain")
	h, stop := f.startStoppable(t)
	ended, _ := run(t, h, "good", "a1", "events")
	if got := inline(t, ended); got != "done" {
		t.Errorf("result = %q", got)
	}
	pid := h.Plugins()[0].PID
	begun := time.Now()
	stop()
	if took := time.Since(begun); took > 1500*time.Millisecond || alive(pid) {
		t.Errorf("after %v: alive = %t, want it ended at once", took, alive(pid))
	}
}

// What go-plugin is asked for is to shake hands. Each thing that stands here as
// missing is one that its users have come to grief with; see docs/go-plugin.md.
func TestGoPluginOnlyShakesHands(t *testing.T) {
	const client = "plugin.ClientConfig{"
	given := map[string]string{} // to the client, as written
	calls := map[string]bool{}   // of methods of the client
	names := map[string]bool{}   // that are used of the package
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, source, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		text := func(n ast.Node) string { return string(content[n.Pos()-1 : n.End()-1]) }
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if n.Type != nil && text(n.Type)+"{" == client {
					for _, element := range n.Elts {
						pair := element.(*ast.KeyValueExpr)
						given[text(pair.Key)] = text(pair.Value)
					}
				}
			case *ast.SelectorExpr:
				switch of := text(n.X); {
				case of == "plugin":
					names[n.Sel.Name] = true
				case strings.HasSuffix(of, ".client"):
					calls[n.Sel.Name] = true
				}
			}
			return true
		})
	}
	keys := []string{
		"HandshakeConfig", "VersionedPlugins", "AllowedProtocols", "UnixSocketConfig", "RunnerFunc",
		"SkipHostEnv", "StartTimeout", "Logger",
	}
	for key, value := range given {
		if !slices.Contains(keys, key) {
			t.Errorf("the client is given %s: %s", key, value)
		}
	}
	for key, want := range map[string]string{
		"SkipHostEnv":      "true",
		"AllowedProtocols": "[]plugin.Protocol{plugin.ProtocolGRPC}",
		"Logger":           "hclog.NewNullLogger()",
	} {
		if got := given[key]; got != want {
			t.Errorf("the client is given %s: %s, want %s", key, got, want)
		}
	}
	for call := range calls {
		if call != "Start" {
			t.Errorf("%s of the client is called, want nothing but Start", call)
		}
	}
	allowed := []string{
		"Client", "ClientConfig", "CoreProtocolVersion", "EnvUnixSocketDir", "NewClient", "PluginSet", "Protocol",
		"ProtocolGRPC", "UnixSocketConfig",
	}
	for name := range names {
		if !slices.Contains(allowed, name) {
			t.Errorf("plugin.%s is used", name)
		}
	}
	connection, err := os.ReadFile("connection.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(connection, []byte("grpc.WithIdleTimeout(0)")) {
		t.Error("connections may become idle, and dialing again needs the socket's file")
	}
}

// The list of pitfalls names tests that exist.
func TestPitfallsHaveTheirTests(t *testing.T) {
	list, err := os.ReadFile("../../../docs/go-plugin.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, root := range []string{"../..", "../../../sdk"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			for _, match := range function.FindAllSubmatch(content, -1) {
				declared[string(match[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	row, name := regexp.MustCompile(`(?m)^\| (\d+) \|.*$`), regexp.MustCompile("`(Test\\w+)`")
	rows := row.FindAllSubmatch(list, -1)
	for i, match := range rows {
		if string(match[1]) != fmt.Sprint(i+1) {
			t.Errorf("row %d has the number %s", i+1, match[1])
		}
		tests := name.FindAllSubmatch(match[0], -1)
		if len(tests) == 0 {
			t.Errorf("pitfall %s names no test", match[1])
		}
		for _, test := range tests {
			if !declared[string(test[1])] {
				t.Errorf("pitfall %s names %s, which is no test", match[1], test[1])
			}
		}
	}
	if len(rows) != 27 {
		t.Errorf("%d pitfalls are listed, want 27", len(rows))
	}
}
