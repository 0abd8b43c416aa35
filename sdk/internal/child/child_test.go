package child_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/sdk/internal/child"
)

func sh(script string) *child.Cmd { return child.New("sh", "-c", script) }

func TestEndOfTheProgram(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		script string
		want   error
	}{
		"exits with 0":                  {"exit 0", nil},
		"exits with 3":                  {"exit 3", &child.ExitError{Code: 3}},
		"exits with 255":                {"exit 255", &child.ExitError{Code: 255}},
		"is ended by a signal":          {"kill -TERM $$", &child.ExitError{Code: -1, Signal: syscall.SIGTERM}},
		"is ended by SIGKILL":           {"kill -KILL $$", &child.ExitError{Code: -1, Signal: syscall.SIGKILL}},
		"signals its own process group": {"trap 'exit 4' USR1; kill -USR1 0; exit 5", &child.ExitError{Code: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := sh(test.script).Run()
			if !reflect.DeepEqual(err, test.want) {
				t.Errorf("Run = %v, want %v", err, test.want)
			}
		})
	}
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := write("plain", "#!/bin/sh\n", 0o600)
	lost := write("lost", "#!/no/such/interpreter\n", 0o700)
	garbage := write("garbage", "neither\x00this nor that", 0o700)

	for name, test := range map[string]struct {
		cmd  *child.Cmd
		is   error
		want string
	}{
		"a name that PATH does not have":   {child.New("no-such-program"), fs.ErrNotExist, "no such program in PATH"},
		"a path that does not exist":       {child.New("/no/such/program"), fs.ErrNotExist, "does not exist"},
		"a file that may not be executed":  {child.New(plain), fs.ErrPermission, "may not be executed"},
		"such a file found in PATH":        {&child.Cmd{Path: "plain", Env: []string{"PATH=" + dir}}, fs.ErrPermission, "may not be executed"},
		"a folder":                         {child.New(dir), fs.ErrPermission, "may not be executed"},
		"a script without its interpreter": {child.New(lost), fs.ErrNotExist, "interpreter"},
		"a file that is no program":        {child.New(garbage), syscall.ENOEXEC, "#! line"},
		"a folder that does not exist":     {&child.Cmd{Path: "/bin/true", Dir: "/no/such/folder"}, fs.ErrNotExist, "enter the folder /no/such/folder"},
		"a NUL in an argument":             {child.New("/bin/true", "a\x00b"), nil, "NUL"},
		"no name":                          {child.New(""), nil, "no program is named"},
		"a relative folder in PATH":        {&child.Cmd{Path: "plain", Dir: dir, Env: []string{"PATH=."}}, fs.ErrNotExist, "no such program"},
		"too much environment":             {&child.Cmd{Path: "/bin/true", Env: []string{"A=" + strings.Repeat("x", 4<<20)}}, syscall.E2BIG, "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := test.cmd.Start()
			if err == nil {
				t.Fatal("Start = nil, want an error")
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("Start = %v, want one that is %v", err, test.is)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("Start = %v, want %q in it", err, test.want)
			}
			if err := test.cmd.Wait(); err == nil {
				t.Error("Wait after a start that did not work = nil, want an error")
			}
			test.cmd.Kill()
		})
	}
}

func TestProgramGetsWhatWasSet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var stdout, stderr bytes.Buffer
	cmd := child.New("sh", "-c", `pwd; echo "$@"; tr "\0" "\n" </proc/$$/environ; cat; echo oops >&2`, "sh", "a b", "", "ü")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "COLOR=red", "EMPTY=", "COLOR=blue"}
	cmd.Stdin = strings.NewReader("from stdin\n")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{dir + "\n", "a b  ü\n", "COLOR=blue\n", "EMPTY=\n", "from stdin\n"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("stdout = %q, want %q in it", stdout.String(), want)
		}
	}
	if strings.Contains(stdout.String(), "COLOR=red") {
		t.Errorf("stdout = %q, want only the last COLOR", stdout.String())
	}
	if strings.Contains(stdout.String(), "HEIMDALL") || strings.Contains(stdout.String(), "GOMAXPROCS") {
		t.Errorf("stdout = %q, want nothing of the supervisor in the environment", stdout.String())
	}
	if got := stderr.String(); got != "oops\n" {
		t.Errorf("stderr = %q, want %q", got, "oops\n")
	}
}

