package queue

import (
	"context"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

const (
	// doubtTime is how long after its answer was lost a submission may still be
	// written: a server may go on with a statement whose connection has broken.
	doubtTime = time.Minute
	// unacknowledged is who cancels a job whose submitter was told that the
	// record is uncertain.
	unacknowledged = "the host: its submission was never acknowledged"
)

// doubts are submissions of which it is unknown whether they were recorded.
// Their callers were told so; the jobs must not run.
type doubts struct {
	mu     sync.Mutex
	fresh  []job.ID             // not looked for yet
	absent map[job.ID]time.Time // were not there, but may be written until then
}

func (d *doubts) add(id job.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fresh = append(d.fresh, id)
	if d.absent == nil {
		d.absent = map[job.ID]time.Time{}
	}
	d.absent[id] = time.Now().Add(doubtTime)
}

// next returns a job that was not looked for yet; "" when there is none.
func (d *doubts) next() job.ID {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.fresh) == 0 {
		return ""
	}
	return d.fresh[0]
}

// looked takes in what came of looking for the next job.
func (d *doubts) looked(id job.ID, found bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fresh = d.fresh[1:]
	if found || time.Now().After(d.absent[id]) {
		delete(d.absent, id)
	}
}

// again makes all that were not found be looked for once more.
func (d *doubts) again() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fresh = d.fresh[:0]
	for id := range d.absent {
		d.fresh = append(d.fresh, id)
	}
}

// withdraw cancels the jobs that are in doubt. It reports false when some could
// not be looked for: nothing may be claimed then, as it could be one of them.
func (q *Queue) withdraw(ctx context.Context) bool {
	for id := q.doubts.next(); id != ""; id = q.doubts.next() {
		_, err := q.Store.Cancel(ctx, id, unacknowledged)
		if err != nil && !errs.Is(err, errs.NotFound) {
			q.Log.Warn("a job whose submission was never acknowledged could not be canceled yet", "job_id", id, "error", err)
			return false
		}
		if err == nil {
			q.Log.Info("a job was canceled because its submission was never acknowledged", "job_id", id)
		}
		q.doubts.looked(id, err == nil)
	}
	return true
}

// settle makes leases and attempts agree where the answer of the store was lost.
// A lease that nobody here runs came of such a claim, and its job waits again; or
// it came of such a submission, whose job is canceled first and ends thereby.
// Only who claims may call it: what a claim has just leased, nobody runs yet.
func (q *Queue) settle(ctx context.Context) {
	begun, held := q.withLease(), q.held()
	leases, err := q.Store.Leases(ctx, q.Host, q.Epoch)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		q.Log.Warn("leases could not be compared with what runs", "error", err)
		return
	}
	q.stopLost(begun, leases)
	// This comes before the doubts: a submission is in doubt before it is not
	// held any more.
	orphans := q.withoutAttempt(leases, held)
	q.doubts.again()
	if !q.withdraw(ctx) || len(orphans) == 0 {
		return
	}
	if err := q.disown(ctx, orphans); err != nil {
		q.Log.Warn("leases that nobody runs could not be given back yet", "leases", len(orphans), "error", err)
	}
	q.look()
}

// disown parts with jobs that this host has leases of and does not run: they wait
// again, or are lost when they had begun.
func (q *Queue) disown(ctx context.Context, orphans []job.ID) error {
	leased, err := q.Store.Leased(ctx, q.Host, q.Epoch, orphans)
	if err != nil {
		return err
	}
	var back []job.Lease
	for _, c := range leased {
		if c.Job.StartedAt.IsZero() {
			back = append(back, c.Lease)
			continue
		}
		q.lose(ctx, c)
	}
	if len(back) == 0 {
		return nil
	}
	err = q.Store.GiveBack(ctx, back)
	if err == nil {
		q.Log.Warn("leases that nobody runs were given back: the answer to their claim was lost", "leases", len(back))
	}
	return err
}

// held returns the jobs of which attempts are known here.
func (q *Queue) held() map[job.ID]bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	held := make(map[job.ID]bool, len(q.running))
	for id := range q.running {
		held[id] = true
	}
	return held
}

// withoutAttempt returns the jobs of leases that no attempt here belongs to, nor did
// when they were asked for: one that has ended since was consumed.
func (q *Queue) withoutAttempt(leases []job.Lease, held map[job.ID]bool) (orphans []job.ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range leases {
		if q.running[l.JobID] == nil && !held[l.JobID] {
			orphans = append(orphans, l.JobID)
		}
	}
	return orphans
}

// withLease returns the attempts whose leases are known and not being consumed.
func (q *Queue) withLease() (begun []*attempt) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, a := range q.running {
		if a.leased && !a.ending {
			begun = append(begun, a)
		}
	}
	return begun
}

// stopLost stops attempts that had a lease before the leases were read, and have
// none: while this host was lost, another one has taken it.
func (q *Queue) stopLost(begun []*attempt, leases []job.Lease) {
	has := make(map[job.ID]bool, len(leases))
	for _, l := range leases {
		has[l.JobID] = true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, a := range begun {
		if !a.ending && !has[a.claim.Job.ID] && a.ctx.Err() == nil {
			q.Log.Warn("an attempt is stopped: its lease was taken while this host was lost", a.claim.Fields()...)
			a.stop(&pluginhost.Stop{Reason: pluginhost.StopLeaseLost, Message: "the job was taken from this host while that was lost", Grace: q.Grace})
		}
	}
}
