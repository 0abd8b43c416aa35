package queue

import (
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/spool"
)

// slowTime is how long the store may take to record an end before that is kept on
// disk.
const slowTime = time.Second

// keeper has one record on disk for as long as the store does not have it.
type keeper struct {
	queue  *Queue
	record spool.Record

	mu     sync.Mutex
	ticket spool.Ticket
	held   bool // it is on disk
	over   bool // the store has it
}

// keeper returns that of a new record.
func (q *Queue) keeper(r spool.Record) *keeper { return &keeper{queue: q, record: r} }

// kept returns that of a record that an earlier life has left.
func (q *Queue) kept(e spool.Entry) *keeper {
	return &keeper{queue: q, record: e.Record, ticket: e.Ticket, held: true}
}

// keep puts the record on disk, unless it is there already or not needed any more.
// What cannot be put there may be later.
func (k *keeper) keep() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return
	}
	k.queue.Delayed(k.record.End.JobID)
	if k.held || k.queue.Spool == nil {
		return
	}
	ticket, err := k.queue.Spool.Put(k.record)
	if err != nil {
		k.queue.Log.Error("the end of a job waits in memory only: were the host to die now, the job would be called lost", "job_id", k.record.End.JobID, "error", err)
		return
	}
	k.ticket, k.held = ticket, true
}

// has reports whether the record is on disk.
func (k *keeper) has() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.held
}

// drop lets go of the record: the store has it, or refuses it for good.
func (k *keeper) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.over = true
	if k.held {
		k.queue.Spool.Done(k.ticket)
		k.held = false
	}
}
