package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// submitKeyed records a job that has keys and waits.
func (h host) submitKeyed(t testing.TB, j *job.Job, k store.Key) (job.ID, error) {
	t.Helper()
	return h.db.SubmitKeyed(t.Context(), store.Submission{Job: j, Host: h.id, Epoch: h.epoch}, k)
}

// keyed does so with keys that are free.
func (h host) keyed(t testing.TB, j *job.Job, k store.Key) {
	t.Helper()
	if id, err := h.submitKeyed(t, j, k); err != nil || id != j.ID {
		t.Fatalf("submit with key %q and unique key %q: got %s and error %v, want %s", k.Text, j.UniqueKey, id, err, j.ID)
	}
}

func wantHolder(t testing.TB, what string, err error, want job.ID) {
	t.Helper()
	wantKind(t, what, err, errs.Conflict)
	if e, ok := err.(*errs.Error); ok && e.ID != string(want) { //nolint:errorlint // it is not wrapped
		t.Errorf("%s: got an error about %s, want %s", what, e.ID, want)
	}
}

func testKeys(t *testing.T, db Store) {
	h := register(t, db, "a")
	key := store.Key{Text: "order 17", Digest: []byte{1}}
	first := newJob(0)
	h.keyed(t, first, key)
	wantStatus(t, db, first.ID, job.New)
	repeat := func(what string) {
		t.Helper()
		if id, err := db.Keyed(t.Context(), first.User, key); err != nil || id != first.ID {
			t.Errorf("%s: job of the key: got %s and error %v, want %s", what, id, err, first.ID)
		}
		again := newJob(1)
		if id, err := h.submitKeyed(t, again, key); err != nil || id != first.ID {
			t.Errorf("%s: got %s and error %v, want %s", what, id, err, first.ID)
		}
		_, err := db.Job(t.Context(), again.ID)
		wantKind(t, what+": the job of the repeat", err, errs.NotFound)
	}
	repeat("repeat while it waits")
	_, err := h.submitKeyed(t, newJob(2), store.Key{Text: key.Text, Digest: []byte{2}})
	wantHolder(t, "another request with the key", err, first.ID)

	_, err = db.Keyed(t.Context(), first.User, store.Key{Text: key.Text, Digest: []byte{2}})
	wantHolder(t, "look for another request with the key", err, first.ID)
	if id, err := db.Keyed(t.Context(), "bob", key); err != nil || id != "" {
		t.Errorf("job of a key that is free: got %s and error %v, want none", id, err)
	}

	h.keyed(t, ofUser(3, "bob"), key) // each user has keys of their own
	h.keyed(t, newJob(4), store.Key{Text: "order 18", Digest: []byte{1}})
	for _, c := range h.claim(t, 16) {
		end(t, db, ended(c.Lease, job.Succeeded))
	}
	repeat("repeat after the end")
	wantStatus(t, db, first.ID, job.Succeeded)

	later := change(5, func(j *job.Job) { j.StartAfter = time.Now().UTC().Add(time.Hour).Truncate(time.Microsecond) })
	h.keyed(t, later, store.Key{Text: "order 19"})
	wantSame(t, "due", get(t, db, later.ID).DueAt, later.StartAfter)
}

// testSameKey submits the same request many times at once: one job comes of it.
func testSameKey(t *testing.T, db Store) {
	h := register(t, db, "a")
	for round := range 5 {
		var (
			mu  sync.Mutex
			got = map[job.ID]int{}
			all []func()
		)
		for i := range 16 {
			all = append(all, func() {
				j := newJob(i)
				j.UniqueKey = fmt.Sprintf("unique %d", round) // the repeat of a job is not in its own way
				id, err := h.submitKeyed(t, j, store.Key{Text: fmt.Sprintf("key %d", round), Digest: []byte{7}})
				if err != nil {
					t.Errorf("submit: %v", err)
				}
				mu.Lock()
				got[id]++
				mu.Unlock()
			})
		}
		together(all...)
		if len(got) != 1 {
			t.Errorf("jobs of one key: got %v, want one", got)
		}
	}
	if got := h.claim(t, 64); len(got) != 5 {
		t.Errorf("jobs that wait: got %d, want 5", len(got))
	}
}

func testUniqueKey(t *testing.T, db Store) {
	h := register(t, db, "a")
	unique := func(minute int) *job.Job {
		return change(minute, func(j *job.Job) { j.UniqueKey = "nightly" })
	}
	held := func(what string, by job.ID) {
		t.Helper()
		_, err := h.submitKeyed(t, unique(1), store.Key{})
		wantHolder(t, what, err, by)
	}
	first := unique(0)
	h.keyed(t, first, store.Key{})
	if got := get(t, db, first.ID).UniqueKey; got != "nightly" {
		t.Errorf("unique key: got %q, want nightly", got)
	}
	held("while it waits", first.ID)
	h.keyed(t, change(2, func(j *job.Job) { j.User, j.UniqueKey = "bob", "nightly" }), store.Key{})
	h.keyed(t, change(3, func(j *job.Job) { j.UniqueKey = "hourly" }), store.Key{})

	claimed := h.claim(t, 1)
	held("while it runs", first.ID)
	if _, err := db.Retry(t.Context(), ended(claimed[0].Lease, job.Failed), time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	held("between its attempts", first.ID)
	if _, err := db.Due(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range h.claim(t, 16) {
		e := ended(c.Lease, job.Failed)
		e.Unique = true
		end(t, db, e)
	}
	second := unique(4)
	h.keyed(t, second, store.Key{})
	held("after the end of the one before", second.ID)

	// A refused job leaves no trace: its idempotency key stands for nothing.
	_, err := h.submitKeyed(t, unique(5), store.Key{Text: "order 20"})
	wantHolder(t, "with an idempotency key", err, second.ID)
	if _, err := db.Cancel(t.Context(), second.ID, "ann"); err != nil {
		t.Fatal(err)
	}
	third := unique(6)
	h.keyed(t, third, store.Key{Text: "order 20"})

	// A job that is canceled while it runs gives its key back at its end.
	claimed = h.claim(t, 1)
	if _, err := db.Cancel(t.Context(), third.ID, "ann"); err != nil {
		t.Fatal(err)
	}
	held("while it is canceled", third.ID)
	if err := db.GiveBack(t.Context(), []job.Lease{claimed[0].Lease}); err != nil {
		t.Fatal(err)
	}
	h.keyed(t, unique(7), store.Key{})
}

// testUniqueRace submits jobs with one unique key while their holders end: each is
// recorded or refused with the holder's id, and no two have the key at once.
func testUniqueRace(t *testing.T, db Store) {
	h := register(t, db, "a")
	var all []func()
	for range 8 {
		all = append(all, func() {
			for i := range 20 {
				j := change(i, func(j *job.Job) { j.UniqueKey = "one" })
				id, err := h.submitKeyed(t, j, store.Key{})
				if e, ok := err.(*errs.Error); ok && e.Kind == errs.Conflict && e.ID != "" { //nolint:errorlint // it is not wrapped
					continue
				}
				if err != nil || id != j.ID {
					t.Errorf("submit: got %s and error %v, want it recorded or refused for a holder", id, err)
					continue
				}
				claimed := h.claim(t, 4)
				if len(claimed) != 1 || claimed[0].Job.ID != j.ID {
					t.Errorf("claimed: got %v, want %s alone", claimedIDs(claimed), j.ID)
				}
				for _, c := range claimed {
					e := ended(c.Lease, job.Succeeded)
					e.Unique = true
					end(t, db, e)
				}
			}
		})
	}
	together(all...)
}
