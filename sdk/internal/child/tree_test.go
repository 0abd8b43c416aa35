package child_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/sdk/internal/child"
)

// escape is a program whose descendants do all they can to get away. Each writes
// a line when it is out.
const escape = `
deaf='trap "" TERM HUP INT; echo up >>"$0"; while :; do sleep 300 & wait $!; done'
sh -c "$deaf" "$MARK" &
setsid env -i PATH="$PATH" sh -c "$deaf" "$MARK" &
(setsid sh -c '(setsid env -i PATH=/usr/bin:/bin sh -c "$1" "$0" &) ; exit 0' "$MARK" "$deaf" &) 
(nohup setsid sh -c "$deaf" "$MARK" </dev/null >/dev/null 2>&1 &)
while [ "$(wc -l <"$MARK")" -lt 4 ]; do sleep 0.01; done
`

// marked prepares an escaping program, whose processes can be told by a file
// that they all have in their command line.
func marked(t *testing.T, script string) (cmd *child.Cmd, mark string) {
	t.Helper()
	mark = filepath.Join(t.TempDir(), "mark-of-the-tree")
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd = child.New("sh", "-c", script, mark)
	cmd.Env = append(os.Environ(), "MARK="+mark)
	t.Cleanup(func() {
		cmd.Kill()
		_ = cmd.Wait() // an error says that the test did it
	})
	return cmd, mark
}