func TestProgramHasDefaultSignalsAndThreeFiles(t *testing.T) {
	t.Parallel()
	var stdout bytes.Buffer
	cmd := sh("awk '/SigIgn/ {print $2}' /proc/self/status; ls /proc/$$/fd")
	cmd.Stdout = &stdout
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}

	ignored, files, _ := strings.Cut(stdout.String(), "\n")
	mask, err := strconv.ParseUint(ignored, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	// Only signals 1 to 31: Go resets no others, and GNU make ignores two of
	// those in all that it starts. What this process was told to ignore, as by
	// nohup, its programs ignore as well.
	const some = 1<<31 - 1
	if mask &= some &^ ignoredHere(t); mask != 0 {
		t.Errorf("ignored signals = %031b, want none", mask)
	}
	if want := "0\n1\n2\n"; files != want {
		t.Errorf("open files = %q, want %q", files, want)
	}
}

// ignoredHere returns the signals that this process ignores.
func ignoredHere(t *testing.T) uint64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "SigIgn:")
	line, _, _ := strings.Cut(rest, "\n")
	mask, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return mask
}

// filed is a writer whose file children write to themselves.
type filed struct {
	file  *os.File
	calls int
}

func (f *filed) File() (*os.File, error) { f.calls++; return f.file, nil }
func (f *filed) Write([]byte) (int, error) {
	return 0, errors.New("the file was to be used")
}

func TestHugeOutputGoesStraightToAFile(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := sh("head -c 200000000 /dev/zero; printf end >&2")
	out := &filed{file: f}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Size(), int64(200_000_003); got != want {
		t.Errorf("size = %d, want %d", got, want)
	}
	if out.calls != 1 {
		t.Errorf("File was called %d times, want 1", out.calls)
	}
}

func TestPipesCopyEverything(t *testing.T) {
	t.Parallel()
	input := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var stdout bytes.Buffer
	cmd := child.New("cat")
	cmd.Stdin, cmd.Stdout = bytes.NewReader(input), &stdout
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(stdout.Bytes(), input) {
		t.Errorf("cat gave back %d bytes, want the same %d", stdout.Len(), len(input))
	}
}

