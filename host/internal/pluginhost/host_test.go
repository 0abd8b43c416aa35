package pluginhost_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// fixture is the folders of a host under test.
type fixture struct {
	plugins, data string
	look          time.Duration          // between looks at the folder; 0: as Hurry has it
	change        func(*pluginhost.Host) // before Start; nil: none
}

func newFixture(t testing.TB) fixture {
	t.Helper()
	root, err := os.MkdirTemp("", "ph") // short: t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	f := fixture{plugins: filepath.Join(root, "p"), data: filepath.Join(root, "d")}
	if err := os.Mkdir(f.plugins, 0o755); err != nil {
		t.Fatal(err)
	}
	return f
}

// start runs a host until the end of the test.
func (f fixture) start(t testing.TB, change ...func(*pluginhost.Config)) *pluginhost.Host {
	t.Helper()
	h, _ := f.startStoppable(t, change...)
	return h
}

func (f fixture) startStoppable(t testing.TB, change ...func(*pluginhost.Config)) (h *pluginhost.Host, stop func()) {
	t.Helper()
	config := pluginhost.Config{
		Directory: f.plugins, DataDir: f.data, StartTimeout: 20 * time.Second, StartWait: 30 * time.Second,
		Log: hclog.New(&hclog.LoggerOptions{Output: t.Output(), Level: hclog.Debug}),
	}
	for _, c := range change {
		c(&config)
	}
	h, err := pluginhost.New(config)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	h.Hurry()
	if f.look > 0 {
		h.Look(f.look)
	}
	if f.change != nil {
		f.change(h)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatalf("Start: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.Serve(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		h.Conclude()
		if left, _ := os.ReadDir(filepath.Join(f.data, "run")); len(left) > 0 {
			t.Errorf("%d folders of processes are left", len(left))
		}
	})
	return h, stop
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// sink writes down what it is told.
type sink struct {
	mu    sync.Mutex
	lines []string
	begun chan struct{}                                // closed at Started
	saved chan struct{}                                // closed at Checkpoint
	keep  func(ctx context.Context, data []byte) error // instead
}

func newSink() *sink { return &sink{begun: make(chan struct{}), saved: make(chan struct{})} }

func (s *sink) add(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

// said returns what it was told so far.
func (s *sink) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

func (s *sink) Started(time.Time) { s.add("started"); close(s.begun) }

func (s *sink) Progress(done, total float64, _ string) { s.add("progress %v/%v", done, total) }

func (s *sink) Output(o job.Output) { s.add("output %s %s %s", o.Kind, o.Key, o.Value) }

func (s *sink) Usage(unit string, amount float64) { s.add("usage %s %v", unit, amount) }

func (s *sink) Truncated(stream job.Stream, offset int64) { s.add("truncated %s %d", stream, offset) }

func (s *sink) Checkpoint(ctx context.Context, format int32, data []byte) error {
	s.add("checkpoint %d %s", format, data)
	if s.keep != nil {
		return s.keep(ctx, data)
	}
	close(s.saved)
	return nil
}

func request(plugin, id, do string) pluginhost.Request {
	input, _ := json.Marshal(map[string]string{"do": do})
	return pluginhost.Request{Plugin: plugin, AttemptID: id, Attempt: 1, User: "ann", Settings: json.RawMessage("{}"), Input: input}
}

// run performs one attempt that nobody stops.
func run(t testing.TB, h *pluginhost.Host, plugin, id, do string) (*pluginhost.Ended, []string) {
	t.Helper()
	s := newSink()
	ended := settle(h.Run(t.Context(), request(plugin, id, do), s))
	return ended, s.lines
}

// settle says that an end is durable, as every end is in the end.
func settle(e *pluginhost.Ended) *pluginhost.Ended {
	e.Ack()
	return e
}

func inline(t testing.TB, e *pluginhost.Ended) string {
	t.Helper()
	if e.Error != nil {
		t.Fatalf("Error = %+v, want none", e.Error)
	}
	if e.Result == nil {
		t.Fatal("Result = nil, want one")
	}
	return string(e.Result.Inline)
}

func TestRunReportsWhatHappens(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)

	ended, lines := run(t, h, "good", "a1", "events")
	if got := inline(t, ended); got != "done" {
		t.Errorf("result = %q, want done", got)
	}
	if len(ended.Build) != 64 || ended.PluginVersion != "1.0.0" {
		t.Errorf("Build = %q, PluginVersion = %q, want a digest and 1.0.0", ended.Build, ended.PluginVersion)
	}
	want := []string{
		"started", "progress 0/5", "progress 1/5", "progress 2/5", "progress 3/5", "progress 4/5",
		"output link page http://x", "usage rows 7", "truncated stderr 9",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("the sink got %q, want %q", lines, want)
	}
	if _, again := run(t, h, "good", "a2", "broken stream"); !slices.Equal(again, want) {
		t.Errorf("across a broken stream the sink got %q, want %q", again, want)
	}
}

func TestRunEnds(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)

	ended, _ := run(t, h, "good", "a1", "fail")
	if e := ended.Error; e == nil || e.Class != job.WorkFailed || e.Message != "exit status 3" || e.ExitCode == nil || *e.ExitCode != 3 {
		t.Errorf("Error = %+v, want class failed with exit code 3", e)
	}
	ended, _ = run(t, h, "good", "a2", "refuse")
	if e := ended.Error; e == nil || e.Class != job.Invalid || !e.RetrySafe || !strings.Contains(e.Message, "this will not do") {
		t.Errorf("Error = %+v, want class invalid, retry safe, with the plugin's words", e)
	}
	ended, _ = run(t, h, "nosuch", "a3", "hello")
	if e := ended.Error; e == nil || e.Class != job.Unavailable || !e.RetrySafe {
		t.Errorf("Error = %+v, want class unavailable, retry safe", e)
	}
	ended, _ = run(t, h, "good", "a4", "checkpoint")
	if got := inline(t, ended); got != "saved" {
		t.Errorf("result = %q, want saved", got)
	}
}

