package child

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// tree signals all descendants of this process. Pids stay valid meanwhile: those
// of our own children because the caller keeps them from being reaped, those of
// deeper ones because their parents are stopped before they are listed.
type tree struct {
	scan     bool          // the kernel has no lists of children
	byParent map[int][]int // one look at all processes, when scan is set
	buffer   []byte
}

// terminate sends SIGTERM to every descendant, parents first: a shell whose
// child ended before it would go on with its next line. Stopped ones are woken,
// so that they can act on it.
func (t *tree) terminate() {
	t.begin()
	t.walk(os.Getpid(), func(pid int) {
		_ = syscall.Kill(pid, syscall.SIGTERM)
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}, nil)
}

// kill goes through the tree once: each process is stopped, so that it can no
// longer fork, then its children are dealt with, then it is killed. Orphans that
// were made meanwhile are left for the next pass.
func (t *tree) kill() {
	t.begin()
	t.walk(os.Getpid(), func(pid int) {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}, func(pid int) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	})
}

// size counts the descendants.
func (t *tree) size() (n int) {
	t.begin()
	t.walk(os.Getpid(), func(int) { n++ }, nil)
	return n
}

func (t *tree) walk(pid int, before, after func(int)) {
	for _, child := range t.children(pid) {
		before(child)
		t.walk(child, before, after)
		if after != nil {
			after(child)
		}
	}
}

func (t *tree) begin() {
	if t.scan {
		t.look()
	}
}

// children lists the children of a process; those that a process has are spread
// over its threads.
func (t *tree) children(pid int) []int {
	if t.scan {
		return t.byParent[pid]
	}
	tasks := "/proc/" + strconv.Itoa(pid) + "/task/"
	threads, err := os.ReadDir(tasks)
	if err != nil {
		return nil // it is gone, its children are ours now
	}
	var pids []int
	for _, thread := range threads {
		list, err := t.read(tasks + thread.Name() + "/children")
		if err == syscall.ENOENT && pid == os.Getpid() && !t.scan {
			// Our own threads do not end: the kernel has no such lists.
			t.scan = true
			t.look()
			return t.byParent[pid]
		}
		for _, field := range bytes.Fields(list) {
			if child, err := strconv.Atoi(string(field)); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// look notes the parent of every process there is.
func (t *tree) look() {
	t.byParent = make(map[int][]int)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := t.read("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue
		}
		// "pid (name) state ppid …", and the name may hold anything.
		rest := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(rest) < 2 || rest[0][0] == 'Z' {
			continue
		}
		if parent, err := strconv.Atoi(string(rest[1])); err == nil {
			t.byParent[parent] = append(t.byParent[parent], pid)
		}
	}
}

// read reads a file of /proc into a buffer that the next read uses again.
func (t *tree) read(path string) ([]byte, error) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	if t.buffer == nil {
		t.buffer = make([]byte, 4096)
	}
	for used := 0; ; {
		n, err := syscall.Read(fd, t.buffer[used:])
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return nil, err
		case n == 0:
			return t.buffer[:used], nil
		default:
			if used += n; used == len(t.buffer) {
				t.buffer = append(t.buffer, make([]byte, used)...)
			}
		}
	}
}
