package jobs_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// The end of a job that its submitter waits for is never missed and costs no
// read, however soon it comes.
func TestWaitAfterSubmit(t *testing.T) {
	for name, end := range map[string]func(*jobs.Service, *job.Job){
		"it ends before the wait begins": func(s *jobs.Service, j *job.Job) { s.Ended(ended(j)) },
		"it ends later": func(s *jobs.Service, j *job.Job) {
			go func() { time.Sleep(300 * time.Millisecond); s.Ended(ended(j)) }()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{}
				s := service(w)
				w.onSubmit = func(j *job.Job) { end(s, j) }
				j, err := s.Submit(t.Context(), "alice", job.Request{CommandCriteria: tag.New("t")}, jobs.WaitIfSync, "")
				if err != nil {
					t.Fatal(err)
				}
				got, err := s.Wait(t.Context(), j.ID)
				if err != nil || got.Status != job.Succeeded {
					t.Errorf("Wait = %+v, %v", got, err)
				}
				if w.reads != 0 {
					t.Errorf("waiting cost %d reads, want none", w.reads)
				}
			})
		})
	}
}

func TestWaitForWhatOthersDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		s := serve(t, w)
		j := &job.Job{ID: job.NewID(), Status: job.Running}
		w.put(j)

		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		if got, err := s.Wait(ctx, j.ID); err != nil || got.Status != job.Running {
			t.Errorf("Wait = %+v, %v, want the job as it is", got, err)
		}
		go func() { time.Sleep(10 * time.Second); w.put(ended(j)) }() // on another host
		begun := time.Now()
		got, err := s.Wait(t.Context(), j.ID)
		if err != nil || got.Status != job.Succeeded || time.Since(begun) > 12*time.Second {
			t.Errorf("Wait = %+v, %v after %v", got, err, time.Since(begun))
		}
		if got, err := s.Wait(t.Context(), j.ID); err != nil || got.Status != job.Succeeded {
			t.Errorf("Wait for an ended job = %+v, %v", got, err)
		}
		if _, err := s.Wait(t.Context(), job.NewID()); !errs.Is(err, errs.NotFound) {
			t.Errorf("Wait for nothing = %v, want not found", err)
		}
	})
}

// A wait outlasts the time that the store is away.
// Who waits for a job that does not run here has other hosts asked, and is answered
// as soon as they say that it has ended, or it is seen that it had before they knew.
func TestWaitAsksOtherHosts(t *testing.T) {
	for name, said := range map[string]bool{"they say so": true, "they did not know in time": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{company: true}
				s := serve(t, w)
				j := &job.Job{ID: job.NewID(), Status: job.New}
				w.put(j)
				waited := make(chan *job.Job)
				go func() {
					got, _ := s.Wait(t.Context(), j.ID)
					waited <- got
				}()
				if said {
					time.Sleep(300 * time.Millisecond)
				}
				synctest.Wait()
				begun := time.Now()
				w.put(ended(j))
				if said {
					s.Look([]job.ID{j.ID})
				}
				got := <-waited
				if took := time.Since(begun); got.Status != job.Succeeded || said && took > 0 || took > 50*time.Millisecond {
					t.Errorf("%s after %v, want SUCCEEDED soon", got.Status, took)
				}
				if !slices.Equal(w.awaited, []job.ID{j.ID}) {
					t.Errorf("others were asked of %v, want %v", w.awaited, j.ID)
				}
			})
		})
	}
}

func TestWaitWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{away: errs.Errorf(errs.Unavailable, "away")}
		s := serve(t, w)
		j := &job.Job{ID: job.NewID(), Status: job.Running}
		go func() {
			time.Sleep(5 * time.Second)
			w.put(ended(j))
			w.mu.Lock()
			w.away = nil
			w.mu.Unlock()
		}()
		if got, err := s.Wait(t.Context(), j.ID); err != nil || got.Status != job.Succeeded {
			t.Errorf("Wait = %+v, %v", got, err)
		}
	})
}

