package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// change returns a new job with something changed.
func change(minute int, how func(*job.Job)) *job.Job {
	j := newJob(minute)
	how(j)
	return j
}

func ofUser(minute int, user string) *job.Job {
	return change(minute, func(j *job.Job) { j.User = user })
}

func ofCommand(minute int, command string) *job.Job {
	return change(minute, func(j *job.Job) { j.Pair.CommandID = command })
}

// wait records jobs that wait and returns their ids.
func (h host) wait(t testing.TB, jobs ...*job.Job) []job.ID {
	t.Helper()
	for _, j := range jobs {
		if l := h.submit(t, j, false); l != nil {
			t.Fatalf("job %s was leased to a host that is not free", j.ID)
		}
	}
	return ids(jobs)
}

// claimAll claims until there is nothing more to have.
func (h host) claimAll(t testing.TB) (claimed []job.Claimed) {
	t.Helper()
	for some := h.claim(t, 16); len(some) > 0; some = h.claim(t, 16) {
		claimed = append(claimed, some...)
	}
	return claimed
}

func testPriority(t *testing.T, db Store, lanes bool) {
	h := register(t, db, "a")
	h.lanes = lanes
	var all []*job.Job
	for i, priority := range []int{0, -100, 7, 100, 0, 7} {
		j := ofUser(i, []string{"ann", "bob"}[i%2])
		j.Priority = priority
		all = append(all, j)
	}
	// Ann has waited for long with many: her turn is late, but 7 is before 0.
	waiting := h.wait(t, all...)
	var want []job.ID
	for _, i := range []int{3, 2, 5, 0, 4, 1} {
		want = append(want, waiting[i])
	}
	first := h.claim(t, 1)
	wantSame(t, "order", append(claimedIDs(first), claimedIDs(h.claimAll(t))...), want)
	if got := get(t, db, waiting[3]).Priority; got != 100 {
		t.Errorf("priority: got %d, want 100", got)
	}
}

func testTurns(t *testing.T, db Store, lanes bool) {
	h := register(t, db, "a")
	h.lanes = lanes
	var ann, bob []*job.Job
	for i := range 100 {
		ann = append(ann, ofUser(i, "ann"))
	}
	for i := range 3 {
		bob = append(bob, ofUser(100+i, "bob"))
	}
	as, bs := h.wait(t, ann...), h.wait(t, bob...)
	wantSame(t, "the first eight", claimedIDs(h.claim(t, 8)), []job.ID{as[0], bs[0], as[1], bs[1], as[2], bs[2], as[3], as[4]})

	// Who comes late is neither behind all others nor before them for long.
	cs := h.wait(t, ofUser(200, "cat"), ofUser(201, "cat"))
	wantSame(t, "the next four", claimedIDs(h.claim(t, 4)), []job.ID{as[5], cs[0], as[6], cs[1]})

	rest := h.claimAll(t)
	wantSame(t, "the rest", claimedIDs(rest), as[7:])
	as = h.wait(t, ofUser(300, "ann"), ofUser(301, "ann"))
	bs = h.wait(t, ofUser(302, "bob"))
	wantSame(t, "after the queue was empty", claimedIDs(h.claim(t, 8)), []job.ID{as[0], bs[0], as[1]})
}

// testTurnsOfBatch submits for many at once: each user's jobs have turns of their
// own, however the submissions came together.
func testTurnsOfBatch(t *testing.T, db Store, lanes bool) {
	const each = 20
	h := register(t, db, "a")
	h.lanes = lanes
	users := []string{"ann", "bob", "cat"}
	var all []func()
	for i := range each {
		for _, user := range users {
			all = append(all, func() { h.submit(t, ofUser(i, user), false) })
		}
	}
	together(all...)
	claimed := h.claim(t, each*len(users))
	if len(claimed) != each*len(users) {
		t.Fatalf("claimed: got %d, want %d", len(claimed), each*len(users))
	}
	counts := map[string]int{}
	for i, c := range claimed {
		counts[c.Job.User]++
		if i%len(users) == len(users)-1 && !(counts["ann"] == counts["bob"] && counts["bob"] == counts["cat"]) {
			t.Fatalf("after %d claims: got %v, want as many of each user", i+1, counts)
		}
	}
}

