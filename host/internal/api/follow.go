package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
)

// lastAttempt is the trailer that says to another host which attempt wrote last: one
// that resumes the work of another may go on with its streams.
const lastAttempt = "X-Heimdall-Last-Attempt"

const (
	// firstPause and mostPause bound how long it takes until it is looked again
	// whether a job goes on that nobody runs at the moment.
	firstPause = 50 * time.Millisecond
	mostPause  = 500 * time.Millisecond
	// mostTrouble is how long the rest of a stream is tried to be had whose host does
	// not answer.
	mostTrouble = 10 * time.Second
)

// errCut says that a stream ends before its end.
var errCut = errors.New("the host stops")

// follower streams what a job writes, over all its attempts or of one.
type follower struct {
	h   *Handler
	x   *exchange
	r   logRequest // its attempt, once known, and offset say what comes next
	out streamer   // nil before the first answer
}

// streamer writes parts of streams to a client.
type streamer interface {
	// part writes bytes of an attempt from an offset on and returns how many it took:
	// all of the last ones, else it may want more first. Behind returns the offset
	// behind so many of them.
	part(attempt int, offset int64, b []byte, behind func(n int) int64, last bool) (n int, err error)
	// flush sends what was written.
	flush() error
	// end says how the job ended, or is when the attempt has.
	end(status job.Status) error
	// close gives what it has free.
	close() error
}

// follow streams a log until the job, or the attempt that is asked for, has ended,
// the client is gone, or the host stops.
func (h *Handler) follow(x *exchange, r logRequest) error {
	f := &follower{h: h, x: x, r: r}
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	defer context.AfterFunc(h.stopping, cancel)()
	err := f.run(ctx)
	if f.out != nil {
		if f.r.only && err == nil {
			x.Header().Set(http.TrailerPrefix+lastAttempt, strconv.Itoa(f.r.attempt))
		}
		err = errors.Join(err, f.out.close())
	}
	switch {
	case errors.Is(err, errCut) && !x.peer && f.out != nil: // who follows asks anew
		return nil
	case errors.Is(err, errCut):
		return errs.Errorf(errs.Unavailable, "the host is stopping")
	}
	return err
}

// run streams attempt after attempt.
func (f *follower) run(ctx context.Context) error {
	pause := firstPause
	var trouble time.Time // since when
	for {
		begun := f.r
		err := f.attempt(ctx)
		switch {
		case f.out == nil: // nothing was answered yet
			return err
		case ctx.Err() != nil:
			return errCut
		case err != nil && !errs.Is(err, errs.Unavailable):
			return err
		case f.x.r.Method == http.MethodHead:
			return nil
		case err == nil:
			trouble = time.Time{}
		case trouble.IsZero():
			trouble = time.Now()
		}
		if f.r != begun {
			pause = firstPause
		}
		j, lookErr := f.h.jobs.Get(ctx, f.r.id)
		switch {
		case ctx.Err() != nil:
			return errCut
		case lookErr != nil && !errs.Is(lookErr, errs.Unavailable):
			return lookErr
		case lookErr != nil: // the store is away: nothing is known
		case f.over(j) && err == nil:
			return f.out.end(j.Status)
		case f.over(j) && time.Since(trouble) > mostTrouble:
			return err
		case !f.r.only && j.Attempt > f.r.attempt && (err == nil || time.Since(trouble) > mostTrouble):
			f.r.attempt, f.r.offset = f.r.attempt+1, 0
			continue
		}
		if !sleep(ctx, pause) {
			return errCut
		}
		pause = min(2*pause, mostPause)
	}
}

// over reports whether there is nothing to come behind the attempt that is streamed.
func (f *follower) over(j *job.Job) bool {
	if f.r.only {
		return j.Status.Final() || j.Attempt > f.r.attempt || j.Attempt == f.r.attempt && j.HostID == ""
	}
	return j.Status.Final() && j.Attempt <= f.r.attempt
}

