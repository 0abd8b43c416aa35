package memstore

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// tables are what the hosts of a store share.
type tables struct {
	mu       sync.Mutex
	jobs     map[job.ID]*record
	queue    []*record // those that are ready, in their order
	later    map[job.ID]*record
	leases   map[job.ID]*record
	hosts    map[string]*store.Host
	commands map[string][]string // that a host can run
	caps     store.Caps
	keys     map[[2]string]keyed  // by user and idempotency key
	uniques  map[[2]string]job.ID // by user and unique key
	cleanups map[tried]*cleanup

	revisions map[string][]byte // of the catalog

	listeners map[*listener]bool
}

// record is a job. It is in exactly one of the four places.
type record struct {
	job.Job // what was asked for
	ready   *ready
	due     *due
	lease   *lease
	end     *end

	attempts   map[int]attempt // that have ended
	checkpoint *job.Checkpoint
}

// next is the attempt that is to follow.
type next struct {
	attempt int
	retries int // before it
	resume  bool
}

type ready struct {
	next
	turn      int64
	updatedAt time.Time
}

type due struct {
	next
	at, updatedAt time.Time
}

type lease struct {
	next
	host                           string
	epoch                          int64
	startedAt, cancelAt, updatedAt time.Time
	cancelBy                       string
}

type end struct {
	attempt  int
	status   job.Status
	cancelBy string
	err      *job.Error
	outputs  []job.Output
	result   *job.Result
	at       time.Time
}

type attempt struct {
	lease              job.Lease
	logs               job.Logs
	build              string
	status             job.Status
	err                *job.Error
	startedAt, endedAt time.Time
}

// tried names an attempt.
type tried struct {
	id      job.ID
	attempt int
}

func newTables() *tables {
	return &tables{
		jobs:      map[job.ID]*record{},
		later:     map[job.ID]*record{},
		leases:    map[job.ID]*record{},
		hosts:     map[string]*store.Host{},
		commands:  map[string][]string{},
		keys:      map[[2]string]keyed{},
		uniques:   map[[2]string]job.ID{},
		cleanups:  map[tried]*cleanup{},
		revisions: map[string][]byte{},

		listeners: map[*listener]bool{},
	}
}

func (t *tables) do(fn func(*tables) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fn(t)
}

// before is the order of the queue.
func before(a, b *record) int {
	return cmp.Or(
		cmp.Compare(b.Priority, a.Priority),
		cmp.Compare(a.ready.turn, b.ready.turn),
		a.CreatedAt.Compare(b.CreatedAt),
		cmp.Compare(a.ID, b.ID),
	)
}

// waitAtHead puts a job at the head of the queue, among what is there by its age.
func (t *tables) waitAtHead(r *record, n next) {
	turn, _ := t.firstTurn(r.Priority)
	t.wait(r, n, turn)
}

// waitBehind puts a job behind all of its user.
func (t *tables) waitBehind(r *record, n next) {
	turn, some := t.firstTurn(r.Priority)
	if some {
		for i := len(t.queue) - 1; i >= 0; i-- {
			if q := t.queue[i]; q.Priority == r.Priority && q.User == r.User {
				turn = q.ready.turn + 1
				break
			}
		}
	}
	t.wait(r, n, turn)
}

// firstTurn is the first turn of a priority.
func (t *tables) firstTurn(priority int) (turn int64, some bool) {
	i, _ := slices.BinarySearchFunc(t.queue, priority, func(r *record, p int) int {
		if r.Priority > p {
			return -1
		}
		return 1
	})
	if i == len(t.queue) || t.queue[i].Priority != priority {
		return 0, false
	}
	return t.queue[i].ready.turn, true
}

func (t *tables) wait(r *record, n next, turn int64) {
	r.ready = &ready{next: n, turn: turn, updatedAt: now()}
	i, _ := slices.BinarySearchFunc(t.queue, r, before)
	t.queue = slices.Insert(t.queue, i, r)
}

// waitUntil makes a job wait for a time.
func (t *tables) waitUntil(r *record, n next, at time.Time) {
	r.due = &due{next: n, at: stamp(at), updatedAt: now()}
	t.later[r.ID] = r
}

// grant leases a job that is in no place.
func (t *tables) grant(r *record, n next, host string, epoch int64, at time.Time) {
	r.lease = &lease{next: n, host: host, epoch: epoch, updatedAt: at}
	t.leases[r.ID] = r
}

// leave takes a job out of its place and says which attempt was to follow, or runs.
func (t *tables) leave(r *record) (n next) {
	switch {
	case r.ready != nil:
		n = r.ready.next
		i, _ := slices.BinarySearchFunc(t.queue, r, before)
		t.queue = slices.Delete(t.queue, i, i+1)
	case r.due != nil:
		n = r.due.next
		delete(t.later, r.ID)
	case r.lease != nil:
		n = r.lease.next
		delete(t.leases, r.ID)
	}
	r.ready, r.due, r.lease = nil, nil, nil
	return n
}

// held returns the job that a lease is of; nil when it is gone.
func (t *tables) held(l job.Lease) *record {
	r := t.leases[l.JobID]
	if r == nil || r.lease.attempt != l.Attempt || r.lease.host != l.HostID || r.lease.epoch != l.Epoch {
		return nil
	}
	return r
}

// drop forgets what is kept of a job only until it ends.
func (t *tables) drop(r *record) {
	r.checkpoint = nil
	if k := [2]string{r.User, r.UniqueKey}; t.uniques[k] == r.ID {
		delete(t.uniques, k)
	}
}

// now is the time as the databases keep it.
func now() time.Time { return stamp(time.Now()) }

func stamp(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

func orNow(t time.Time) time.Time {
	if t.IsZero() {
		return now()
	}
	return stamp(t)
}