func TestRunStartsAgainWhenTheStartIsLost(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)
	ended, _ := run(t, h, "good", "a1", "miss")
	if got := inline(t, ended); got != "Hello, ann!" {
		t.Errorf("result = %q, want a greeting", got)
	}
}

// A host without a right says all the same that it lives.
func TestRenewWithoutARight(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, good)
	h := f.start(t)
	h.Renew(7, 0)
	ended, _ := run(t, h, "good", "a1", "state")
	if got := inline(t, ended); !strings.HasPrefix(got, "epoch 7,") {
		t.Errorf("the plugin knows %q, want the host's epoch", got)
	}
}

func TestAckLetsThePluginForget(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)
	h.Renew(7, time.Minute)
	for i := range 300 { // more than one batch
		ended, _ := run(t, h, "good", fmt.Sprintf("a%d", i), "hello")
		inline(t, ended)
	}
	n := 0
	eventually(t, "no attempt is known", func() bool {
		n++
		self := fmt.Sprintf("s%d", n)
		ended, _ := run(t, h, "good", self, "state")
		state := inline(t, ended)
		return strings.HasPrefix(state, "epoch 7,") && !strings.Contains(state, " a")
	})
}

func TestManyAttemptsAtOnce(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)
	var wait sync.WaitGroup
	for i := range 64 {
		wait.Go(func() {
			for j := range 5 {
				ended, _ := run(t, h, "good", fmt.Sprintf("a%d-%d", i, j), "events")
				if ended.Error != nil {
					t.Errorf("attempt %d-%d: %+v", i, j, ended.Error)
				}
			}
		})
	}
	wait.Wait()
	if got := h.Plugins()[0].Running; got != 0 {
		t.Errorf("Running = %d, want 0", got)
	}
}

