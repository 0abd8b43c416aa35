package queue_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/spool"
	"github.com/heimdall-run/heimdall/host/internal/store/memstore"
)

// open opens the spool in a folder.
func open(t *testing.T, folder string) *spool.Spool {
	t.Helper()
	s, err := spool.Open(spool.Config{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ends(t *testing.T, folder string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, "ends"))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// An end is on disk as soon as the store does not take it, or takes its time, and
// only until it does.
func TestEndIsSpooledWhileTheStoreIsAway(t *testing.T) {
	for name, tt := range map[string]struct {
		away   func(f *fixture) (back func())
		spools time.Duration
	}{
		"it is away": {func(f *fixture) func() {
			f.away(true)
			return func() { f.away(false) }
		}, 0},
		"it does not answer": {func(f *fixture) func() {
			held := make(chan struct{})
			f.way.Befall(func(call string) (fault memstore.Fault) {
				if call == "End" {
					fault.Before = memstore.Until(held)
				}
				return fault
			})
			return func() { close(held) }
		}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := open(t, folder)
				f := fixtureOf(t, 1)
				f.Spool = s
				f.serve()
				synctest.Wait()
				id := submit(t, f, "1s")
				synctest.Wait()
				back := tt.away(f)
				time.Sleep(time.Second + tt.spools - time.Millisecond)
				if got := ends(t, folder); len(got) > 0 {
					t.Errorf("%d bytes were spooled too early", len(got))
				}
				time.Sleep(2 * time.Millisecond)
				synctest.Wait()
				if got := ends(t, folder); len(got) == 0 || len(f.delayed) == 0 {
					t.Errorf("spooled %d bytes and told of %d delays, want some", len(got), len(f.delayed))
				}
				back()
				time.Sleep(10 * time.Second)
				if err := f.stop(); err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if got := f.job(id).Status; got != job.Succeeded || len(ends(t, folder)) > 0 {
					t.Errorf("status = %q with %d bytes left, want SUCCEEDED and nothing", got, len(ends(t, folder)))
				}
			})
		})
	}
}

// again is a job that is tried twice, when its first attempt ends in one of the
// classes.
func again(on ...job.Class) *job.Job {
	j := newJob("1h")
	j.Retry = &job.Retry{Attempts: 2, Backoff: time.Hour, On: on}
	return j
}

// The end of a job, of an attempt that is retried and one that never began are
// recorded by the next life of a host that could not record them, before it looks
// for what it has lost.
func TestNextLifeRecordsTheSpool(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, folder)
		f := fixtureOf(t, 3)
		f.Spool = s
		f.serve()
		retry := again(job.Lost)
		if err := f.Submit(t.Context(), retry); err != nil {
			t.Fatal(err)
		}
		ended := submit(t, f, "1s")
		synctest.Wait()
		f.runner.begins = time.Hour
		unbegun := submit(t, f, "1h")
		synctest.Wait()
		f.away(true)
		time.Sleep(5 * time.Second) // its right to run is not over yet
		close(f.hurry)
		begun := time.Now()
		if err := f.stop(); err != nil || time.Since(begun) > time.Minute {
			t.Fatalf("Serve = %v after %v, want no error soon", err, time.Since(begun))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}

		s = open(t, folder)
		next := f.next()
		next.Spool = s
		next.serve()
		time.Sleep(time.Minute) // the store is still away
		synctest.Wait()
		for _, id := range []job.ID{retry.ID, ended, unbegun} {
			if got := next.job(id).Status; got == job.New || got.Final() {
				t.Errorf("status = %q while the store is away, want that it is leased still", got)
			}
		}
		next.away(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := next.job(ended).Status; got != job.Succeeded {
			t.Errorf("status = %q, want SUCCEEDED", got)
		}
		if j := next.job(retry.ID); j.Retries != 1 || j.Attempt != 2 {
			t.Errorf("retried %d times, in attempt %d, want its second one at once: it is not the job's fault", j.Retries, j.Attempt)
		}
		if j := next.job(unbegun); j.Attempt != 1 || !slices.Contains(next.runner.order, unbegun) {
			t.Errorf("in attempt %d of %v, want the first one once more", j.Attempt, next.runner.order)
		}
		if len(next.left) != 3 {
			t.Errorf("told of %v, want all three", next.left)
		}
		close(next.hurry)
		if err := errors.Join(next.stop(), s.Close()); err != nil {
			t.Fatal(err)
		}
		if got := ends(t, folder); len(got) > 0 {
			t.Errorf("%d bytes are left in the spool, want none", len(got))
		}
	})
}