// attempt streams what there is of an attempt, and what comes until it ends.
func (f *follower) attempt(ctx context.Context) error {
	log, err := f.h.jobs.Log(ctx, f.r.id, f.r.stream, f.r.attempt)
	if e, ok := errors.AsType[*jobs.Elsewhere](err); ok {
		return f.remote(ctx, e)
	}
	if err != nil {
		return err
	}
	defer log.Close()
	f.r.attempt = log.Attempt()
	if f.r.tail >= 0 {
		size, err := log.Size()
		if err == nil {
			var place int64
			place, err = lastLines(log, size, f.r.tail)
			f.r.offset = log.Written(place)
		}
		if err != nil {
			return fmt.Errorf("last lines of %s of job %s: %w", f.r.stream, f.r.id, err)
		}
		f.r.tail = -1
	}
	if f.out == nil {
		if _, err := log.Size(); err != nil { // it says so before anything is answered
			return err
		}
	}
	if err := f.begin(); err != nil || f.x.r.Method == http.MethodHead {
		return err
	}
	return f.local(ctx, log)
}

// local streams a log of this host until it is over.
func (f *follower) local(ctx context.Context, log jobs.Log) error {
	block := make([]byte, blockSize)
	at := log.Place(f.r.offset)
	behind := func(n int) int64 { return log.Written(at + int64(n)) }
	for {
		news, over := log.Watch()
		size, err := log.Size()
		if err != nil {
			return err
		}
		wrote := false
		for at < size {
			n, err := log.ReadAt(block[:min(int64(len(block)), size-at)], at)
			if n == 0 {
				if err != nil && !errors.Is(err, io.EOF) {
					return err
				}
				break
			}
			n, err = f.out.part(f.r.attempt, f.r.offset, block[:n], behind, over && at+int64(n) == size)
			at += int64(n)
			f.r.offset = log.Written(at)
			if err != nil {
				return err
			}
			if n == 0 {
				break // it wants more
			}
			wrote = true
		}
		if wrote {
			if err := f.out.flush(); err != nil {
				return err
			}
		}
		f.r.attempt = log.Attempt()
		if over {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// remote streams a log of another host until that ends it.
func (f *follower) remote(ctx context.Context, e *jobs.Elsewhere) error {
	if f.h.peers == nil || f.x.peer {
		return e.Unavailable()
	}
	answer, err := f.h.peers.Ask(ctx, e.Host, f.x.user, http.MethodGet, f.r.query(e.Attempt), http.Header{requestID: {f.x.name}})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return refused(e, answer)
	}
	f.r.attempt = e.Attempt
	if at, err := strconv.ParseInt(answer.Header.Get(offsetHeader), 10, 64); err == nil {
		f.r.offset, f.r.tail = at, -1
	}
	if err := f.begin(); err != nil || f.x.r.Method == http.MethodHead {
		return err
	}
	block := make([]byte, blockSize)
	behind := func(n int) int64 { return f.r.offset + int64(n) }
	held := 0 // bytes at its begin that wait for more
	for {
		n, err := answer.Body.Read(block[held:])
		held += n
		used, writeErr := f.out.part(f.r.attempt, f.r.offset, block[:held], behind, err != nil)
		f.r.offset += int64(used)
		held = copy(block, block[used:held])
		if writeErr != nil {
			return writeErr
		}
		if used > 0 {
			if err := f.out.flush(); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return &errs.Error{
				Kind: errs.Unavailable, ID: string(f.r.id), Retry: retryElsewhere, Err: err,
				Message: fmt.Sprintf("host %s, which has this, has stopped answering", e.Host),
			}
		}
	}
	if n, err := strconv.Atoi(answer.Trailer.Get(lastAttempt)); err == nil {
		f.r.attempt = n
	}
	return nil
}

// begin begins the answer, once.
func (f *follower) begin() error {
	if f.out != nil {
		return nil
	}
	x := f.x
	beginText(x, f.r.attempt, f.r.offset)
	x.Header().Set("X-Accel-Buffering", "no") // proxies that know it pass it on at once
	if f.r.events {
		x.Header().Set("Content-Type", eventsType)
		x.Header().Set("Cache-Control", "no-store")
		f.out = newEvents(x)
	} else {
		f.out = plain{newPatient(x)}
	}
	x.WriteHeader(http.StatusOK)
	return f.out.flush() // the client learns at once that there is a log
}

// plain writes streams as they are.
type plain struct{ *patient }

func (p plain) part(_ int, _ int64, b []byte, _ func(int) int64, _ bool) (int, error) {
	return p.Write(b)
}

func (p plain) flush() error         { return p.Flush() }
func (p plain) end(job.Status) error { return nil }
func (p plain) close() error         { return p.Close() }

// sleep waits; false when ctx is done first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
