package pluginhost

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Limits are upper bounds of an attempt, or of a process; 0 means no limit.
type Limits struct {
	MemoryBytes       int64 // of all its processes together
	CPUSeconds        int64 // of each process
	OpenFiles         int64 // of each process
	CoreBytes         int64 // of each core file; 0: none is written
	LogBytes          int64 // of each of stdout and stderr
	ResultBytes       int64
	InlineResultBytes int64 // of a result that is not a file
	// LogCap is how much each of stdout and stderr may have at all. The host sees
	// to it: plugins are not told, and the attempt that passes it is stopped.
	LogCap int64
}

// over returns l, and the limits of processes that it does not set from base.
func (l Limits) over(base Limits) Limits {
	for _, pair := range [][2]*int64{
		{&l.MemoryBytes, &base.MemoryBytes},
		{&l.CPUSeconds, &base.CPUSeconds},
		{&l.OpenFiles, &base.OpenFiles},
		{&l.CoreBytes, &base.CoreBytes},
	} {
		if *pair[0] == 0 {
			*pair[0] = *pair[1]
		}
	}
	return l
}

// restrict sets the limits that the kernel holds of one process, and of those
// that it starts later. A process that has ended needs none.
//
// There is no way to set them between fork and exec from Go, so it is done twice.
// Right after exec: from then on nothing without privileges can raise them. And
// after the handshake: a Go program that runs as root may have read the limit of
// open files before the first time and put it back after it, as its runtime does
// when it starts. Nothing of an attempt has run by then.
func (l Limits) restrict(pid int) error {
	for _, one := range []struct {
		resource int
		name     string
		value    int64
	}{
		{unix.RLIMIT_NOFILE, "open files", l.OpenFiles},
		{unix.RLIMIT_CPU, "processor time", l.CPUSeconds},
		{unix.RLIMIT_CORE, "core files", l.CoreBytes},
	} {
		if one.value == 0 && one.resource != unix.RLIMIT_CORE {
			continue
		}
		var now unix.Rlimit
		err := unix.Prlimit(pid, one.resource, nil, &now)
		if err == nil {
			bound := min(uint64(one.value), now.Max)
			set := unix.Rlimit{Cur: bound, Max: bound}
			if one.value == 0 {
				set.Max = now.Max // the programs of a command may have more
			}
			err = unix.Prlimit(pid, one.resource, &set, nil)
		}
		if errors.Is(err, unix.ESRCH) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("limit its %s: %w", one.name, err)
		}
	}
	return nil
}

// excess is a limit that a process went over, and was ended for.
type excess struct {
	memory, limit int64         // bytes; limit 0: it was another
	cpu           time.Duration // the limit of processor time
}

// String says what was too much, as what somebody did.
func (e *excess) String() string {
	switch {
	case e.cpu > 0:
		return fmt.Sprintf("used up its limit of %v of processor time", e.cpu)
	case e.memory > 0:
		return fmt.Sprintf("used %s of memory, and its limit is %s", size(e.memory), size(e.limit))
	default:
		return fmt.Sprintf("used more memory than its limit of %s", size(e.limit))
	}
}

// size writes a number of bytes for people.
func size(n int64) string {
	for _, unit := range []struct {
		name  string
		bytes int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		switch {
		case n < unit.bytes:
		case n%unit.bytes == 0:
			return fmt.Sprintf("%d %s", n/unit.bytes, unit.name)
		default:
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.bytes), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// overLimit is the error of a process that went over a limit before it could
// work.
type overLimit struct {
	text string
	*excess
}

// Error says what went over which limit.
func (o *overLimit) Error() string { return o.text }

// overLimit returns why the process ended when it went over a limit; nil else. It
// is valid after the end.
func (p *process) overLimit() error {
	excess := p.child.excess.Load()
	if excess == nil {
		return nil
	}
	text, _ := p.crash()
	return &overLimit{text: text, excess: excess}
}
