package pluginhost

import (
	"context"
	"sync"
	"time"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

const (
	ackDelay    = 100 * time.Millisecond
	ackBatch    = 256
	ackMax      = 16 << 10 // kept for a process that does not take them
	ackDeadline = 2 * time.Second
)

// acks gathers acknowledgements for one process and sends many at once, off the
// path of the attempts.
type acks struct {
	process *process
	some    chan struct{} // there is one
	now     chan struct{} // they must not wait

	mu      sync.Mutex
	pending []*pluginpb.AckedAttempt
}

// start begins to send; it ends with the process.
func (a *acks) start(p *process) {
	a.process = p
	a.some = make(chan struct{}, 1)
	a.now = make(chan struct{}, 1)
	p.wait.Go(a.serve)
}

func (a *acks) serve() {
	timer := time.NewTimer(ackDelay)
	defer timer.Stop()
	for {
		select {
		case <-a.some:
		case <-a.process.gone:
			return
		case <-a.process.child.exited:
			return
		}
		timer.Reset(ackDelay)
		select {
		case <-timer.C:
		case <-a.now:
		case <-a.process.gone:
		case <-a.process.child.exited:
			return
		}
		a.flush(context.Background())
	}
}

// add says that the events of an attempt are durable up to this number. Urgent
// is what somebody in the plugin waits for.
func (a *acks) add(attempt string, event uint64, urgent bool) {
	a.mu.Lock()
	a.pending = append(a.pending, &pluginpb.AckedAttempt{AttemptId: attempt, Event: event})
	n := len(a.pending)
	a.mu.Unlock()
	if n == 1 || urgent {
		poke(a.some)
	}
	if n >= ackBatch || urgent {
		poke(a.now)
	}
}

// flush sends what is pending. What the process did not take is tried again
// with the next batch.
func (a *acks) flush(ctx context.Context) {
	a.mu.Lock()
	batch := a.pending
	a.pending = nil
	a.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ackDeadline)
	defer cancel()
	_, err := a.process.commands.Ack(ctx, &pluginpb.AckRequest{Attempts: batch})
	if err == nil || unimplemented(err) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending = append(batch, a.pending...)
	a.pending = a.pending[max(len(a.pending)-ackMax, 0):]
	poke(a.some)
}

// poke wakes whoever waits on c, now or next.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
