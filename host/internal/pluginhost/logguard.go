package pluginhost

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/folder"
	"golang.org/x/sys/unix"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// logTrim is the time between looks at an attempt that has written too much.
const logTrim = 50 * time.Millisecond

// guardLogs stops the attempt by abort when one of its streams grows beyond its
// most, and cuts the stream off there until the attempt is over: what programs
// write passes neither host nor sdk, and they may not stop at once. So a stream
// has at most that and what can be written between two looks.
// The function that it returns ends the guard.
func (x *execution) guardLogs(folder string, most int64, abort func(*Stop)) (end func()) {
	if most <= 0 || folder == "" {
		return func() {}
	}
	over := make(chan struct{})
	var guard sync.WaitGroup
	guard.Add(1)
	timer := time.AfterFunc(x.process.times.logs, func() { // most attempts are over by then
		defer guard.Done()
		tick := time.NewTicker(x.process.times.logs)
		defer tick.Stop()
		for {
			for _, stream := range []job.Stream{job.Stdout, job.Stderr} {
				if cutOff(folder, string(stream), most) {
					abort(&Stop{Reason: StopLimit, Message: fmt.Sprintf("the job wrote more than %d bytes to %s", most, stream)})
					tick.Reset(logTrim)
				}
			}
			select {
			case <-tick.C:
			case <-over:
				return
			}
		}
	})
	return func() {
		if !timer.Stop() {
			close(over)
			guard.Wait()
		}
	}
}

// cutOff shortens a log to its limit, and reports whether it was longer.
func cutOff(logs, name string, most int64) bool {
	info, err := os.Lstat(filepath.Join(logs, name))
	if err != nil || !info.Mode().IsRegular() || info.Size() <= most {
		return false
	}
	// What is cut is the open file, which the plugin cannot exchange for another,
	// and only if it has no second name: it might be no log at all.
	root, err := folder.Open(logs)
	if err != nil {
		return true
	}
	defer root.Close()
	file, err := root.OpenFile(name, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return true
	}
	defer file.Close()
	info, err = file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() <= most {
		return true
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink == 1 {
		_ = file.Truncate(most) // the attempt is stopped in any case
	}
	return true
}
