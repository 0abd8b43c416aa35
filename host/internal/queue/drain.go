package queue

import (
	"context"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

const (
	// beginTime is what attempts that wait for their plugin have to begin once the
	// host stops.
	beginTime = 2 * time.Second
	// lateTime is how long after that an end which is spooled waits for the store.
	lateTime = 5 * time.Second
)

// drain waits until nothing runs here. Jobs that go on while the host restarts
// are left at once, and those that do not begin soon wait again; what still runs
// after the drain time is stopped. Once ctx is done the host has lost its right to
// run: what jobs do outside is not its own any more, and is left alone where
// another attempt can go on with it.
func (q *Queue) drain(ctx context.Context) {
	q.mu.Lock()
	q.draining = true
	signal(q.astir)
	for _, a := range q.running {
		if a.detach {
			a.stop(&pluginhost.Stop{Reason: pluginhost.StopDetach})
		}
	}
	q.mu.Unlock()
	defer time.AfterFunc(beginTime, q.sendBack).Stop()
	defer time.AfterFunc(lateTime, func() { close(q.late) }).Stop()
	ended := make(chan struct{})
	go func() {
		q.attempts.Wait()
		close(ended)
	}()
	wait := time.NewTimer(q.Drain)
	defer wait.Stop()
	select {
	case <-ended:
		return
	case <-ctx.Done():
	case <-q.Hurry:
	case <-wait.C:
	}
	why := &pluginhost.Stop{Reason: pluginhost.StopShutdown, Message: "the host was stopped while the job ran", Grace: q.Grace}
	if ctx.Err() != nil {
		why = &pluginhost.Stop{Reason: pluginhost.StopLeaseLost, Message: "the host has lost its right to run the job", Grace: q.Grace}
	}
	q.mu.Lock()
	q.Log.Info("what still runs is stopped because the host stops", "attempts", len(q.running), "reason", why.Reason)
	for _, a := range q.running {
		a.stop(why)
	}
	q.mu.Unlock()
	close(q.giveUp)
	<-ended
}

// drains reports whether the queue claims no more.
func (q *Queue) drains() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.draining
}

// sendBack stops attempts that no plugin has begun: their jobs wait for another
// host, or the next start of this one.
func (q *Queue) sendBack() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, a := range q.running {
		if !a.begun.Load() {
			a.stop(&pluginhost.Stop{Reason: pluginhost.StopShutdown, Message: "the host was stopped before the job began", Grace: q.Grace})
		}
	}
}
