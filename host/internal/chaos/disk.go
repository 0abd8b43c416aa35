package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// diskBytes is the size of a disk that is to be filled: room for the plugin, the
// database and the jobs' files.
const diskBytes = 192 << 20

// disk is where a host has its data, and which can be full: a small file system
// where this program may mount one; else the kernel lets no file of the host grow.
type disk struct {
	host  *host
	small bool
}

func newDisk(h *host) (*disk, error) {
	err := unix.Mount("heimdall-chaos", h.folder, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("size=%d,mode=711", diskBytes))
	if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return nil, fmt.Errorf("mount a small disk at %s: %w", h.folder, err)
	}
	return &disk{host: h, small: err == nil}, nil
}

// how says by what means the disk is filled.
func (d *disk) how() string {
	if d.small {
		return "a small file system"
	}
	return "a limit of file sizes"
}

// fill leaves no room; free makes some again.
func (d *disk) fill() error {
	if !d.small {
		return d.limit(0)
	}
	file, err := os.Create(d.filler())
	if err != nil {
		return err
	}
	defer file.Close()
	for size := 1 << 20; size > 0; {
		n, err := file.Write(make([]byte, size))
		switch {
		case errors.Is(err, unix.ENOSPC) && n == 0:
			size /= 4 // to the last byte
		case err != nil && !errors.Is(err, unix.ENOSPC):
			return err
		}
	}
	return nil
}

func (d *disk) free() error {
	if !d.small {
		return d.limit(unix.RLIM_INFINITY)
	}
	return os.Remove(d.filler())
}

func (d *disk) filler() string { return filepath.Join(d.host.folder, "filler") }

// limit bounds the files of the host and its plugins. They inherit the bound, so
// those that were started meanwhile are told of another one as well.
func (d *disk) limit(bytes uint64) error {
	pids, err := pluginsOf(d.host.folder)
	if err != nil {
		return err
	}
	d.host.mu.Lock()
	pids = append(pids, d.host.process.Pid)
	d.host.mu.Unlock()
	slices.Sort(pids)
	for _, pid := range pids {
		var bound unix.Rlimit
		err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, nil, &bound)
		bound.Cur = min(bytes, bound.Max)
		if err == nil {
			err = unix.Prlimit(pid, unix.RLIMIT_FSIZE, &bound, nil)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("bound the files of process %d: %w", pid, err)
		}
	}
	return nil
}

// close takes the file system away.
func (d *disk) close() error {
	if !d.small {
		return nil
	}
	// What was killed just now may hold it for a moment.
	for deadline := time.Now().Add(stopTime); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Unmount(d.host.folder, 0)
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("unmount %s: %w", d.host.folder, err), unix.Unmount(d.host.folder, unix.MNT_DETACH))
		}
	}
}
