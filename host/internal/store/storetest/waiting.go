package storetest

import (
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

func wantWaiting(t testing.TB, db Store, what string, id job.ID, want *job.Wait) {
	t.Helper()
	got, err := db.Waiting(t.Context(), id)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	wantSame(t, what, got, want)
}

func testWaiting(t *testing.T, db Store) {
	h := register(t, db, "a")
	h.lanes = true
	j := onCluster(0, "ping-1", "local-1", "ann")
	h.wait(t, j)
	reason := func(what string, want job.Reason) {
		t.Helper()
		wantWaiting(t, db, what, j.ID, &job.Wait{Reason: want})
	}
	reason("first in the queue", job.NoFreeSlot)

	before := onCluster(1, "ping-1", "local-1", "bob")
	before.Priority = 1
	h.wait(t, before)
	wantWaiting(t, db, "behind another", j.ID, &job.Wait{Reason: job.Queued, Ahead: 1})
	h.claim(t, 1)
	wantWaiting(t, db, "a job that was claimed", before.ID, nil)
	wantWaiting(t, db, "a job that is not", job.NewID(), nil)
	if _, err := db.Waiting(t.Context(), "x"); !errs.Is(err, errs.Invalid) {
		t.Errorf("an id that is none: got error %v", err)
	}

	for _, c := range []struct {
		want job.Reason
		caps store.Caps
	}{
		{job.CommandLimit, store.Caps{Commands: map[string]int{"ping-1": 1}}},
		{job.ClusterLimit, store.Caps{Clusters: map[string]int{"local-1": 1}}},
		{job.NoFreeSlot, store.Caps{User: 1}}, // it is bob who runs one
		{job.NoFreeSlot, store.Caps{Commands: map[string]int{"ping-1": 2}, Clusters: map[string]int{"local-2": 1}}},
	} {
		setCaps(t, db, c.caps)
		reason("with caps", c.want)
	}
	setCaps(t, db, store.Caps{User: 1})
	second := onCluster(2, "ping-1", "local-1", "bob")
	h.wait(t, second)
	wantWaiting(t, db, "with a cap of its user", second.ID, &job.Wait{Reason: job.UserLimit, Ahead: 1})

	h.beat(t, time.Hour, store.Full)
	reason("without a host that has room", job.NoRoom)
	other := register(t, db, "other")
	if err := db.SetCommands(t.Context(), other.id, []string{"shell-1"}); err != nil {
		t.Fatal(err)
	}
	reason("with room only where it cannot run", job.NoRoom)
	if err := db.SetCommands(t.Context(), other.id, []string{"ping-1"}); err != nil {
		t.Fatal(err)
	}
	reason("with room on another host", job.NoFreeSlot)
	other.beat(t, time.Hour, store.Full)
	reason("without room on either", job.NoRoom)
	other.beat(t, -time.Second, store.Live)
	reason("with room on a host that was lost", job.NoRoom)
	h.beat(t, time.Hour, store.Live)
	reason("with room again", job.NoFreeSlot)

	if err := db.SetCommands(t.Context(), h.id, []string{"shell-1"}); err != nil {
		t.Fatal(err)
	}
	reason("without a host that can", job.NoPlugin)
	if _, err := db.Heartbeat(t.Context(), h.id, h.epoch, -time.Second, store.Live); err != nil {
		t.Fatal(err)
	}
	reason("without a host that runs", job.NoHost)
	register(t, db, "b")
	reason("with another host", job.NoFreeSlot)

	at := time.Now().UTC().Add(time.Hour).Truncate(time.Microsecond)
	later := change(3, func(j *job.Job) { j.StartAfter = at })
	h.submit(t, later, false)
	wantWaiting(t, db, "a job that is to start later", later.ID, &job.Wait{Reason: job.Scheduled, Until: at})
}

func testAhead(t *testing.T, db Store) {
	h := register(t, db, "a")
	var all []*job.Job
	for i := range 12 {
		j := ofUser(i, []string{"ann", "ann", "bob"}[i%3])
		j.Priority = i % 2
		all = append(all, j)
	}
	h.wait(t, all...)
	// The place that is told is the order of claims.
	places := map[job.ID]int{}
	for _, j := range all {
		w, err := db.Waiting(t.Context(), j.ID)
		if err != nil {
			t.Fatal(err)
		}
		places[j.ID] = w.Ahead
	}
	for i, c := range h.claim(t, len(all)) {
		if got := places[c.Job.ID]; got != i {
			t.Errorf("ahead of the job that is claimed after %d others: got %d", i, got)
		}
	}
}

func testBacklog(t *testing.T, db Store) {
	h := register(t, db, "a")
	count := func(what string, want map[string]int) {
		t.Helper()
		got, err := db.Backlog(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, what, got, want)
	}
	count("nothing waits", map[string]int{})
	h.wait(t, ofUser(0, "ann"), ofUser(1, "bob"), ofUser(2, "ann"))
	later := ofUser(3, "ann")
	later.StartAfter = time.Now().Add(time.Hour)
	h.submit(t, later, false)
	count("some wait", map[string]int{"ann": 3, "bob": 1})
	h.claim(t, 2)
	count("the rest", map[string]int{"ann": 2})
}

func testAttempts(t *testing.T, db Store) {
	h := register(t, db, "a")
	j := newJob(0)
	l := h.lease(t, j)
	attempts := func() []job.Attempt {
		t.Helper()
		attempts, err := db.Attempts(t.Context(), j.ID)
		if err != nil {
			t.Fatal(err)
		}
		return attempts
	}
	wantSame(t, "before any has ended", attempts(), []job.Attempt(nil))
	first := ended(l, job.Failed)
	first.Build, first.StartedAt = "0123", time.Date(2026, 5, 17, 9, 59, 0, 0, time.UTC)
	if _, err := db.Retry(t.Context(), first, time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if w, err := db.Waiting(t.Context(), j.ID); err != nil || w == nil || w.Reason != job.Retrying || w.Until.IsZero() {
		t.Errorf("waiting for another attempt: got %+v and error %v, want %q and when", w, err, job.Retrying)
	}
	want := []job.Attempt{{
		Attempt: 1, HostID: "a", CommandID: "ping-1", ClusterID: "local-1", Build: "0123", Status: job.Failed,
		Error: first.Error, StartedAt: first.StartedAt, EndedAt: first.EndedAt,
	}}
	wantSame(t, "after the first", attempts(), want)
	if _, err := db.Due(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := ended(h.claim(t, 1)[0].Lease, job.Succeeded)
	end(t, db, second)
	want = append(want, job.Attempt{Attempt: 2, HostID: "a", CommandID: "ping-1", ClusterID: "local-1", Status: job.Succeeded, EndedAt: second.EndedAt})
	wantSame(t, "after the second", attempts(), want)
}
