package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/heimdall-run/heimdall/host/internal/api/apitest"
	"github.com/heimdall-run/heimdall/host/internal/canary"
	"github.com/heimdall-run/heimdall/host/internal/pgtest"
)

// The stories run the shipped binaries as their users do. They add these
// commands to those of testscript:
//
// SCRATCH names a folder outside the story's own that holds the host's data, and
// FAULTY the folder of a plugin that does what jobs tell it to, mostly something
// bad.
//
//	on NAME                 makes another host of the story, with data of its own, the one that the following is about
//	host [flags]            starts the host with the story's heimdall.toml and waits until it is ready
//	! host [flags]          expects that it refuses to start
//	signal NAME             sends TERM, INT, HUP or KILL to the host
//	ended [code]            waits until the host has ended, with exit code 0 or the one given
//	http METHOD PATH [FILE] asks the host as test_user, with the body in FILE; the answer, which is to be as the API describes it, goes to stdout
//	status CODE             checks the status of the last answer
//	eventually COMMAND…     repeats a command until it succeeds
//	gone PIDFILE            waits until the process whose id is in the file is gone
//	disk small|full|free    makes a small disk for the host's data, and fills it
//	store here|away|slow    puts a relay before the database, which lets through, cuts or delays
func TestStories(t *testing.T) {
	t.Parallel()
	run(t, "sqlite", "script", nil)
}

// The same stories hold on PostgreSQL.
func TestStoriesOnPostgres(t *testing.T) {
	t.Parallel()
	run(t, "postgres", "script", nil)
}

// A database on another machine can be away.
func TestStoriesOfAnAbsentStore(t *testing.T) {
	t.Parallel()
	run(t, "postgres", "away", nil)
}

// run runs the stories of a folder on a store. A secret that is found is told, or fails
// the story if tell is nil.
func run(t *testing.T, store, folder string, tell func(error)) {
	bin, err := filepath.Abs("../../../bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"heimdall", "plugins/heimdall-plugin-ping", "plugins/heimdall-plugin-shell"} {
		if _, err := os.Stat(filepath.Join(bin, file)); err != nil {
			t.Fatalf("the stories need the shipped binaries: %v; run make build", err)
		}
	}
	faulty := buildFaulty(t)
	testscript.RunT(stage{t, tell}, testscript.Params{
		Dir: "testdata/" + folder,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			e.Setenv("BIN", bin)
			e.Setenv("FAULTY", faulty)
			e.Setenv("HEIMDALL_USER", "test_user")
			e.Setenv("POSTGRES", os.Getenv(pgtest.Variable))
			// A short path: sockets lie below it, and theirs are bounded.
			scratch, err := os.MkdirTemp("", "h")
			if err != nil {
				return err
			}
			e.Setenv("SCRATCH", scratch)
			e.Setenv("HEIMDALL_DATA_DIR", filepath.Join(scratch, "data"))
			e.Setenv("HEIMDALL_PLUGINS_DIRECTORY", filepath.Join(bin, "plugins"))
			e.Setenv("HEIMDALL_SERVER_LISTEN", "127.0.0.1:0")
			if store == "postgres" {
				e.Setenv("HEIMDALL_STORE_URL", pgtest.URL(e.T().(testing.TB)))
			}
			c := &cast{hosts: map[string]*host{}, at: "data"}
			e.Values[castKey{}] = c
			e.Defer(func() { os.RemoveAll(scratch) })
			if err := os.WriteFile(filepath.Join(scratch, "secret"), []byte(canary.Secret("file")+"\n"), 0o600); err != nil {
				return err
			}
			s := e.T().(stage)
			e.Defer(func() { leavesNothing(s, scratch) })
			e.Defer(func() {
				s.found(searchLeft(c, scratch, e.Getenv("HEIMDALL_STORE_URL"), filepath.Join(e.WorkDir, "host.log")))
			})
			e.Defer(c.end)
			e.Defer(func() { s.found(searchLive(c, scratch)) })
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "postgres", "sqlite":
				return cond == store, nil
			case "mounts":
				return mounts(), nil
			}
			return false, fmt.Errorf("unknown condition %s", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"on":         switchHost,
			"host":       startHost,
			"signal":     signalHost,
			"ended":      waitHost,
			"http":       request,
			"status":     checkStatus,
			"eventually": eventually,
			"gone":       gone,
			"store":      cutStore,
			"disk":       fillDisk,
		},
	})
}

// buildFaulty builds the plugin that is not shipped and returns its folder.
func buildFaulty(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	build := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-o", filepath.Join(folder, "heimdall-plugin-faulty"), ".")
	build.Dir = checkout + "plugins/faulty"
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the plugin faulty: %v\n%s", err, out)
	}
	return folder
}

type castKey struct{}

// cast are the hosts of one story.
type cast struct {
	hosts map[string]*host
	at    string // the name of the one that the story is about now
}

func (c *cast) end() {
	for _, h := range c.hosts {
		h.end()
	}
}

// host is one of them, and the last answer of it.
type host struct {
	command *exec.Cmd
	exited  chan struct{} // closed after the host has ended
	server  string
	answer  int
	relay   *relay // nil: there is none
}

