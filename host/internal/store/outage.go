package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// outageAfter is how long nothing may succeed before the database counts as away. One
// connection that breaks is no outage: others succeed, or the next heartbeat does.
const outageAfter = 2500 * time.Millisecond

// calm is how long the database has to be well before a moment in which it is not
// is worth a line again. Where some writes fail and others do not, as on a full disk,
// those who write have to speak for themselves.
const calm = time.Minute

// outage knows whether the database answers writes, and says once when it does not
// any more, and once when it does again: those who write need not say it each.
type outage struct {
	log      hclog.Logger
	after    time.Duration
	troubled atomic.Bool // since is set
	speaks   atomic.Bool // what fails now is said here

	mu     sync.Mutex
	since  time.Time // when the first write was begun that failed, since one succeeded; zero: none has
	cause  error     // of the last that failed
	said   bool
	blip   time.Time // when the last trouble was over that was no outage
	timer  *time.Timer
	closed bool
}

func newOutage(log hclog.Logger) *outage { return &outage{log: log, after: outageAfter} }

// note takes in what became of a write.
func (o *outage) note(begun time.Time, err error, failed bool) {
	if failed {
		o.fail(begun, err)
		return
	}
	left := errors.As(err, new(leftError)) || errors.Is(err, context.Canceled) || closed(err)
	if !left && o.troubled.Load() { // what the database refuses, it has answered
		o.recover()
	}
}

func (o *outage) fail(begun time.Time, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cause = err
	if !o.since.IsZero() || o.closed {
		return
	}
	o.since = begun
	o.troubled.Store(true)
	o.speaks.Store(time.Since(o.blip) > calm)
	o.timer = time.AfterFunc(o.after, func() { o.say(begun) })
}

// say says that the database is away, unless a write has succeeded since then.
func (o *outage) say(since time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since != since || o.said || o.closed {
		return
	}
	o.said = true
	o.speaks.Store(true)
	o.log.Error("the database is away: submissions are refused, jobs that run go on, and how they end is kept on disk until it is back", "error", o.cause)
}

func (o *outage) recover() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		return
	}
	took := time.Since(o.since).Round(time.Millisecond)
	switch {
	case o.said:
		o.log.Warn("the database is back", "away_for", took)
	case o.speaks.Load():
		o.log.Info("the database did not answer for a moment", "away_for", took, "error", o.cause)
	}
	if !o.said {
		o.blip = time.Now()
	}
	o.timer.Stop()
	o.since, o.said = time.Time{}, false
	o.troubled.Store(false)
	o.speaks.Store(false)
}

// away reports whether the database is known to be away.
func (o *outage) away() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.said
}

// close ends what is said.
func (o *outage) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	if o.timer != nil {
		o.timer.Stop()
	}
}

// closed reports whether an error is that of a store that was closed.
func closed(err error) bool { return errors.Is(err, errClosed) }