func TestMaxConcurrency(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-one", "HEIMDALL_TEST_LIMIT=1")
	h := f.start(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	first := newSink()
	done := make(chan *pluginhost.Ended)
	go func() { done <- settle(h.Run(ctx, request("one", "a1", "wait"), first)) }()
	<-first.begun
	if err := h.Available("one", ""); err != nil {
		t.Errorf("Available = %v while the plugin is full, want nil: attempts wait for their turn", err)
	}
	go func() { cancel(&pluginhost.Stop{Reason: pluginhost.StopUser, Message: "by ann", Grace: time.Second}) }()
	ended, _ := run(t, h, "one", "a2", "hello") // waits for the first
	inline(t, ended)
	if e := (<-done).Error; e == nil || e.Message != "by ann" {
		t.Errorf("Error = %+v, want that of a cancel by ann", e)
	}
}

// A crash ends what ran, and nothing that comes after: attempts wait until the
// plugin is back.
func TestAttemptsWaitForARestart(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)
	for i := range 5 {
		ended, _ := run(t, h, "good", fmt.Sprintf("crash-%d", i), "kill")
		if ended.Error == nil || ended.Error.Class != job.Lost {
			t.Fatalf("Error = %+v, want lost", ended.Error)
		}
		ended, _ = run(t, h, "good", fmt.Sprintf("next-%d", i), "hello")
		inline(t, ended)
	}
}

// A file of the plugin that cannot be used is no reason to wait no more for one
// that can.
func TestAttemptsWaitForARestartBesideABrokenFile(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	for _, broken := range []string{"heimdall-plugin-good_v0.1.0", "heimdall-plugin-good_v9.0.0"} {
		if err := os.WriteFile(filepath.Join(f.plugins, broken), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h := f.start(t)
	for i := range 3 {
		ended, _ := run(t, h, "good", fmt.Sprintf("crash-%d", i), "kill")
		if ended.Error == nil || ended.Error.Class != job.Lost {
			t.Fatalf("Error = %+v, want lost", ended.Error)
		}
		ended, _ = run(t, h, "good", fmt.Sprintf("next-%d", i), "hello")
		inline(t, ended)
	}
	if err := h.Available("good", "^7.0"); err == nil || !strings.Contains(err.Error(), "only [1.0.0]") {
		t.Errorf("Available(^7.0) = %v, want an error that names what runs", err)
	}
}

// What waits for its turn in a process that crashes was never begun there: the
// next process has it.
func TestAttemptsThatWaitForTheirTurnOutliveACrash(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-one", "HEIMDALL_TEST_LIMIT=1")
	h := f.start(t)
	first := newSink()
	done := make(chan *pluginhost.Ended)
	go func() { done <- settle(h.Run(t.Context(), request("one", "a1", "wait"), first)) }()
	<-first.begun
	var waiting, began sync.WaitGroup
	for i := range 8 {
		began.Add(1)
		waiting.Go(func() {
			began.Done()
			ended := h.Run(t.Context(), request("one", fmt.Sprint("b", i), "hello"), newSink())
			if ended.Error != nil {
				t.Errorf("Error = %+v, want none", ended.Error)
			}
			ended.Ack()
		})
	}
	began.Wait()
	syscall.Kill(h.Plugins()[0].PID, syscall.SIGKILL)
	if e := (<-done).Error; e == nil || e.Class != job.Lost {
		t.Errorf("Error = %+v, want class lost", e)
	}
	waiting.Wait()
}

// Whoever cannot go on after Start leaves no process behind.
func TestCloseInsteadOfServe(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h, err := pluginhost.New(pluginhost.Config{Directory: f.plugins, DataDir: f.data})
	if err != nil {
		t.Fatal(err)
	}
	h.Close() // nothing was started
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Close()
	h.Close()
	if left, err := os.ReadDir(filepath.Join(f.data, "run")); err != nil || len(left) > 0 {
		t.Errorf("%d folders of processes are left, %v", len(left), err)
	}
}

func TestSettingsOfThePluginItself(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	settings := func(plugin string) (json.RawMessage, map[string][]byte, error) {
		return json.RawMessage(`{"url":"http://x"}`), map[string][]byte{"/password": []byte("secret of " + plugin)}, nil
	}
	h := f.start(t, func(c *pluginhost.Config) { c.Settings = settings })
	ended, _ := run(t, h, "good", "a1", "settings")
	if got, want := inline(t, ended), `{"url":"http://x"} /password=secret of good`; got != want {
		t.Errorf("settings = %q, want %q", got, want)
	}
}

func TestSettingsThatCannotBe(t *testing.T) {
	for name, settings := range map[string]pluginhost.Settings{
		"refused by the plugin": func(string) (json.RawMessage, map[string][]byte, error) {
			return json.RawMessage(`{"refuse":true}`), nil, nil
		},
		"not resolved": func(string) (json.RawMessage, map[string][]byte, error) {
			return nil, nil, errors.New("${NOWHERE} is not set")
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			writePlugin(t, f.plugins, "heimdall-plugin-good")
			h := f.start(t, func(c *pluginhost.Config) { c.Settings = settings })
			if err := h.Available("good", ""); err == nil || !strings.Contains(err.Error(), "settings") {
				t.Errorf("Available = %v, want an error about the settings", err)
			}
		})
	}
}

func TestResultFile(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "r.csv"), []byte("a,b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	for path, ok := range map[string]bool{"r.csv": true, "link": false, "../r.csv": false, "/etc/passwd": false, "none": false, ".": false} {
		r := request("good", "file "+path, "")
		r.Input, _ = json.Marshal(map[string]string{"do": "file", "path": path})
		r.Folders.Result = folder
		ended := settle(h.Run(t.Context(), r, newSink()))
		if ok && (ended.Error != nil || ended.Result.Bytes != 3) {
			t.Errorf("%s: got %+v and error %v, want the file", path, ended.Result, ended.Error)
		}
		if !ok && (ended.Error == nil || ended.Error.Class != job.Internal) {
			t.Errorf("%s: got %+v and error %v, want an error of class internal", path, ended.Result, ended.Error)
		}
	}
}