// A wait for an end that cannot be recorded, and for a job of which nothing is
// known while the store is away, comes to an end; one for a job that runs here goes
// on. The answer names the job.
func TestWaitIsBoundedWhileTheStoreIsAway(t *testing.T) {
	for name, tt := range map[string]struct {
		runsHere time.Duration // and then its end is not recorded
		within   time.Duration
	}{
		"it ran elsewhere":                 {0, 32 * time.Second},
		"it runs here, and ends at once":   {time.Second, 33 * time.Second},
		"it runs here for another minute":  {time.Minute, 92 * time.Second},
		"it runs here for another 2 hours": {2 * time.Hour, 2*time.Hour + 32*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{}
				s := serve(t, w)
				j, err := s.Submit(t.Context(), "alice", job.Request{CommandCriteria: tag.New("t")}, jobs.WaitIfSync, "")
				if err != nil {
					t.Fatal(err)
				}
				w.mu.Lock()
				w.away = errs.Errorf(errs.Unavailable, "away")
				if tt.runsHere > 0 {
					w.holds = j.ID
				}
				w.mu.Unlock()
				if tt.runsHere > 0 {
					go func() {
						time.Sleep(tt.runsHere)
						for range 4 {
							s.Delayed(j.ID)
							time.Sleep(5 * time.Second)
						}
					}()
				}
				begun := time.Now()
				_, err = s.Wait(t.Context(), j.ID)
				e, ok := errors.AsType[*errs.Error](err)
				if !ok || e.Kind != errs.Unavailable || e.ID != string(j.ID) || e.Retry == 0 {
					t.Errorf("Wait = %+v, want unavailable with the id and when to come again", err)
				}
				if took := time.Since(begun); took < tt.within-4*time.Second || took > tt.within {
					t.Errorf("Wait took %v, want about %v", took, tt.within)
				}
				if tt.runsHere > 0 { // one that comes later waits as long
					later := time.Now()
					go func() { time.Sleep(time.Second); s.Delayed(j.ID) }()
					if _, err := s.Wait(t.Context(), j.ID); !errs.Is(err, errs.Unavailable) || time.Since(later) < 29*time.Second {
						t.Errorf("Wait once more = %v after %v, want unavailable after half a minute", err, time.Since(later))
					}
				}
			})
		})
	}
}

// However many wait, the store is asked once in a while for all of them.
func TestManyWaitersCostFewReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		s := serve(t, w)
		const waiters = 1000
		var submitted []*job.Job
		var all sync.WaitGroup
		for range waiters {
			j, err := s.Submit(t.Context(), "alice", job.Request{CommandCriteria: tag.New("t")}, jobs.WaitAlways, "")
			if err != nil {
				t.Fatal(err)
			}
			submitted = append(submitted, j)
			all.Go(func() {
				if got, err := s.Wait(t.Context(), j.ID); err != nil || got.Status != job.Succeeded {
					t.Errorf("Wait = %+v, %v", got, err)
				}
			})
		}
		time.Sleep(time.Minute + time.Millisecond)
		w.mu.Lock()
		if w.reads != 0 || w.looks != 60 {
			t.Errorf("reads, looks = %d, %d in a minute, want 0 and 60", w.reads, w.looks)
		}
		w.mu.Unlock()
		for _, j := range submitted {
			w.put(ended(j)) // on another host
		}
		all.Wait()
	})
}

// Whoever waits for a job that will not end here any more is told so, with its
// id, and not cut off.
func TestWaitEndsWithTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		s := service(w)
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- s.Serve(ctx) }()
		j, err := s.Submit(t.Context(), "alice", job.Request{CommandCriteria: tag.New("t")}, jobs.WaitAlways, "")
		if err != nil {
			t.Fatal(err)
		}
		waited := make(chan error)
		go func() {
			_, err := s.Wait(t.Context(), j.ID)
			waited <- err
		}()
		synctest.Wait()
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		e, ok := errors.AsType[*errs.Error](<-waited)
		if !ok || e.Kind != errs.Unavailable || e.ID != string(j.ID) {
			t.Errorf("Wait = %+v, want unavailable with the id", e)
		}
	})
}

func TestWaitersHearOfACanceledWaitingJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		s := service(w)
		j, err := s.Submit(t.Context(), "alice", job.Request{CommandCriteria: tag.New("t")}, jobs.WaitAlways, "")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if status, err := s.Cancel(t.Context(), "bob", j.ID, jobs.ByUser); err != nil || status != job.Canceled {
				t.Errorf("Cancel = %s, %v", status, err)
			}
		}()
		begun := time.Now()
		got, err := s.Wait(t.Context(), j.ID)
		if err != nil || got.CanceledBy != "bob" || time.Since(begun) != 0 {
			t.Errorf("Wait = %+v, %v after %v", got, err, time.Since(begun))
		}
	})
}
