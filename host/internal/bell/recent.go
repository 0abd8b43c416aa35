package bell

import "github.com/heimdall-run/heimdall/host/internal/job"

// mostRecent is how many of the last ends are remembered: those of about a second
// of a busy host.
const mostRecent = 4096

// recent are the last ends. An end may come before it is heard that somebody awaits
// it.
type recent struct {
	ids  []job.ID // a ring once it is full
	next int      // where the oldest one is then
	in   map[job.ID]bool
}

func (r *recent) add(id job.ID) {
	if r.in == nil {
		r.in = make(map[job.ID]bool, mostRecent)
	}
	switch {
	case r.in[id]:
		return
	case len(r.ids) < mostRecent:
		r.ids = append(r.ids, id)
	default:
		delete(r.in, r.ids[r.next])
		r.ids[r.next] = id
		r.next = (r.next + 1) % mostRecent
	}
	r.in[id] = true
}

func (r *recent) has(id job.ID) bool { return r.in[id] }