// end stops the host in a hurry: with its plugins, which a killed host leaves
// behind.
func (h *host) end() {
	if h.command == nil {
		return
	}
	for range 100 {
		_ = h.command.Process.Signal(syscall.SIGTERM) // the second one counts
		select {
		case <-h.exited:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
	_ = h.command.Process.Kill()
	<-h.exited
}

// of returns the host that the story is about.
func of(ts *testscript.TestScript) *host {
	c := ts.Value(castKey{}).(*cast)
	if c.hosts[c.at] == nil {
		c.hosts[c.at] = &host{}
	}
	return c.hosts[c.at]
}

func switchHost(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value(castKey{}).(*cast).at = args[0]
	ts.Setenv("HEIMDALL_DATA_DIR", filepath.Join(ts.Getenv("SCRATCH"), args[0]))
	ts.Setenv("HEIMDALL_SERVER", of(ts).server)
}

const patience = 20 * time.Second

// until polls a condition; there is no event to wait for in another process.
func until(what string, condition func() bool) error {
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s did not happen in %v", what, patience)
		}
	}
	return nil
}

func startHost(ts *testscript.TestScript, neg bool, args []string) {
	h := of(ts)
	h.end()
	if _, err := os.Stat(ts.MkAbs("heimdall.toml")); err == nil {
		if !neg {
			ts.Check(addSecrets(ts.MkAbs("heimdall.toml"), filepath.Join(ts.Getenv("SCRATCH"), "secret")))
		}
		args = append([]string{"--config", ts.MkAbs("heimdall.toml")}, args...)
	}
	address := filepath.Join(ts.Getenv("HEIMDALL_DATA_DIR"), "address")
	_ = os.Remove(address)
	log, err := os.OpenFile(ts.MkAbs("host.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	ts.Check(err)
	h.command = exec.Command(filepath.Join(ts.Getenv("BIN"), "heimdall"), append([]string{"server"}, args...)...)
	h.command.Stdout, h.command.Stderr, h.command.Dir = log, log, ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "HEIMDALL_DATA_DIR", "HEIMDALL_PLUGINS_DIRECTORY", "HEIMDALL_SERVER_LISTEN", "HEIMDALL_STORE_URL", "CANARY"} {
		if value := ts.Getenv(name); value != "" {
			h.command.Env = append(h.command.Env, name+"="+value)
		}
	}
	h.command.Env = append(h.command.Env, "CANARY_TOKEN="+canary.Secret("env"))
	ts.Check(h.command.Start())
	exited := make(chan struct{})
	h.exited = exited
	command := h.command
	go func() {
		_ = command.Wait() // the story asks for the exit code
		log.Close()
		close(exited)
	}()
	if neg {
		ts.Check(until("the refusal", h.hasExited))
		if h.command.ProcessState.Success() {
			ts.Fatalf("the host ended well, but was to refuse")
		}
		return
	}
	ts.Check(until("the start", func() bool {
		content, err := os.ReadFile(address)
		if h.hasExited() {
			ts.Fatalf("the host has ended:\n%s", ts.ReadFile("host.log"))
		}
		if err != nil {
			return false
		}
		h.server = strings.TrimSpace(string(content))
		ts.Setenv("HEIMDALL_SERVER", h.server)
		answer, err := http.Get(h.server + "/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	}))
}

func (h *host) hasExited() bool {
	select {
	case <-h.exited:
		return true
	default:
		return false
	}
}

func signalHost(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{
		"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL,
	}
	ts.Check(of(ts).command.Process.Signal(signals[args[0]]))
}

func waitHost(ts *testscript.TestScript, _ bool, args []string) {
	want := 0
	if len(args) == 1 {
		fmt.Sscan(args[0], &want)
	}
	h := of(ts)
	ts.Check(until("the end of the host", h.hasExited))
	if got := h.command.ProcessState.ExitCode(); got != want {
		ts.Fatalf("the host ended with %v, want exit code %d:\n%s", h.command.ProcessState, want, ts.ReadFile("host.log"))
	}
}

// described reads what the API says of itself.
var described = apitest.Shared()

func request(ts *testscript.TestScript, neg bool, args []string) {
	body := ""
	if len(args) > 2 {
		body = ts.ReadFile(args[2])
	}
	r, err := http.NewRequest(args[0], ts.Getenv("HEIMDALL_SERVER")+args[1], strings.NewReader(body))
	ts.Check(err)
	if user := ts.Getenv("HEIMDALL_USER"); user != "" {
		r.Header.Set("X-Pattern-User", user)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded") // as curl -d does
	}
	for _, header := range args[min(len(args), 3):] {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	ts.Check(err)
	description, err := described()
	ts.Check(err)
	ts.Check(description.Check(r, answer.StatusCode, answer.Header, content))
	of(ts).answer = answer.StatusCode
	fmt.Fprintf(ts.Stdout(), "%s\n", bytes.TrimRight(content, "\n"))
	if good := answer.StatusCode < 300; good == neg {
		ts.Fatalf("%s %s: %s: %s", args[0], args[1], answer.Status, content)
	}
}

func checkStatus(ts *testscript.TestScript, _ bool, args []string) {
	if got := fmt.Sprint(of(ts).answer); got != args[0] {
		ts.Fatalf("the answer had status %s, want %s", got, args[0])
	}
}

func eventually(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(until(strings.Join(args, " "), func() bool { return ts.Exec(args[0], args[1:]...) == nil }))
}

func gone(ts *testscript.TestScript, _ bool, args []string) {
	var pid int
	if _, err := fmt.Sscan(ts.ReadFile(args[0]), &pid); err != nil || pid <= 1 {
		ts.Fatalf("%s holds no process id", args[0])
	}
	ts.Check(until("the end of process "+fmt.Sprint(pid), func() bool {
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	}))
}