// An end whose lease is gone by then is dropped.
func TestSpooledEndThatIsRefused(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, folder)
		if _, err := s.Put(spool.Record{End: job.End{Lease: job.Lease{JobID: job.NewID()}, Outcome: job.Outcome{Status: job.Succeeded}}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, folder)
		f := fixtureOf(t, 1)
		f.Spool = s
		f.serve()
		time.Sleep(time.Second)
		if err := errors.Join(f.stop(), s.Close()); err != nil {
			t.Fatal(err)
		}
		if len(ends(t, folder)) > 0 || len(f.left) > 0 {
			t.Errorf("spool = %q, told of %v, want neither", ends(t, folder), f.left)
		}
	})
}

// A host that stops does not begin what it has claimed: those jobs wait again, as
// if they had not been claimed. What runs has its time.
func TestDrainGivesBackWhatHasNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 2)
		running := submit(t, f, "20s")
		synctest.Wait()
		f.runner.begins = time.Hour
		waits := submit(t, f, "1s")
		synctest.Wait()
		begun := time.Now()
		f.cancel()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if j := f.job(waits); j.Status != job.New || j.Attempt != 0 {
			t.Errorf("the job that had not begun is %s in attempt %d, want that it waits for its first", j.Status, j.Attempt)
		}
		if err := f.stop(); err != nil || time.Since(begun) != 20*time.Second {
			t.Errorf("Serve = %v after %v, want no error after the 20s of the other", err, time.Since(begun))
		}
		if got := f.job(running).Status; got != job.Succeeded {
			t.Errorf("the running job is %q, want SUCCEEDED", got)
		}
		if got := f.job(waits).Status; got != job.New || f.ended[waits] != nil {
			t.Errorf("the job that had not begun is %q, want it to wait", got)
		}
	})
}

// What a drain stops that may be retried is retried at once; anything else is
// killed.
func TestDrainRetriesWhatMayBeRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serve(t, 3)
		lost, transient := again(job.Lost), again(job.Transient)
		for _, j := range []*job.Job{lost, transient} {
			if err := f.Submit(t.Context(), j); err != nil {
				t.Fatal(err)
			}
		}
		none := submit(t, f, "1h")
		synctest.Wait()
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if j := f.job(lost.ID); j.Status != job.New || j.Retries != 1 || j.DueAt.After(time.Now()) {
			t.Errorf("the job that may be retried is %s after %d retries, due at %v, want that it waits for no time", j.Status, j.Retries, j.DueAt)
		}
		for _, id := range []job.ID{transient.ID, none} {
			if got := f.job(id); got.Status != job.Killed || got.Error.Class != job.Shutdown {
				t.Errorf("end = %+v, want killed for shutdown", got)
			}
		}
	})
}

// A host whose store goes away while it starts waits for that.
func TestStoreIsAwayAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixtureOf(t, 1)
		known := f.leave(left{status: job.Running, fate: pluginhost.Known})
		f.away(true)
		f.serve()
		time.Sleep(time.Minute)
		if f.resumed > 0 {
			t.Error("it took over what it ran before without having asked for that")
		}
		f.away(false)
		time.Sleep(20 * time.Second)
		if got := f.job(known).Status; got != job.Succeeded {
			t.Errorf("what it ran before is %q, want SUCCEEDED", got)
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
