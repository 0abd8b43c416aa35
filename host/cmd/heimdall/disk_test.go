package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// diskSize is room for the plugin, the database and the jobs' files.
const diskSize = 192 << 20

// mounts reports whether a test may make a small disk here; where it may not, the
// kernel lets no file of the host grow.
func mounts() bool {
	folder, err := os.MkdirTemp("", "m")
	if err != nil {
		return false
	}
	defer os.Remove(folder)
	if unix.Mount("heimdall-test", folder, "tmpfs", 0, "size=1m") != nil {
		return false
	}
	return unix.Unmount(folder, unix.MNT_DETACH) == nil
}

// fillDisk serves the command disk. The first one comes before the host.
func fillDisk(ts *testscript.TestScript, _ bool, args []string) {
	folder := ts.Getenv("HEIMDALL_DATA_DIR")
	filler := filepath.Join(folder, "filler")
	switch {
	case args[0] == "small":
		ts.Check(os.MkdirAll(folder, 0o711))
		if mounts() {
			ts.Check(unix.Mount("heimdall-test", folder, "tmpfs", 0, fmt.Sprintf("size=%d,mode=711", diskSize)))
			ts.Defer(func() {
				of(ts).end()
				_ = unix.Unmount(folder, unix.MNT_DETACH) // a plugin that was left may hold it
			})
		}
	case args[0] == "full" && mounts():
		ts.Check(fill(filler))
	case args[0] == "free" && mounts():
		ts.Check(os.Remove(filler))
	case args[0] == "full":
		ts.Check(boundFiles(of(ts).command.Process.Pid, 0))
	case args[0] == "free":
		ts.Check(boundFiles(of(ts).command.Process.Pid, unix.RLIM_INFINITY))
	default:
		ts.Fatalf("usage: disk small|full|free")
	}
}

// fill makes a file that takes the last byte of its disk.
func fill(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	for size := 1 << 20; size > 0; {
		n, err := file.Write(make([]byte, size))
		switch {
		case errors.Is(err, unix.ENOSPC) && n == 0:
			size /= 4
		case err != nil && !errors.Is(err, unix.ENOSPC):
			return err
		}
	}
	return nil
}

// boundFiles bounds the files of a process and of those below it.
func boundFiles(pid int, size uint64) error {
	bound := unix.Rlimit{Cur: size, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &bound, nil); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("bound the files of process %d: %w", pid, err)
	}
	below, err := exec.Command("ps", "-o", "pid=", "--ppid", strconv.Itoa(pid)).Output()
	if _, none := errors.AsType[*exec.ExitError](err); err != nil && !none {
		return err
	}
	for _, child := range strings.Fields(string(below)) {
		n, err := strconv.Atoi(child)
		if err != nil {
			return err
		}
		if err := boundFiles(n, size); err != nil {
			return err
		}
	}
	return nil
}
