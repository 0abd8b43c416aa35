package queue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

const (
	countTime = time.Second // between counts of the jobs that wait
	// countShare bounds what counting costs: a count that takes long is rare.
	countShare = 20
	// fewerSoon is when to come again with a job that was refused.
	fewerSoon = 5 * time.Second
)

// limit bounds how many jobs wait. It knows how many the store held at the last
// count, and what this host has added and claimed since; what other hosts did since
// then it does not. So hosts may together exceed the limit a little.
type limit struct {
	most, perUser int // 0: any number

	mu      sync.Mutex
	all     int            // that wait, as far as is known
	users   map[string]int // of each user
	changed map[string]int // of each user, since the last count began
}

func newLimit(most, perUser int) *limit {
	return &limit{most: most, perUser: perUser, users: map[string]int{}, changed: map[string]int{}}
}

func (l *limit) none() bool { return l.most <= 0 && l.perUser <= 0 }

// check returns errs.Limited when no more jobs of a user may wait.
func (l *limit) check(user string) error {
	if l.none() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	full := func(format string, n int) error {
		return &errs.Error{Kind: errs.Limited, Message: fmt.Sprintf(format, n), Retry: fewerSoon}
	}
	switch {
	case l.most > 0 && l.all >= l.most:
		return full("%d jobs wait already, which is as many as may (queue.max_waiting); submit it again later", l.all)
	case l.perUser > 0 && l.users[user] >= l.perUser:
		return full("%d of your jobs wait already, which is as many as may (queue.max_waiting_per_user); submit it again later", l.users[user])
	}
	return nil
}

// add notes that so many more jobs of a user wait.
func (l *limit) add(user string, n int) {
	if l.none() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all += n
	l.users[user] += n
	l.changed[user] += n
}

// claimed notes that jobs wait no more.
func (l *limit) claimed(jobs []job.Claimed) {
	for _, c := range jobs {
		l.add(c.Job.User, -1)
	}
}

// begin begins a count: what changes from here on is added to it.
func (l *limit) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.changed)
}

// waiting returns how many jobs wait, as far as is known; -1 when they are not counted.
func (l *limit) waiting() int {
	if l.none() {
		return -1
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.all, 0) // a retry that was claimed was never added
}

// counted takes in what a count has found.
func (l *limit) counted(users map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for user, n := range l.changed {
		users[user] += n
	}
	l.users, l.all = users, 0
	for _, n := range users {
		l.all += n
	}
}

// count keeps the limit in step with the store until ctx is done.
func (q *Queue) count(ctx context.Context) {
	if q.limit.none() {
		return
	}
	for {
		begun := time.Now()
		q.limit.begin()
		users, err := q.Store.Backlog(ctx)
		switch {
		case err == nil:
			q.limit.counted(users)
		case ctx.Err() == nil:
			q.Log.Warn("the jobs that wait could not be counted", "error", err)
		}
		next := time.NewTimer(max(countTime, countShare*time.Since(begun)))
		select {
		case <-next.C:
		case <-ctx.Done():
			next.Stop()
			return
		}
	}
}
