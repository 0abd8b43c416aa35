package queue

import (
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Observer hears of what becomes of jobs. Its methods take no time.
type Observer interface {
	Submitted(j *job.Job)               // it was recorded
	Waited(j *job.Job, d time.Duration) // so long for its first attempt, which is claimed now
	// Ended tells what is recorded of an attempt; again: another one follows, else the
	// job has ended.
	Ended(c job.Claimed, o job.Outcome, again bool)
	// Resumed tells what became of an attempt that was lost: another one goes on with its
	// work in its lease.
	Resumed(c job.Claimed, o job.Outcome)
	Passed(s job.Status, n int) // so many jobs have ended while they waited
	Taken(again, ended int)     // so many jobs of a lost host may run again, or have ended
}

// unobserved is the observer of a queue that has none.
type unobserved struct{}

func (unobserved) Submitted(*job.Job)                   {}
func (unobserved) Waited(*job.Job, time.Duration)       {}
func (unobserved) Ended(job.Claimed, job.Outcome, bool) {}
func (unobserved) Resumed(job.Claimed, job.Outcome)     {}
func (unobserved) Passed(job.Status, int)               {}
func (unobserved) Taken(int, int)                       {}

// Figures are how a queue stands.
type Figures struct {
	Slots, Used int
	Waiting     int           // jobs, on all hosts, as they were counted last; -1: they are not counted
	Right       time.Duration // how long the host may still run jobs
	Full        bool          // nothing is begun here, for want of room
}

// Figures returns how the queue stands.
func (q *Queue) Figures() Figures {
	return Figures{
		Slots: q.Slots, Used: q.Slots - q.slots.count(), Waiting: q.limit.waiting(), Right: q.left(), Full: q.full.Load(),
	}
}
