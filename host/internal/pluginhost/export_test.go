package pluginhost

import (
	"errors"
	"time"
)

// Hurry shortens the deadlines that tests wait for.
func (h *Host) Hurry() {
	h.times.drain = 300 * time.Millisecond
	h.times.hung = 300 * time.Millisecond
	h.times.term = 500 * time.Millisecond
	h.times.force = 500 * time.Millisecond
	h.times.backoff = 10 * time.Millisecond
	h.times.silent = 2 * time.Second
	h.times.crashes = 1000
	h.times.look = 50 * time.Millisecond
	h.times.logs = 50 * time.Millisecond
	h.times.proven = 100 * time.Millisecond
}

// Quarantine sets after how many crashes in a row a build is quarantined; before
// Start.
func (h *Host) Quarantine(crashes int) { h.times.crashes = crashes }

// Look sets the time between looks at the plugin folder; before Start.
func (h *Host) Look(every time.Duration) { h.times.look = every }

// LaunchOwn starts a process for an attempt that never begins, and returns its
// number.
func (h *Host) LaunchOwn(plugin, attempt string) (int, error) {
	p, err := h.pick(plugin, "")
	if err == nil {
		p, err = p.supervisor.start(h.running, &Request{AttemptID: attempt})
	}
	if err != nil {
		return 0, err
	}
	return p.child.record.PID, nil
}

// GivenUp returns how many attempts are remembered that may still run unfollowed.
func (h *Host) GivenUp() (n int) {
	h.givenUp.Range(func(any, any) bool { n++; return true })
	return n
}

// WithoutGroups makes the host work as on a machine without control groups.
func (h *Host) WithoutGroups() {
	h.grouping = func(string) (groups, error) { return groups{}, errors.New("not here") }
}

// Groups returns the folder of the control groups, and whether they bound memory.
func (h *Host) Groups() (folder string, memory bool) { return h.groups.folder, h.groups.memory }

// Conclude says that all is recorded that there was to record of earlier lives.
func (h *Host) Conclude() {
	i := &h.inherited
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.unsettled)
	i.disowned = true
	i.bury(h.log)
}
