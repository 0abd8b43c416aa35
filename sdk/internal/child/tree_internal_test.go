package child

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"slices"
	"testing"
	"testing/iotest"
)

// Both ways to find the tree must find the same one; kernels without lists of
// children are rare enough that no other test would notice.
func TestBothWaysToListChildrenAgree(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sleep 60 & (sleep 60 & wait) & echo up; wait")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	lists, scan := &tree{}, &tree{scan: true}
	defer func() {
		lists.walk(pid, func(pid int) {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Kill()
			}
		}, nil)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatal(err)
	}

	// The subshell may still be about to start its sleep.
	var byList, byScan []int
	for len(byList) < 3 {
		byList = all(lists, pid)
	}
	byScan = all(scan, pid)
	if !slices.Equal(byList, byScan) {
		t.Errorf("by scan = %v, want %v as by lists", byScan, byList)
	}
}

func all(t *tree, pid int) (pids []int) {
	t.begin()
	t.walk(pid, func(pid int) { pids = append(pids, pid) }, nil)
	slices.Sort(pids)
	return pids
}

func TestPlanSurvivesTheWire(t *testing.T) {
	for name, want := range map[string]plan{
		"all":              {Path: "/bin/x", Dir: "/tmp", Limits: Limits{OpenFiles: 64, CPU: 3e9, CoreBytes: 7}, Args: []string{"x", "", "b c"}, Env: []string{"A=1", ""}},
		"no environment":   {Path: "/bin/x", Args: []string{"x"}},
		"empty arguments":  {Path: "/bin/x", Args: []string{"", ""}},
		"empty everything": {Args: []string{""}, Env: []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			message, err := want.encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := readPlan(iotest.OneByteReader(bytes.NewReader(message)))
			if err != nil {
				t.Fatal(err)
			}
			if got.Path != want.Path || got.Dir != want.Dir || got.Limits != want.Limits ||
				!slices.Equal(got.Args, want.Args) || !slices.Equal(got.Env, want.Env) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}
