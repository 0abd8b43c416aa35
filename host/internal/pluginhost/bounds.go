package pluginhost

import (
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// join gives the process a control group to start in, where one can be made.
func (c *child) join(g groups) {
	c.groups = g
	made, err := g.make(filepath.Base(c.folder), c.record.Limits.MemoryBytes)
	if err != nil {
		c.log.Warn("a plugin process has no control group", "error", err)
	}
	c.setGroup(made)
}

// rejoin finds the control group of a process that an earlier life has started.
func (c *child) rejoin(g groups) {
	c.groups = g
	if _, err := os.Stat(c.record.Group); c.record.Group == "" || err != nil {
		c.setGroup(nil)
		return
	}
	c.group = &group{path: c.record.Group}
	if c.record.Bounded {
		c.group.memory = c.record.Limits.MemoryBytes
	}
}

func (c *child) setGroup(g *group) {
	c.group, c.record.Group, c.record.Bounded = g, "", false
	if g != nil {
		c.record.Group, c.record.Bounded = g.path, g.memory > 0
	}
}

// attributes returns how the process is to be started; release is called when it
// has been.
func (c *child) attributes() (a *syscall.SysProcAttr, release func()) {
	a = &syscall.SysProcAttr{Setsid: true}
	if c.group == nil {
		return a, func() {}
	}
	folder, err := c.group.open()
	if err != nil {
		return a, func() {}
	}
	a.UseCgroupFD, a.CgroupFD = true, int(folder.Fd())
	return a, func() { folder.Close() }
}

// leaveGroup removes the group of a process that does not run.
func (c *child) leaveGroup(wait time.Duration) {
	if c.group == nil {
		return
	}
	if err := c.group.remove(wait); err != nil {
		c.log.Warn("the control group of an ended plugin process stays", "error", err)
	}
	c.groups.forget(c.group.path)
}

// restrict sets the limits that the kernel holds of single processes.
func (c *child) restrict() error { return c.record.Limits.restrict(c.record.PID) }

// guard begins to look at the memory of the process, when it has a limit that no
// control group holds.
func (c *child) guard() {
	if limit := c.record.Limits.MemoryBytes; limit > 0 && !c.record.Bounded && memoryBy(c.group) == Sampled {
		c.sampled.Go(func() { c.sample(limit) })
	}
}

// examine finds out whether the process has ended for one of its limits; used is
// the processor time that it had used.
func (c *child) examine(used time.Duration) {
	if over := c.group.exceeded(); over != nil {
		c.excess.CompareAndSwap(nil, over)
	}
	limit := time.Duration(c.record.Limits.CPUSeconds) * time.Second
	if limit > 0 && used > limit-100*time.Millisecond && c.killedByOthers() {
		c.excess.CompareAndSwap(nil, &excess{cpu: limit})
	}
}

// killedByOthers reports whether the process has ended by a SIGKILL that the
// host did not send. It is valid after the end.
func (c *child) killedByOthers() bool {
	if c.cmd == nil || c.cmd.ProcessState == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	state, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && state.Signaled() && state.Signal() == unix.SIGKILL && !c.killed
}

// By says what holds a limit.
type By string

// What may hold a limit.
const (
	Cgroup  By = "cgroup"  // the kernel, of all processes together
	Sampled By = "sampled" // somebody looks four times a second and kills
	Rlimit  By = "rlimit"  // the kernel, of each process
	Nobody  By = "none"    // there is none, or nobody holds it
)

// Holding says what holds each limit.
type Holding struct {
	Memory, CPU, OpenFiles, Core By
}

// memoryBy returns what holds the memory of processes in a group, or in none.
func memoryBy(g *group) By {
	switch {
	case g != nil && g.memory > 0:
		return Cgroup
	case g != nil || listsChildren():
		return Sampled
	default:
		return Nobody
	}
}

// holding says what holds the limits of the process.
func (c *child) holding() Holding {
	limits, by := c.record.Limits, Holding{Memory: Nobody, CPU: Nobody, OpenFiles: Nobody, Core: Rlimit}
	switch {
	case c.foreign:
		by.Core = Nobody
	case limits.MemoryBytes > 0:
		by.Memory = memoryBy(c.group)
	}
	if limits.CPUSeconds > 0 {
		by.CPU = Rlimit
	}
	if limits.OpenFiles > 0 {
		by.OpenFiles = Rlimit
	}
	return by
}

// featureLimits is the feature of plugins that hold the limits of an attempt for
// the programs that it runs.
const featureLimits = "limits"

// jobsHolding says what holds the limits of attempts on a build.
func (h *Host) jobsHolding(isolation Isolation, d *Description) Holding {
	switch {
	case isolation == PerJob && h.groups.memory:
		return Holding{Cgroup, Rlimit, Rlimit, Rlimit}
	case isolation == PerJob && (h.groups.folder != "" || listsChildren()):
		return Holding{Sampled, Rlimit, Rlimit, Rlimit}
	case isolation == PerJob:
		return Holding{Nobody, Rlimit, Rlimit, Rlimit}
	case d.Limits:
		return Holding{Sampled, Rlimit, Rlimit, Rlimit}
	default:
		return Holding{Nobody, Nobody, Nobody, Nobody}
	}
}