func testForeign(t *testing.T, db Store, lanes bool) {
	h, other := register(t, db, "a"), register(t, db, "b")
	h.lanes, other.lanes = lanes, lanes
	if err := db.SetCommands(t.Context(), other.id, []string{"other-1"}); err != nil {
		t.Fatal(err)
	}
	wantLanes(t, h, false)
	var foreign []*job.Job
	for i := range 100 {
		foreign = append(foreign, ofCommand(i, "other-1"))
	}
	theirs := h.wait(t, foreign...)
	wantLanes(t, h, true)
	wantLanes(t, other, false)
	mine := newJob(100)
	// Only by lanes it is known that what waits is not for this host.
	if leased := h.submit(t, mine, true) != nil; leased != lanes {
		t.Errorf("submit behind what the host cannot run: got leased %t, want %t", leased, lanes)
	}
	second := newJob(101)
	h.submit(t, second, false)
	want := []job.ID{mine.ID, second.ID}
	if lanes {
		want = want[1:]
	}
	wantSame(t, "claimed", claimedIDs(h.claim(t, 16)), want)
	if l := other.submit(t, ofCommand(102, "other-1"), true); l != nil {
		t.Errorf("submit behind what the host can run: got lease %+v, want none", l)
	}
	wantSame(t, "claimed by who can", claimedIDs(other.claim(t, 64)), theirs[:64])
}

func wantLanes(t testing.TB, h host, want bool) {
	t.Helper()
	if got, err := h.db.MustUseLanes(t.Context(), h.id); err != nil || got != want {
		t.Errorf("host %s must use lanes: got %t and error %v, want %t", h.id, got, err, want)
	}
}

// testNotLive gives jobs to no host whose right to run is over.
func testNotLive(t *testing.T, db Store, lanes bool) {
	h := register(t, db, "a")
	h.lanes = lanes
	if _, err := db.Heartbeat(t.Context(), h.id, h.epoch, -time.Second, store.Live); err != nil {
		t.Fatal(err)
	}
	j := newJob(0)
	if l := h.submit(t, j, true); l != nil {
		t.Errorf("submit by a host whose lease is over: got lease %+v, want none", l)
	}
	if got := h.claim(t, 1); len(got) > 0 {
		t.Errorf("claim by a host whose lease is over: got %d jobs, want none", len(got))
	}
	if _, err := db.Heartbeat(t.Context(), h.id, h.epoch, time.Minute, store.Live); err != nil {
		t.Fatal(err)
	}
	wantSame(t, "claimed with a new lease", claimedIDs(h.claim(t, 1)), []job.ID{j.ID})
}

// testGiveBackTurn gives back jobs of one user: they come before what is behind
// them, and the other users keep their turns.
func testGiveBackTurn(t *testing.T, db Store, lanes bool) {
	h := register(t, db, "a")
	h.lanes = lanes
	as := h.wait(t, ofUser(0, "ann"), ofUser(1, "ann"), ofUser(2, "ann"))
	bs := h.wait(t, ofUser(3, "bob"), ofUser(4, "bob"))
	claimed := h.claim(t, 2)
	wantSame(t, "claimed", claimedIDs(claimed), []job.ID{as[0], bs[0]})
	if err := db.GiveBack(t.Context(), []job.Lease{claimed[1].Lease, claimed[0].Lease}); err != nil {
		t.Fatal(err)
	}
	got := claimedIDs(h.claim(t, 16))
	if head := got[:2]; !slices.Contains(head, as[0]) {
		t.Errorf("claimed again: got %v, want %s among the first two", got, as[0])
	}
	if slices.Index(got, bs[0]) > slices.Index(got, bs[1]) || slices.Index(got, as[1]) > slices.Index(got, as[2]) {
		t.Errorf("claimed again: got %v, want the jobs of each user in their order", got)
	}
}