func TestUnreadInputIsNoError(t *testing.T) {
	t.Parallel()
	cmd := child.New("true")
	cmd.Stdin = bytes.NewReader(make([]byte, 10<<20))
	if err := cmd.Run(); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestWaitDoesNotHangOnInputThatBlocks(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	cmd := child.New("true")
	cmd.Stdin = struct{ io.Reader }{r} // hides that it is a file
	if err := cmd.Run(); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

// failing fails after the first write.
type failing struct{ writes int }

func (f *failing) Write(p []byte) (int, error) {
	if f.writes++; f.writes > 1 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestWriterThatFailsDoesNotBlockTheProgram(t *testing.T) {
	t.Parallel()
	cmd := sh("trap '' PIPE; head -c 10000000 /dev/zero 2>/dev/null; exit 0")
	cmd.Stdout = &failing{}
	err := cmd.Run()
	if err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("Run = %v, want the error of the writer", err)
	}
}

func TestUsageAndLimits(t *testing.T) {
	t.Parallel()
	var stdout bytes.Buffer
	cmd := sh("ulimit -n; ulimit -t; ulimit -c; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
	cmd.Stdout = &stdout
	cmd.Limits = child.Limits{OpenFiles: 77, CPU: 1500 * time.Millisecond}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if got, want := stdout.String(), "77\n2\n0\n"; got != want {
		t.Errorf("limits = %q, want %q", got, want)
	}
	usage := cmd.Usage()
	if usage.User+usage.System < time.Millisecond || usage.MaxRSS < 100<<10 {
		t.Errorf("usage = %+v, want more", usage)
	}
}

func TestProcessorTimeIsLimited(t *testing.T) {
	t.Parallel()
	cmd := sh("while :; do :; done")
	cmd.Limits.CPU = time.Second
	var exit *child.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.Signal != syscall.SIGXCPU {
		t.Errorf("Run = %v, want the signal %v", err, syscall.SIGXCPU)
	}
}

func TestStopBeforeStart(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*child.Cmd){
		"Terminate": (*child.Cmd).Terminate,
		"Kill":      (*child.Cmd).Kill,
	} {
		cmd := child.New("true")
		stop(cmd)
		if err := cmd.Start(); !errors.Is(err, child.ErrStopped) {
			t.Errorf("Start after %s = %v, want %v", name, err, child.ErrStopped)
		}
	}
}

// stuck is an output whose file takes its time.
type stuck struct {
	asked, release chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) { return len(p), nil }

func (s *stuck) File() (*os.File, error) {
	close(s.asked)
	<-s.release
	return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
}

// A start that hangs, on a dead disk say, must not hold those who want it
// stopped.
func TestStopDuringStart(t *testing.T) {
	t.Parallel()
	out := &stuck{make(chan struct{}), make(chan struct{})}
	cmd := child.New("sleep", "60")
	cmd.Stdout = out
	ended := make(chan error, 1)
	go func() { ended <- cmd.Run() }()
	<-out.asked
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		cmd.Terminate()
		cmd.Kill()
		if pid := cmd.Pid(); pid != 0 {
			t.Errorf("Pid = %d before the start, want 0", pid)
		}
	}()
	select {
	case <-stopped:
	case <-time.After(10 * time.Second):
		t.Error("Kill waits for the start")
	}
	close(out.release)
	var exit *child.ExitError
	if err := <-ended; !errors.As(err, &exit) || exit.Signal != syscall.SIGKILL {
		t.Errorf("Run = %v, want the signal %v", err, syscall.SIGKILL)
	}
}

func TestStopAtAnyTime(t *testing.T) {
	t.Parallel()
	cmd := child.New("sleep", "60")
	var stoppers sync.WaitGroup
	for range 4 {
		stoppers.Go(func() { cmd.Terminate(); cmd.Kill(); cmd.Kill() })
	}
	err := cmd.Run()
	stoppers.Wait()
	var exit *child.ExitError
	if !errors.Is(err, child.ErrStopped) && !errors.As(err, &exit) {
		t.Errorf("Run = %v, want a signal or %v", err, child.ErrStopped)
	}
	cmd.Terminate()
	cmd.Kill()
	if err := cmd.Start(); err == nil {
		t.Error("second Start = nil, want an error")
	}
}

func TestManyAtOnceLeaveNothingOpen(t *testing.T) {
	before := openFiles(t)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			var stdout bytes.Buffer
			cmd := sh(fmt.Sprintf("cat; exit %d", i))
			cmd.Stdin, cmd.Stdout = strings.NewReader(fmt.Sprint(i)), &stdout
			err := cmd.Run()
			var exit *child.ExitError
			if i > 0 && (!errors.As(err, &exit) || exit.Code != i) || i == 0 && err != nil {
				t.Errorf("Run = %v, want exit status %d", err, i)
			}
			if got := stdout.String(); got != fmt.Sprint(i) {
				t.Errorf("stdout = %q, want %q", got, fmt.Sprint(i))
			}
		})
	}
	all.Wait()
	if err := child.New("/no/such").Run(); err == nil {
		t.Error("Run = nil, want an error")
	}
	if after := openFiles(t); after > before+2 { // the poller's own
		t.Errorf("%d open files after, %d before", after, before)
	}
	if left := childrenOf(t, os.Getpid()); len(left) > 0 {
		t.Errorf("children left = %v, want none", left)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
