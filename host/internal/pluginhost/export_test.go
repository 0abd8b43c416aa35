package pluginhost

import "time"

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

// Quarantine sets after how many crashes in a row a build is quarantined.
func (h *Host) Quarantine(crashes int) { h.times.crashes = crashes }

// Look sets the time between looks at the plugin folder; before Start.
func (h *Host) Look(every time.Duration) { h.times.look = every }
