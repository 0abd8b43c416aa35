package jobs

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// lookEvery is the time between looks at a stream that somebody follows.
const lookEvery = 50 * time.Millisecond

// tails are the streams of attempts that run here and that somebody reads. However
// many read one, there is one open file and, once one of them follows it, one look
// at it at a time.
type tails struct {
	service *Service

	mu    sync.Mutex
	byKey map[tailKey]*tail
}

// open returns a reader of a stream. Newest has it look for the attempt that goes on
// with that one at this moment.
func (t *tails) open(k tailKey, newest bool) Log {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := t.byKey[k]
	if of == nil || of.isOver() && t.service.Queue.Attempt(k.id) == k.attempt { // it was looked at before it had begun
		of = &tail{service: t.service, key: k, at: k, news: make(chan struct{}), newest: newest}
		t.byKey[k] = of
	}
	of.readers++
	return &liveLog{tail: of, tails: t}
}

func (t *tails) close(of *tail) error {
	t.mu.Lock()
	of.readers--
	last := of.readers == 0
	if last && t.byKey[of.key] == of {
		delete(t.byKey, of.key)
	}
	t.mu.Unlock()
	if !last {
		return nil
	}
	return of.close()
}

// tail is a stream that may grow.
type tail struct {
	service *Service
	key     tailKey // that it was asked for by
	newest  bool
	readers int // guarded by tails.mu

	mu     sync.Mutex
	at     tailKey // where it is now: the attempt may have become another one
	source source  // nil until something was written
	size   int64   // at the last look
	over   bool    // nothing more will be written
	err    error   // why it cannot be read
	news   chan struct{}
	stop   context.CancelFunc // of the looks; nil: nobody follows it
	done   chan struct{}
}

// liveLog is one reader of a tail.
type liveLog struct {
	tail  *tail
	tails *tails
	once  sync.Once
	err   error
}

// ReadAt reads what was written; see io.ReaderAt.
func (l *liveLog) ReadAt(p []byte, offset int64) (int, error) {
	t := l.tail
	t.mu.Lock()
	err := t.open()
	source := t.source
	t.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if source == nil {
		return 0, io.EOF
	}
	return source.ReadAt(p, offset)
}

// Size returns how many bytes can be read now.
func (l *liveLog) Size() (int64, error) {
	t := l.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.open(); err != nil || t.source == nil {
		return 0, err
	}
	return t.sizeNow()
}

// Attempt is the one that writes the stream.
func (l *liveLog) Attempt() int {
	l.tail.mu.Lock()
	defer l.tail.mu.Unlock()
	return l.tail.at.attempt
}

// Place and Written change nothing: all of it is there.
func (l *liveLog) Place(written int64) int64 { return written }

// Written is like Place.
func (l *liveLog) Written(place int64) int64 { return place }

// Watch begins to look at the stream, and says what there is to wait for.
func (l *liveLog) Watch() (news <-chan struct{}, over bool) {
	t := l.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop == nil && !t.over {
		ctx, stop := context.WithCancel(context.Background())
		t.stop, t.done = stop, make(chan struct{})
		go t.watch(ctx)
	}
	return t.news, t.over
}

// Close gives the stream's resources free once nobody else reads it.
func (l *liveLog) Close() error {
	l.once.Do(func() { l.err = l.tails.close(l.tail) })
	return l.err
}

func (t *tail) close() error {
	t.mu.Lock()
	stop, done := t.stop, t.done
	t.mu.Unlock()
	if stop != nil {
		stop()
		<-done
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.source == nil {
		return nil
	}
	return t.source.Close()
}

// watch looks at the stream until it is over, or nobody reads it.
func (t *tail) watch(ctx context.Context) {
	defer close(t.done)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for t.look() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look tells readers what has changed. It reports whether more may come.
func (t *tail) look() bool {
	over := t.ended() // before the size is read: what came last is not missed
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.open()
	if err == nil && t.source != nil {
		var size int64
		if size, err = t.sizeNow(); err == nil && size != t.size {
			t.size = size
			t.tell()
		}
	}
	if err != nil || over {
		t.over = true
		t.tell()
	}
	return !t.over
}

// tell wakes all who wait. The caller holds t.mu.
func (t *tail) tell() {
	close(t.news)
	t.news = make(chan struct{})
}

// ended reports whether the attempt does not run any more, and no other one goes on
// with its stream.
func (t *tail) ended() bool {
	running := t.service.Queue.Attempt(t.key.id)
	t.mu.Lock()
	defer t.mu.Unlock()
	if running == t.at.attempt {
		return false
	}
	if running > t.at.attempt && t.source != nil {
		next := t.at
		next.attempt = running
		if t.service.carried(t.source, next) {
			t.at = next
			return false
		}
	}
	return true
}

// open finds the stream where it now is: in the folder of the attempt while that is
// there, and where it was kept when the attempt has ended before anybody looked. A
// file that was open before its folder went stays readable. The caller holds t.mu.
func (t *tail) open() error {
	if t.source != nil || t.err != nil || t.over {
		return t.err
	}
	t.source, t.err = t.service.live(t.at)
	if t.source != nil || t.err != nil {
		return t.err
	}
	switch running := t.service.Queue.Attempt(t.at.id); {
	case running == t.at.attempt:
	case running > t.at.attempt && t.newest: // it has just moved on
		next := t.at
		next.attempt = running
		if t.source, t.err = t.service.live(next); t.source != nil {
			t.at = next
		}
	default:
		ctx, cancel := context.WithTimeout(context.Background(), keptTime)
		defer cancel()
		kept, err := t.service.ended(ctx, t.at.id, t.at.stream, t.at.attempt, t.at.attempt)
		if l, ok := kept.(*endedLog); ok && err == nil { // else who reads it asks again
			t.source = l.source
		}
	}
	return t.err
}

// keptTime bounds how long the end of an attempt is looked up.
const keptTime = 5 * time.Second

// isOver reports whether nothing more is expected.
func (t *tail) isOver() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.over
}

// sizeNow returns the size of the open stream. The caller holds t.mu.
func (t *tail) sizeNow() (int64, error) {
	size, err := sizeOf(t.source)
	if err != nil {
		return 0, fmt.Errorf("read %s of job %s: %w", t.at.stream, t.at.id, err)
	}
	return size, nil
}
