package jobs

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

const (
	// pollEnds is the time between looks at jobs that somebody waits for, and
	// pollTime bounds one.
	pollEnds = time.Second
	pollTime = 5 * time.Second
	// soonEnds is after how long an end is looked for that may have come just before
	// others heard that it is awaited.
	soonEnds = 50 * time.Millisecond
	// mostDelay is how long those who wait for a job go on while the store is away.
	mostDelay = 30 * time.Second
)

// Wait blocks until the job has ended or ctx is done, and returns the job as it
// then is. That ctx is done is no error. It is errs.Unavailable when the end is
// not recorded half a minute after it came because the store is away, when the
// store is away for as long and the job is not known to run here, and when Serve
// returns first.
func (s *Service) Wait(ctx context.Context, id job.ID) (*job.Job, error) {
	end, expected := s.ends.watch(id)
	defer s.ends.release(id, end)
	if !s.Queue.Holds(id) && !closed(end.done) && s.Word.Await(id) {
		signal(s.soon) // Serve looks once what others were asked has reached them
	}
	if !expected { // it may have ended before anybody watched
		j, err := s.Store.Job(ctx, id)
		switch {
		case ctx.Err() != nil, errs.Is(err, errs.Unavailable): // Serve looks again
		case err != nil, j.Status.Final():
			return j, err
		}
	}
	select {
	case <-end.done:
		return end.job, end.err
	case <-ctx.Done():
		return s.Store.Job(context.WithoutCancel(ctx), id)
	case <-s.stopped:
	}
	select {
	case <-end.done:
		return end.job, end.err
	default:
		return nil, unrecorded(id, "the host stopped before the job's end was recorded; the job is not forgotten: ask for it by its id")
	}
}

func unrecorded(id job.ID, message string) error {
	return &errs.Error{Kind: errs.Unavailable, ID: string(id), Retry: 5 * time.Second, Message: message}
}

// Serve tells those who wait of ends that Ended is not told of, such as those of
// jobs that other hosts run, until ctx is done. Then nobody waits any more. It is
// called once.
func (s *Service) Serve(ctx context.Context) error {
	defer close(s.stopped)
	tick := time.NewTicker(pollEnds)
	defer tick.Stop()
	heard := time.Now() // from the store
	var soon <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if s.lookForEnds(ctx) {
				heard = time.Now()
			}
			s.stopWaits(heard)
		case <-s.soon:
			if soon == nil {
				soon = time.After(soonEnds)
			}
		case <-soon:
			soon = nil
			s.lookForEnds(ctx)
		case <-s.heard:
			s.publishSaid(ctx)
		}
	}
}

// lookForEnds publishes the ends that are recorded. What the store does not
// answer now is looked for again; then it returns false.
func (s *Service) lookForEnds(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	const most = 1000 // in one statement
	for ids := range slices.Chunk(s.ends.awaited(), most) {
		ended, err := s.Store.Ended(ctx, ids)
		if err != nil {
			return false
		}
		for _, id := range ended {
			if j, err := s.Store.Job(ctx, id); err == nil {
				s.ends.publish(j)
			}
		}
	}
	return true
}

// stopWaits tells those who have waited long enough for a store that is away.
func (s *Service) stopWaits(heard time.Time) {
	now := time.Now()
	for _, id := range s.ends.overdue(now) {
		s.ends.fail(id, unrecorded(id, "the job has ended, and that could not be recorded yet because the store is away; it is not forgotten: ask for the job by its id"))
	}
	if now.Sub(heard) < mostDelay {
		return
	}
	for _, id := range s.ends.awaited() {
		if !s.Queue.Holds(id) {
			s.ends.fail(id, unrecorded(id, "the store is away, so it is not known what became of the job; ask for it by its id"))
		}
	}
}

// Ended tells those who wait that a job has ended.
func (s *Service) Ended(j *job.Job) {
	if j.Status == job.Canceled && s.ends.watched(j.ID) {
		// Only the store knows whose wish to cancel was the first.
		if stored, err := s.Store.Job(context.Background(), j.ID); err == nil {
			j = stored
		}
	}
	s.ends.publish(j)
}

// Delayed bounds how long those who wait for a job go on: it has ended here, and
// the store is away.
func (s *Service) Delayed(id job.ID) { s.ends.delay(id, time.Now().Add(mostDelay)) }

// signal wakes whoever waits at a channel, now or next.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Look is what other hosts say of jobs that they were asked about: they have ended.
func (s *Service) Look(ids []job.ID) {
	s.mu.Lock()
	s.said = append(s.said, ids...)
	s.mu.Unlock()
	signal(s.heard)
}

// readers is how many jobs are read at once for those who wait.
const readers = 4

// publishSaid publishes the ends that others have told of.
func (s *Service) publishSaid(ctx context.Context) {
	s.mu.Lock()
	ids := s.said
	s.said = nil
	s.mu.Unlock()
	var group errgroup.Group
	group.SetLimit(readers)
	for _, id := range ids {
		if !s.ends.watched(id) {
			continue
		}
		group.Go(func() error {
			if j, err := s.Store.Job(ctx, id); err == nil && j.Status.Final() {
				s.ends.publish(j)
			}
			return nil
		})
	}
	_ = group.Wait()
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
