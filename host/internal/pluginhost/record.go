package pluginhost

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// recordFile is the name of a record in the folder of its process.
const recordFile = "process.json"

// record is what a later life of the host needs to know of a process. Number
// and start time together name one process of one boot for ever.
type record struct {
	Plugin    string `json:"plugin"`
	Version   string `json:"version,omitempty"` // as the file name said it
	Digest    string `json:"digest"`
	PID       int    `json:"pid"`        // 0 just before the start
	StartTime uint64 `json:"start_time"` // clock ticks after boot
	Boot      string `json:"boot_id"`
	Namespace string `json:"pid_namespace"`
	Folder    string `json:"folder"`            // that this record was written into
	Inode     uint64 `json:"folder_inode"`      // of that folder: a copy has another
	Sockets   string `json:"sockets"`           // the folder of its socket
	Socket    string `json:"socket,omitempty"`  // "" before the handshake
	Attempt   string `json:"attempt,omitempty"` // the only one that it serves; "": it takes any
	Limits    Limits `json:"limits,omitzero"`
	Group     string `json:"group,omitempty"`        // folder of its control group; "": it has none
	Bounded   bool   `json:"group_bounds,omitempty"` // that group bounds its memory
}

// announce writes down that a process is about to start whose files are in a
// folder.
func (r *record) announce(folder string) error {
	var err error
	r.Folder = folder
	if r.Inode, err = inode(folder); err != nil {
		return fmt.Errorf("record a process: %w", err)
	}
	return r.write(folder)
}

// identify completes the record of a process that has not been waited for yet and
// whose files are in a folder.
func (r *record) identify(folder string) error {
	var err error
	r.Folder = folder
	if r.Inode, err = inode(folder); err != nil {
		return fmt.Errorf("record process %d: %w", r.PID, err)
	}
	if r.StartTime, err = startTime(r.PID); err != nil {
		return fmt.Errorf("record process %d: %w", r.PID, err)
	}
	if r.Boot, r.Namespace, err = thisMachine(); err != nil {
		return fmt.Errorf("record process %d: %w", r.PID, err)
	}
	return nil
}

// write puts the record down whole.
func (r *record) write(folder string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("record process %d: %w", r.PID, err)
	}
	path := filepath.Join(folder, recordFile)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return fmt.Errorf("record process %d: %w", r.PID, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("record process %d: %w", r.PID, err)
	}
	return nil
}

// readRecord reads the record in the folder of a process.
func readRecord(folder string) (*record, error) {
	data, err := os.ReadFile(filepath.Join(folder, recordFile))
	if err != nil {
		return nil, err
	}
	r := &record{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("read record in %s: %w", folder, err)
	}
	return r, nil
}

// lives returns a descriptor of the process if it still runs, else -1. The
// caller closes it.
func (r *record) lives() int {
	boot, namespace, err := thisMachine()
	if err != nil || r.PID <= 1 || r.Boot != boot || r.Namespace != namespace {
		return -1
	}
	fd, err := unix.PidfdOpen(r.PID, 0)
	if err != nil {
		return -1
	}
	// Only now, with the process held, its start time proves who it is.
	if started, err := startTime(r.PID); err != nil || started != r.StartTime {
		unix.Close(fd)
		return -1
	}
	return fd
}

// thisMachine returns what tells this boot and this view of processes from any
// other.
func thisMachine() (boot, namespace string, err error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", "", err
	}
	namespace, err = os.Readlink("/proc/self/ns/pid")
	return string(bytes.TrimSpace(id)), namespace, err
}

// startTime returns when a process was started, in clock ticks after boot.
func startTime(pid int) (uint64, error) {
	fields, err := statOf(pid)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// cpuTime returns the processor time that the threads of a process have used.
func cpuTime(pid int) (time.Duration, error) {
	fields, err := statOf(pid)
	if err != nil {
		return 0, err
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * clockTick, err
}

// clockTick is the unit of times in /proc.
const clockTick = 10 * time.Millisecond

// statOf returns the fields of /proc/<pid>/stat from the third on.
func statOf(pid int) ([]string, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil, err
	}
	// Field 2 is the name in parentheses, which may hold anything.
	_, rest, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return nil, fmt.Errorf("/proc/%d/stat makes no sense", pid)
	}
	return fields, nil
}

// copied reports whether the record was not written into this folder but came
// here in a copy of it: its process belongs to the host of the original.
func (r *record) copied(folder string) bool {
	n, err := inode(folder)
	return err != nil || n != r.Inode
}

func inode(folder string) (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Stat(folder, &stat); err != nil {
		return 0, fmt.Errorf("look at folder %s: %w", folder, err)
	}
	return stat.Ino, nil
}
