package store

import (
	"context"
	"sync"
	"time"
)

// Bounds of one batch: of its members, and of what they weigh together.
const (
	batchCount = 1000
	batchBytes = 4 << 20
)

// combiner turns calls into batches without a timer: while one batch is
// written, what arrives gathers, and the next takes it all. A lone call is
// written at once. One batch is under way at a time: with two, batches are half
// as big, and it is their number that costs.
type combiner[In, Out any] struct {
	flush func(batch []*call[In, Out]) // sets out or err of each
	size  func(In) int                 // about how many bytes it weighs
	told  func(members int)            // is told of each batch; nil: nobody is
	// patience is how long a member waits for its batch to begin; then it fails, and
	// was not written. 0: for ever.
	patience time.Duration

	mu      sync.Mutex
	waiting []*call[In, Out]
	writing bool
	closed  bool
	done    sync.WaitGroup
}

// call is one member of a batch.
type call[In, Out any] struct {
	in    In
	out   Out
	err   error
	since time.Time
	done  chan struct{}
}

// do has in written in some batch and returns what became of it. When ctx ends
// first the caller stops waiting; the write may still happen.
func (c *combiner[In, Out]) do(ctx context.Context, in In) (Out, error) {
	var none Out
	if ctx.Err() != nil {
		return none, leftError{context.Cause(ctx)}
	}
	k := &call[In, Out]{in: in, since: time.Now(), done: make(chan struct{})}
	if !c.add(k) {
		return none, errClosed
	}
	select {
	case <-k.done:
		return k.out, k.err
	case <-ctx.Done():
		return none, leftError{context.Cause(ctx)}
	}
}

// leftError is why a caller stopped waiting.
type leftError struct{ error }

// Unwrap returns the cause.
func (e leftError) Unwrap() error { return e.error }

func (c *combiner[In, Out]) add(k *call[In, Out]) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.waiting = append(c.waiting, k)
	if !c.writing {
		c.writing = true
		c.done.Go(c.write)
	}
	return true
}

// write flushes batches until nothing waits.
func (c *combiner[In, Out]) write() {
	for batch := c.take(); batch != nil; batch = c.take() {
		if c.told != nil {
			c.told(len(batch))
		}
		c.flush(batch)
		for _, k := range batch {
			close(k.done)
		}
	}
}

// take returns the next batch, or nil when nothing waits: then the writer is to
// end.
func (c *combiner[In, Out]) take() []*call[In, Out] {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turnAway()
	if len(c.waiting) == 0 {
		c.waiting = nil
		c.writing = false
		return nil
	}
	n, bytes := 0, 0
	for n < min(len(c.waiting), batchCount) && (n == 0 || bytes < batchBytes) {
		bytes += c.size(c.waiting[n].in)
		n++
	}
	batch := c.waiting[:n:n]
	c.waiting = c.waiting[n:]
	return batch
}

// turnAway fails those that have waited for too long: those at the head. The caller
// holds the lock.
func (c *combiner[In, Out]) turnAway() {
	if c.patience == 0 {
		return
	}
	for len(c.waiting) > 0 && time.Since(c.waiting[0].since) > c.patience {
		c.waiting[0].err = errBusy
		close(c.waiting[0].done)
		c.waiting = c.waiting[1:]
	}
}

// close refuses new calls and returns when those that wait have been written.
func (c *combiner[In, Out]) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.done.Wait()
}

// isolate runs a batch so that a member that the database refuses does not fail
// the others: it halves the batch until the member stands alone. run sets what
// came out of each member; refused says whether an error is about the content of
// the batch, and that nothing of it was written.
func isolate[In, Out any](batch []*call[In, Out], run func([]*call[In, Out]) error, refused func(error) bool) {
	err := run(batch)
	if err == nil {
		return
	}
	if half := len(batch) / 2; half > 0 && refused(err) {
		isolate(batch[:half], run, refused)
		isolate(batch[half:], run, refused)
		return
	}
	for _, k := range batch {
		k.err = err
	}
}
