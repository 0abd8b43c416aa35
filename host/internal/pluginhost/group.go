package pluginhost

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hostGroup is the name of the control group that the service manager puts the
// host itself into, when it is told to keep it apart from the groups of plugins
// (DelegateSubgroup of systemd).
//
// The host never moves itself: a service manager that knows nothing of that puts
// the next life of the host back where this one was started, which the kernel
// refuses once that group bounds the memory of others.
const hostGroup = "heimdall-host"

// groups are the control groups (version 2) that a host makes for its processes.
type groups struct {
	folder string // that they are in; "": none can be made
	memory bool   // they can bound memory
}

// openGroups finds out which groups can be made. An error says why none.
func openGroups(dataDir string) (groups, error) {
	base, err := ownGroup()
	if err != nil {
		return groups{}, err
	}
	if filepath.Base(base) == hostGroup {
		base = filepath.Dir(base)
	}
	var folder unix.Stat_t
	if err := unix.Stat(dataDir, &folder); err != nil {
		return groups{}, fmt.Errorf("look at %s: %w", dataDir, err)
	}
	// In another container the same path is another folder.
	sum := sha256.Sum256(fmt.Append(nil, dataDir, folder.Dev, folder.Ino))
	g := groups{folder: filepath.Join(base, "heimdall-"+hex.EncodeToString(sum[:4]))}
	if err := os.Mkdir(g.folder, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return groups{}, err
	}
	g.memory = delegateMemory(base) && delegateMemory(g.folder)
	return g, nil
}

// ownGroup returns the folder of the group that this process is in.
func ownGroup() (string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	own := ""
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			own = path
		}
	}
	if own == "" || strings.HasPrefix(own, "/..") {
		return "", errors.New("this process is in no control group of version 2 that it can see")
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mounts)) {
		before, after, _ := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if !strings.HasPrefix(after, "cgroup2 ") || len(fields) < 5 {
			continue
		}
		root, place := fields[3], fields[4]
		if below, err := filepath.Rel(root, own); err == nil && !strings.HasPrefix(below, "..") {
			return filepath.Join(place, below), nil
		}
	}
	return "", errors.New("no control groups of version 2 are mounted")
}

// delegateMemory lets the groups below one bound memory, if the kernel allows it.
func delegateMemory(folder string) bool {
	controllers, err := os.ReadFile(filepath.Join(folder, "cgroup.controllers"))
	if err != nil || !bytes.Contains(controllers, []byte("memory")) {
		return false
	}
	return os.WriteFile(filepath.Join(folder, "cgroup.subtree_control"), []byte("+memory"), 0) == nil
}

// sweep removes the groups of an earlier life that no process in use is in, with
// all that runs there.
func (g groups) sweep(used map[string]bool, wait time.Duration) error {
	if g.folder == "" {
		return nil
	}
	entries, err := os.ReadDir(g.folder)
	for _, entry := range entries {
		if path := filepath.Join(g.folder, entry.Name()); entry.IsDir() && !used[path] {
			left := &group{path: path}
			left.kill()
			err = errors.Join(err, left.remove(wait))
		}
	}
	return err
}

// forget removes a group of an earlier life that nothing runs in, and the folder
// of its groups when that was the last.
func (g groups) forget(path string) {
	if path == "" {
		return
	}
	_ = unix.Rmdir(path)
	if folder := filepath.Dir(path); folder != g.folder {
		_ = unix.Rmdir(folder)
	}
}

// close removes the folder of the groups, when none is left.
func (g groups) close() {
	if g.folder != "" {
		_ = os.Remove(g.folder)
	}
}

// group is the control group of one process and all that come from it. A nil
// group is none.
type group struct {
	path   string
	memory int64 // the bound of memory; 0: it has none
}

// make makes a group.
func (g groups) make(name string, memory int64) (*group, error) {
	if g.folder == "" {
		return nil, nil
	}
	made := &group{path: filepath.Join(g.folder, name)}
	if err := os.Mkdir(made.path, 0o755); err != nil {
		return nil, fmt.Errorf("make a control group: %w", err)
	}
	if memory > 0 && g.memory {
		if err := made.bound(memory); err != nil {
			_ = os.Remove(made.path)
			return nil, fmt.Errorf("bound the memory of a control group: %w", err)
		}
	}
	return made, nil
}

func (g *group) bound(memory int64) error {
	for _, file := range []struct{ name, value string }{
		{"memory.max", strconv.FormatInt(memory, 10)},
		{"memory.swap.max", "0"},
		{"memory.oom.group", "1"},
	} {
		err := os.WriteFile(filepath.Join(g.path, file.name), []byte(file.value), 0)
		if err != nil && !(file.name == "memory.swap.max" && errors.Is(err, fs.ErrNotExist)) { // without swap
			return err
		}
	}
	g.memory = memory
	return nil
}

// open returns a descriptor to start a process into the group with. The caller
// closes it.
func (g *group) open() (*os.File, error) {
	return os.OpenFile(g.path, unix.O_DIRECTORY|unix.O_PATH, 0)
}

// kill kills every process of the group.
func (g *group) kill() {
	if g == nil || g.path == "" {
		return
	}
	if os.WriteFile(filepath.Join(g.path, "cgroup.kill"), []byte("1"), 0) == nil {
		return
	}
	for _, pid := range g.processes() { // before Linux 5.14
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// processes returns the numbers of its processes.
func (g *group) processes() []int {
	list, _ := os.ReadFile(filepath.Join(g.path, "cgroup.procs"))
	return numbers(list)
}

// exceeded returns what the kernel killed processes of the group for; nil when it
// did not.
func (g *group) exceeded() *excess {
	if g == nil || g.memory == 0 {
		return nil
	}
	events, _ := os.ReadFile(filepath.Join(g.path, "memory.events"))
	for line := range strings.Lines(string(events)) {
		if count, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok && count != "0" {
			return &excess{limit: g.memory}
		}
	}
	return nil
}

// remove removes a group whose processes are being killed.
func (g *group) remove(wait time.Duration) error {
	if g == nil || g.path == "" {
		return nil
	}
	deadline := time.Now().Add(wait)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := os.Remove(g.path)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("remove a control group: %w", err)
		}
		g.kill()
		time.Sleep(pause)
	}
}
