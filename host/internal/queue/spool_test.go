package queue_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/spool"
)

var errAway = errs.Errorf(errs.Unavailable, "away")

// withSpool gives a store a spool in a folder.
func withSpool(t *testing.T, m *memory, folder string) *spool.Spool {
	t.Helper()
	s, err := spool.Open(spool.Config{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	m.spool = s
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
		away   func(m *memory)
		spools time.Duration
	}{
		"it is away":         {func(m *memory) { m.away = errAway }, 0},
		"it does not answer": {func(m *memory) { m.stuck = make(chan struct{}) }, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				s := withSpool(t, m, folder)
				f := serve(t, 1, m)
				id := submit(t, f, "1s")
				m.set(func() { tt.away(m) })
				time.Sleep(time.Second + tt.spools - time.Millisecond)
				if got := ends(t, folder); len(got) > 0 {
					t.Errorf("%d bytes were spooled too early", len(got))
				}
				time.Sleep(2 * time.Millisecond)
				synctest.Wait()
				if got := ends(t, folder); len(got) == 0 || len(f.delayed) == 0 {
					t.Errorf("spooled %d bytes and told of %d delays, want some", len(got), len(f.delayed))
				}
				m.set(func() {
					m.away = nil
					if m.stuck != nil {
						close(m.stuck)
						m.stuck = nil
					}
				})
				time.Sleep(10 * time.Second)
				if err := f.stop(); err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if got := m.end(id).Status; got != job.Succeeded || len(ends(t, folder)) > 0 {
					t.Errorf("status = %q with %d bytes left, want SUCCEEDED and nothing", got, len(ends(t, folder)))
				}
			})
		})
	}
}

// The end of a job, of an attempt that is retried and one that never began are
// recorded by the next life of a host that could not record them, before it looks
// for what it has lost.
func TestNextLifeRecordsTheSpool(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := withSpool(t, m, folder)
		f := fixtureOf(t, 3, m)
		f.Epoch = thisEpoch - 1
		f.serve()
		retry := &job.Job{ID: job.NewID(), Request: job.Request{
			Description: "1h", Retry: &job.Retry{Attempts: 2, Backoff: time.Hour, On: []job.Class{job.Lost}},
		}}
		if err := f.Submit(t.Context(), retry); err != nil {
			t.Fatal(err)
		}
		ended := submit(t, f, "1s")
		synctest.Wait()
		f.runner.begins = time.Hour
		unbegun := submit(t, f, "1h")
		synctest.Wait()
		m.set(func() { m.away = errAway })
		time.Sleep(10 * time.Second)
		close(f.hurry)
		begun := time.Now()
		if err := f.stop(); err != nil || time.Since(begun) > time.Minute {
			t.Fatalf("Serve = %v after %v, want no error soon", err, time.Since(begun))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}

		s = withSpool(t, m, folder)
		for _, id := range []job.ID{retry.ID, ended, unbegun} {
			m.adopted = append(m.adopted, job.Claimed{Job: m.leased[id], Lease: job.Lease{JobID: id}})
		}
		next := serve(t, 3, m)
		time.Sleep(time.Minute) // the store is still away
		synctest.Wait()
		if len(m.ends) > 0 {
			t.Errorf("ends = %v while the store is away, want none", m.ends)
		}
		m.adopted = nil // what is recorded is not there to adopt
		m.set(func() { m.away = nil })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := m.end(ended).Status; got != job.Succeeded || m.early != 1 {
			t.Errorf("status = %q, %d ends of the earlier life, want SUCCEEDED by one", got, m.early)
		}
		if due, again := m.retried[retry.ID]; !again || due.After(time.Now()) {
			t.Errorf("retried at %v, %v, want at once: it is not the job's fault", due, again)
		}
		if !slices.Equal(m.given, []job.ID{unbegun}) || next.runner.order[0] != unbegun {
			t.Errorf("given back = %v and run = %v, want %v in both", m.given, next.runner.order, unbegun)
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
		m := newMemory()
		s := withSpool(t, m, folder)
		if _, err := s.Put(spool.Record{End: job.End{Lease: job.Lease{JobID: "gone"}, Outcome: job.Outcome{Status: job.Succeeded}}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = withSpool(t, m, folder)
		f := serve(t, 1, m)
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
		f := serve(t, 2, newMemory())
		running := submit(t, f, "20s")
		synctest.Wait()
		f.runner.begins = time.Hour
		waits := submit(t, f, "1s")
		synctest.Wait()
		begun := time.Now()
		f.cancel()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if !slices.Equal(f.store.given, []job.ID{waits}) {
			t.Errorf("given back = %v, want %v", f.store.given, waits)
		}
		if err := f.stop(); err != nil || time.Since(begun) != 20*time.Second {
			t.Errorf("Serve = %v after %v, want no error after the 20s of the other", err, time.Since(begun))
		}
		if got := f.store.end(running).Status; got != job.Succeeded {
			t.Errorf("the running job is %q, want SUCCEEDED", got)
		}
		if got := f.store.end(waits).Status; got != "" || f.ended[waits] != nil {
			t.Errorf("the job that had not begun is %q, want it to wait", got)
		}
	})
}

// What a drain stops that may be retried is retried at once; anything else is
// killed.
func TestDrainRetriesWhatMayBeRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		f := serve(t, 3, m)
		submitRetry := func(on ...job.Class) job.ID {
			j := &job.Job{ID: job.NewID(), Request: job.Request{Description: "1h", Retry: &job.Retry{Attempts: 2, Backoff: time.Hour, On: on}}}
			if err := f.Submit(t.Context(), j); err != nil {
				t.Fatal(err)
			}
			return j.ID
		}
		lost, transient, none := submitRetry(job.Lost), submitRetry(job.Transient), submit(t, f, "1h")
		synctest.Wait()
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if due, again := m.retried[lost]; !again || due.After(time.Now()) || m.end(lost).Status != "" {
			t.Errorf("retried at %v, %v, and is %q, want at once", due, again, m.end(lost).Status)
		}
		for _, id := range []job.ID{transient, none} {
			if got := m.end(id); got.Status != job.Killed || got.Error.Class != job.Shutdown {
				t.Errorf("end = %+v, want killed for shutdown", got)
			}
		}
	})
}
