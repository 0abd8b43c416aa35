package child

import (
	"bytes"
	"os"
	"strconv"
)

// Memory returns what the program and every process of its tree use now that is
// not backed by files, in bytes; what they share counts for each. It is 0 when
// nothing runs.
func (c *Cmd) Memory() (sum int64) {
	c.mu.Lock()
	if c.phase != started && c.phase != waiting {
		c.mu.Unlock()
		return 0
	}
	pid := c.supervisor.Pid
	c.mu.Unlock()

	t := tree{scan: !listsChildren()}
	t.begin()
	t.walk(pid, func(pid int) { sum += t.memory(pid) }, nil)
	return sum
}

// listsChildren reports whether the kernel has lists of children.
func listsChildren() bool {
	_, err := os.Stat("/proc/thread-self/children")
	return err == nil
}

// memory returns what one process uses; 0 when it has ended.
func (t *tree) memory(pid int) (sum int64) {
	status, err := t.read("/proc/" + strconv.Itoa(pid) + "/status")
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