func TestPluginSeesACleanEnvironment(t *testing.T) {
	t.Setenv("HEIMDALL_CANARY", "secret")
	t.Setenv("HTTP_PROXY_FOR_TEST", "http://proxy")
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t, func(c *pluginhost.Config) { c.Environment = []string{"HTTP_PROXY_FOR_TEST"} })
	ended, _ := run(t, h, "good", "a1", "environment")
	text := inline(t, ended)
	if strings.Contains(text, "CANARY") {
		t.Errorf("the plugin sees a variable of the host:\n%s", text)
	}
	if !strings.Contains(text, "HTTP_PROXY_FOR_TEST=http://proxy") || !strings.Contains(text, "PATH=") {
		t.Errorf("the plugin lacks a variable that is allowed:\n%s", text)
	}
	if want := "stdin /dev/null has 0 bytes, <nil>"; !strings.HasPrefix(text, want) {
		t.Errorf("got %q, want %q", text[:min(len(text), 60)], want)
	}
}

func TestVersionsSideBySide(t *testing.T) {
	f := newFixture(t)
	writePlugin(t, f.plugins, "heimdall-plugin-x_v1.2.0", "HEIMDALL_TEST_VERSION=1.2.0")
	writePlugin(t, f.plugins, "heimdall-plugin-x_v1.10.0", "HEIMDALL_TEST_VERSION=1.10.0")
	writePlugin(t, f.plugins, "heimdall-plugin-x", "HEIMDALL_TEST_VERSION=2.0.0-rc.1")
	h := f.start(t)
	for constraint, want := range map[string]string{"": "2.0.0-rc.1", "^1.2": "1.10.0", "~1.2": "1.2.0", "1.2.0": "1.2.0"} {
		r := request("x", "a"+constraint, "hello")
		r.PluginVersion = constraint
		if ended := settle(h.Run(t.Context(), r, newSink())); ended.PluginVersion != want {
			t.Errorf("version %q: ran on %s (%v), want %s", constraint, ended.PluginVersion, ended.Error, want)
		}
	}
	if err := h.Available("x", "^3.0"); err == nil || !strings.Contains(err.Error(), "^3.0") {
		t.Errorf("Available(^3.0) = %v, want an error that names it", err)
	}
}

func TestLongDataDir(t *testing.T) {
	short, err := os.MkdirTemp("/tmp", "x")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	t.Setenv("XDG_RUNTIME_DIR", short) // for those who may not write to /run
	f := newFixture(t)
	f.data = filepath.Join(f.data, strings.Repeat("long/", 40))
	writePlugin(t, f.plugins, "heimdall-plugin-good")
	h := f.start(t)
	ended, _ := run(t, h, "good", "a1", "hello")
	inline(t, ended)
}
