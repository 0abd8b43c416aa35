package pluginhost

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// sampleTime is the time between looks at the memory of a process that no control
// group bounds.
const sampleTime = 250 * time.Millisecond

// sample looks at the memory of the process and all that come from it, and kills
// them when it is over a limit. It ends with the process, or when that is left
// to a later life of the host.
func (c *child) sample(limit int64) {
	tree := tree{root: c.record.PID, group: c.group}
	tick := time.NewTicker(sampleTime)
	defer tick.Stop()
	for {
		used := tree.memory()
		if used > limit {
			c.excess.CompareAndSwap(nil, &excess{memory: used, limit: limit})
			c.log.Error("a plugin process uses more memory than its limit and is killed", "pid", c.record.PID, "bytes", used, "limit", limit)
			tree.kill()
			c.signal(unix.SIGKILL)
		}
		select {
		case <-c.dead:
			return
		case <-c.gone:
			return
		case <-tick.C:
		}
	}
}

// tree is a process and all that come from it, as long as no control group
// holds them together. Who was once seen in it belongs to it, also when the
// parents have ended and nothing shows any more where it came from.
type tree struct {
	root  int
	group *group
	seen  map[int]uint64 // start times, by number
}

// memory returns what the processes use together that is not backed by files;
// what they share counts for each.
func (t *tree) memory() (sum int64) {
	for _, pid := range t.processes() {
		sum += memoryOf(pid)
	}
	return sum
}

// kill kills them.
func (t *tree) kill() {
	for _, pid := range t.processes() {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

func (t *tree) processes() (pids []int) {
	if t.group != nil {
		return t.group.processes()
	}
	still := map[int]uint64{}
	var visit func(pid int)
	visit = func(pid int) {
		started, err := startTime(pid)
		if _, known := still[pid]; known || err != nil {
			return
		}
		still[pid] = started
		pids = append(pids, pid)
		for _, child := range childrenOf(pid) {
			visit(child)
		}
	}
	visit(t.root)
	for pid, started := range t.seen {
		if now, err := startTime(pid); err == nil && now == started {
			visit(pid)
		}
	}
	t.seen = still
	return pids
}

// childrenOf returns the children of a process, which are spread over its threads.
func childrenOf(pid int) (pids []int) {
	tasks := "/proc/" + strconv.Itoa(pid) + "/task"
	threads, err := os.ReadDir(tasks)
	if err != nil {
		return nil // it has ended
	}
	for _, thread := range threads {
		list, _ := os.ReadFile(tasks + "/" + thread.Name() + "/children")
		pids = append(pids, numbers(list)...)
	}
	return pids
}

// listsChildren reports whether the kernel tells the children of a process.
func listsChildren() bool {
	_, err := os.Stat("/proc/thread-self/children")
	return err == nil
}

func numbers(list []byte) (pids []int) {
	for field := range bytes.FieldsSeq(list) {
		if pid, err := strconv.Atoi(string(field)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// memoryOf returns what a process uses that is not backed by files, in bytes; 0
// when it has ended.
func memoryOf(pid int) (sum int64) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(status) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if string(name) != "RssAnon" && string(name) != "RssShmem" {
			continue
		}
		kilobytes, _, _ := bytes.Cut(bytes.TrimSpace(value), []byte(" "))
		n, _ := strconv.ParseInt(string(kilobytes), 10, 64)
		sum += n << 10
	}
	return sum
}