// running lists the living processes with a text in their command line.
func running(t testing.TB, text string) (found []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		line, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err == nil && strings.Contains(string(line), text) {
			found = append(found, entry.Name()+": "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// childrenOf lists the children of a process, zombies too.
func childrenOf(t testing.TB, parent int) (found []string) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, stat := range stats {
		line, err := os.ReadFile(stat)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(line[strings.LastIndexByte(string(line), ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			found = append(found, strings.TrimSpace(string(line[:strings.LastIndexByte(string(line), ')')+1])))
		}
	}
	return found
}

// eventually waits for what other processes do.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20s: %s", what)
		}
	}
}

func lines(t testing.TB, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
}

func TestKillTakesTheWholeTree(t *testing.T) {
	t.Parallel()
	cmd, mark := marked(t, escape+"\ntrap '' TERM; echo up >>\"$MARK\"; while :; do sleep 300; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "five processes are up", func() bool { return lines(t, mark) == 5 })
	if len(running(t, mark)) < 5 {
		t.Fatalf("running = %v, want five", running(t, mark))
	}
	cmd.Terminate() // all of them are deaf
	start := time.Now()
	cmd.Kill()
	err := cmd.Wait()
	took := time.Since(start)
	var exit *child.ExitError
	if !errors.As(err, &exit) || exit.Signal != syscall.SIGKILL {
		t.Errorf("Wait = %v, want the signal %v", err, syscall.SIGKILL)
	}
	if left := running(t, mark); len(left) > 0 {
		t.Errorf("left = %v, want none", left)
	}
	t.Logf("killed in %v", took)
}

func TestWhatAProgramLeavesIsKilled(t *testing.T) {
	t.Parallel()
	cmd, mark := marked(t, escape+"\nexit 6")
	var exit *child.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.Code != 6 {
		t.Errorf("Run = %v, want exit status 6", err)
	}
	if got := lines(t, mark); got != 4 {
		t.Errorf("%d processes were up, want 4", got)
	}
	if left := running(t, mark); len(left) > 0 {
		t.Errorf("left = %v, want none", left)
	}
}

func TestTerminateReachesEveryProcess(t *testing.T) {
	t.Parallel()
	cmd, mark := marked(t, `
polite='trap "echo bye >>\"$0\"; exit 0" TERM; echo up >>"$0"; while :; do sleep 300 & wait $!; done'
setsid env -i PATH="$PATH" sh -c "$polite" "$MARK" &
(setsid sh -c "$polite" "$MARK" &)
trap 'while [ "$(wc -l <"$0")" -lt 5 ]; do sleep 0.01; done; echo bye >>"$0"; exit 0' TERM
echo up >>"$0"
while :; do sleep 300 & wait $!; done`)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three processes are up", func() bool { return lines(t, mark) == 3 })
	cmd.Terminate()
	if err := cmd.Wait(); err != nil {
		t.Errorf("Wait = %v, want nil", err)
	}
	if got := lines(t, mark); got != 6 {
		t.Errorf("%d lines, want 6: three times up and three times bye", got)
	}
	if left := running(t, mark); len(left) > 0 {
		t.Errorf("left = %v, want none", left)
	}
}

func TestTreeThatForksWithoutEndIsKilled(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"each child starts the next and exits": `echo up >>"$0"; exec setsid sh -c 'setsid sh -c "$1" "$0" "$1" & exit' "$0" 'setsid sh -c "$1" "$0" "$1" & exit'`,
		"a crowd that renews itself":           `echo up >>"$0"; for i in 1 2 3 4 5 6 7 8; do sh -c 'while :; do (sh -c : "$0" & sh -c : "$0" & wait); done' "$0" & done; wait`,
		"stopped processes":                    `echo up >>"$0"; sh -c 'kill -STOP $$' "$0" & sh -c 'kill -STOP $$' "$0" & kill -STOP $$`,
	} {
		t.Run(name, func(t *testing.T) {
			cmd, mark := marked(t, script)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is up", func() bool { return lines(t, mark) > 0 })
			cmd.Kill()
			_ = cmd.Wait()
			if left := running(t, mark); len(left) > 0 {
				t.Errorf("left = %v, want none", left)
			}
		})
	}
}

// TestMain is also the program that starts a tree and is killed.
func TestMain(m *testing.M) {
	if mark := os.Getenv("CHILD_TEST_PARENT"); mark != "" {
		cmd := child.New("sh", "-c", escape+"\nwhile :; do sleep 300; done", mark)
		cmd.Env = append(os.Environ(), "MARK="+mark)
		fmt.Println(cmd.Start())
		fmt.Println(cmd.Wait())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestDeathOfTheParentKillsTheTree(t *testing.T) {
	t.Parallel()
	_, mark := marked(t, "")
	parent := exec.Command("/proc/self/exe")
	parent.Env = append(os.Environ(), "CHILD_TEST_PARENT="+mark)
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line != "<nil>\n" {
		t.Errorf("Start = %q (%v), want <nil>", line, err)
	}
	eventually(t, "the tree is up", func() bool { return lines(t, mark) == 4 })
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	eventually(t, "the tree is gone", func() bool { return len(running(t, mark)) == 0 })
}

func TestDeathOfTheSupervisorKillsTheProgram(t *testing.T) {
	t.Parallel()
	cmd, mark := marked(t, `read started; kill -KILL $PPID; while :; do :; done`)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdin = r
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	err = cmd.Wait()
	if err == nil || !strings.Contains(err.Error(), "supervisor was killed") {
		t.Errorf("Wait = %v, want one about the supervisor", err)
	}
	eventually(t, "the program is gone", func() bool { return len(running(t, mark)) == 0 })
}

func TestSupervisorIgnoresSignalsMeantForTheProgram(t *testing.T) {
	t.Parallel()
	cmd, mark := marked(t, `trap 'echo caught >>"$0"; exit 9' TERM; echo up >>"$0"; kill -TERM $PPID; kill -INT $PPID; kill -HUP $PPID; kill -TERM $$`)
	var exit *child.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.Code != 9 {
		t.Errorf("Run = %v, want exit status 9", err)
	}
	if got := lines(t, mark); got != 2 {
		t.Errorf("%d lines, want 2", got)
	}
}

func TestOutputHeldOutsideDoesNotHang(t *testing.T) {
	t.Parallel()
	// A process outside the tree opens the program's stdout through /proc.
	hold := exec.Command("sh", "-c", `read pid; exec 3>/proc/$pid/fd/1; echo held; read end`)
	in, err := hold.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := hold.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	defer hold.Wait()
	defer in.Close()

	var stdout strings.Builder
	cmd := child.New("sh", "-c", "echo before; read x")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdin, cmd.Stdout = r, &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(in, cmd.Pid())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("holder said %q (%v)", line, err)
	}
	w.Close()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Wait hangs")
	}
	if got := stdout.String(); got != "before\n" {
		t.Errorf("stdout = %q, want %q", got, "before\n")
	}
}

// A program that stops its supervisor does not escape it.
func TestStoppedSupervisorObeys(t *testing.T) {
	t.Parallel()

	// The first may come before the start is reported, the second does not.
	cmd := sh("kill -STOP $PPID; sleep 0.5; kill -STOP $PPID; sleep 300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	supervisor := parentOf(t, cmd.Pid())
	for deadline := time.Now().Add(10 * time.Second); !stopped(t, supervisor); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the program did not stop its supervisor")
		}
	}
	cmd.Kill()
	if err := cmd.Wait(); err == nil {
		t.Error("Wait = nil, want an error of the kill")
	}
	if err := syscall.Kill(supervisor, 0); err == nil {
		t.Errorf("supervisor %d is still there", supervisor)
	}
}

// stat returns the fields of /proc/<pid>/stat behind the name.
func stat(t *testing.T, pid int) []string {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
}

func stopped(t *testing.T, pid int) bool { return stat(t, pid)[0] == "T" }

func parentOf(t *testing.T, pid int) int {
	t.Helper()
	parent, err := strconv.Atoi(stat(t, pid)[1])
	if err != nil {
		t.Fatal(err)
	}
	return parent
}
