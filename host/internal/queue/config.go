package queue

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/spool"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// Store keeps jobs and leases.
type Store interface {
	Submit(ctx context.Context, s store.Submission) (*job.Lease, error)
	Claim(ctx context.Context, c store.Claim) ([]job.Claimed, error)
	Started(ctx context.Context, leases []job.Lease, at time.Time) error
	End(ctx context.Context, end job.End) error
	Resume(ctx context.Context, end job.End) (l job.Lease, canceledBy string, err error)
	GiveBack(ctx context.Context, leases []job.Lease) error
	Cancel(ctx context.Context, id job.ID, by string) (store.Cancellation, error)
	Canceling(ctx context.Context, host string, epoch int64) ([]store.CancelWish, error)
	Heartbeat(ctx context.Context, host string, epoch int64, ttl time.Duration, state store.HostState) (clock time.Time, err error)
	StopHost(ctx context.Context, host string, epoch int64) error
	Lapsed(ctx context.Context, self string) ([]string, error)
	Reap(ctx context.Context, self, host string, after job.ID, lostAfter time.Duration) (store.Reaped, error)
	ForgetHosts(ctx context.Context) (int64, error)
	SubmitKeyed(ctx context.Context, s store.Submission, k store.Key) (job.ID, error)
	MustUseLanes(ctx context.Context, host string) (bool, error)
	Backlog(ctx context.Context) (map[string]int, error)
	Due(ctx context.Context) (int, error)
	NextDue(ctx context.Context) (time.Duration, bool, error)
	Expire(ctx context.Context) ([]job.ID, error)
	Retry(ctx context.Context, end job.End, due time.Time) (canceledBy string, err error)
	Adopt(ctx context.Context, host string, epoch int64) error
	Leases(ctx context.Context, host string, epoch int64) ([]job.Lease, error)
	Leased(ctx context.Context, host string, epoch int64, ids []job.ID) ([]job.Claimed, error)
}

// Runner performs attempts.
type Runner interface {
	// Run calls started before it returns, at most once, when the work begins. An
	// outcome without a status is none: the attempt, or the next one, goes on
	// without this host, or was not begun.
	Run(ctx context.Context, c job.Claimed, started func(time.Time)) (o job.Outcome, done func())
	// Resume goes on with the work of an attempt of another host, as Run does, where
	// this one can; else the outcome says that it is lost.
	Resume(ctx context.Context, c job.Claimed, started func(time.Time)) (o job.Outcome, done func())
	// Recall says what became of an attempt of an earlier life of this host.
	Recall(c job.Claimed) pluginhost.Fate
	// Follow goes on with an attempt that was recalled as known, as Run does.
	Follow(ctx context.Context, c job.Claimed, started func(time.Time)) (o job.Outcome, done func())
	// Lost returns the outcome of an attempt that no plugin knows any more.
	Lost(ctx context.Context, c job.Claimed) (o job.Outcome, done func())
	// Carry hands what an attempt has written to the one that resumes its work.
	Carry(c job.Claimed)
	// Detaches reports whether a job is to go on while the host restarts.
	Detaches(j *job.Job) bool
}

// Spool keeps on disk what the store cannot take now.
type Spool interface {
	Put(r spool.Record) (spool.Ticket, error)
	Done(t spool.Ticket)
	// Left returns what an earlier life of this host has put and not done with.
	Left() []spool.Entry
}

// Word tells other hosts what they would find out by themselves only later.
type Word interface {
	SayWorkWaits()                         // a job waits that a free host may claim
	SayCancelAsked(host string, id job.ID) // the host is to stop a job
	SayEnded(ids ...job.ID)                // jobs have ended
}

// Config is what a queue needs.
type Config struct {
	Store  Store
	Runner Runner
	Spool  Spool         // nil: ends wait in memory only
	Word   Word          // nil: there are no others
	Host   string        // id of this host
	Epoch  int64         // of this life of the host
	Lease  time.Duration // how long the host may run jobs after each heartbeat
	// LostAfter is how long jobs that may not run elsewhere wait for a lost host.
	LostAfter time.Duration
	// Alone says that no other host can have the store, so that nobody takes jobs away.
	Alone bool
	// Clock goes on while the machine sleeps; nil: one that does not. Registered is
	// what it said before the host was registered, for one lease time; 0: just now.
	Clock      func() time.Duration
	Registered time.Duration
	// CanRun reports whether this host can run a job; nil: any.
	CanRun func(j *job.Job) bool
	Slots  int             // attempts that run at once
	Drain  time.Duration   // that running attempts are given when the queue stops
	Hurry  <-chan struct{} // closed: they are given no more
	Grace  time.Duration   // for an orderly stop of one attempt
	// MaxWaiting is how many jobs may wait, of all users together, and
	// MaxWaitingPerUser how many of each; more are refused. 0: any number.
	MaxWaiting        int
	MaxWaitingPerUser int
	Room              func() error                              // is an error while no more jobs may begin here; nil: there always is
	Renew             func(epoch int64, validFor time.Duration) // tells the plugins that the host may go on
	Ended             func(j *job.Job)                          // is called once the end of a job is recorded
	// Delayed is called when a job has ended here, and the store does not take that
	// now, and once more each time that is tried in vain. Ended may follow.
	Delayed func(id job.ID)
	// Recorded is called once it is recorded what became of an attempt that an earlier
	// life has left.
	Recorded func(r spool.Record)
	// Remains is called once it is recorded that an attempt may have left something
	// outside.
	Remains func()
	// Resumed is called once all attempts of an earlier life were recalled.
	Resumed func()
	// Fenced is called as soon as it is known that the host has lost its right to run.
	Fenced   func()
	Observer Observer // nil: none
	Log      hclog.Logger
}

// nobody is the word of a host without others.
type nobody struct{}

func (nobody) SayWorkWaits()                 {}
func (nobody) SayCancelAsked(string, job.ID) {}
func (nobody) SayEnded(...job.ID)            {}
