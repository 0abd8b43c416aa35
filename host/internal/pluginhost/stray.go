package pluginhost

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
)

// strayRounds bounds how often strays are looked for that fork meanwhile.
const strayRounds = 5

// killStrays kills what a process has left behind that has ended: programs in
// sessions of their own are in no group of it, and those whose parent has gone
// are nobody's children. They are known by the name of the folder of sockets in
// their environment, which no other process has.
func killStrays(sockets string) {
	if sockets == "" {
		return
	}
	mark := []byte("\x00" + plugin.EnvUnixSocketDir + "=" + sockets + "\x00")
	for range strayRounds {
		found := false
		environments, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, path := range environments {
			if strays(path, mark) {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
				found = killStray(pid, path, mark) || found
			}
		}
		if !found {
			return
		}
	}
}

// strays reports whether an environment has the mark. That of another user's
// process cannot be read, and a plugin has no such processes.
func strays(path string, mark []byte) bool {
	environment, err := os.ReadFile(path)
	return err == nil && bytes.Contains(append([]byte{0}, environment...), mark)
}

func killStray(pid int, path string, mark []byte) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	// Only now, with the process held, the number cannot be that of another.
	return strays(path, mark) && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil
}
