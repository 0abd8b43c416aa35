package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// leavesNothing checks that no process of a story lives whose hosts have ended, and
// ends those that do: hosts run plugins from copies in their data folders.
func leavesNothing(t testing.TB, scratch string) {
	t.Helper()
	var left []string
	err := until("the end of the story's processes", func() bool {
		left = processesBelow(scratch)
		return len(left) == 0
	})
	if err == nil {
		return
	}
	t.Errorf("%v: %s", err, strings.Join(left, ", "))
	for _, process := range left {
		pid, _, _ := strings.Cut(process, " ")
		if n, err := strconv.Atoi(pid); err == nil {
			_ = unix.Kill(n, unix.SIGKILL)
		}
	}
}

// processesBelow returns the numbers of the processes whose program lies below a
// folder, each with the path of that.
func processesBelow(folder string) (found []string) {
	programs, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range programs {
		// That of a process which has just ended, or is another user's, cannot be read.
		path, err := os.Readlink(link)
		if err == nil && strings.HasPrefix(path, folder+"/") {
			found = append(found, fmt.Sprintf("%s %s", filepath.Base(filepath.Dir(link)), path))
		}
	}
	return found
}
