package storetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// together runs all at once and waits for them.
func together(all ...func()) {
	var group sync.WaitGroup
	for _, one := range all {
		group.Go(one)
	}
	group.Wait()
}

func setCaps(t testing.TB, db Store, c store.Caps) {
	t.Helper()
	if err := db.SetCaps(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// onCluster returns a job with all that caps count.
func onCluster(minute int, command, cluster, user string) *job.Job {
	return change(minute, func(j *job.Job) { j.Pair.CommandID, j.Pair.ClusterID, j.User = command, cluster, user })
}

func testCaps(t *testing.T, db Store) {
	for _, c := range []struct {
		name string
		caps store.Caps
		free *job.Job // another job, that the cap does not count
	}{
		{"command", store.Caps{Commands: map[string]int{"ping-1": 2}}, onCluster(50, "shell-1", "local-1", "ann")},
		{"cluster", store.Caps{Clusters: map[string]int{"local-1": 2}}, onCluster(50, "ping-1", "local-2", "ann")},
		{"user", store.Caps{User: 2}, onCluster(50, "ping-1", "local-1", "bob")},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := register(t, db, "host-"+c.name)
			h.lanes = true
			if err := db.SetCommands(t.Context(), h.id, []string{"ping-1", "shell-1"}); err != nil {
				t.Fatal(err)
			}
			setCaps(t, db, c.caps)
			wantLanes(t, h, true)
			var leases []job.Lease
			var waiting []job.ID
			for i := range 6 {
				j := onCluster(i, "ping-1", "local-1", "ann")
				if l := h.submit(t, j, true); l != nil {
					leases = append(leases, *l)
				} else {
					waiting = append(waiting, j.ID)
				}
			}
			if len(leases) != 2 {
				t.Fatalf("leased at submit: got %d, want 2", len(leases))
			}
			if got := h.claim(t, 16); len(got) > 0 {
				t.Errorf("claimed while the cap is reached: got %d, want none", len(got))
			}
			leases = append(leases, h.lease(t, c.free)) // what it does not count does not wait behind it
			end(t, db, ended(leases[0], job.Succeeded))
			claimed := h.claim(t, 16)
			wantSame(t, "claimed when one has ended", claimedIDs(claimed), waiting[:1])
			leases = append(leases[1:], claimed[0].Lease)

			setCaps(t, db, store.Caps{})
			wantLanes(t, h, false)
			for _, c := range h.claim(t, 16) {
				leases = append(leases, c.Lease)
			}
			if len(leases) != 6 {
				t.Errorf("leases without the cap: got %d, want 6", len(leases))
			}
			for _, l := range leases { // nothing is left for the next case
				end(t, db, ended(l, job.Succeeded))
			}
		})
	}
}

// testCapsAreUsed has jobs wait in lanes of which some are full: what is free is
// claimed all the same, whatever the order of the queue.
func testCapsAreUsed(t *testing.T, db Store) {
	h := register(t, db, "a")
	h.lanes = true
	if err := db.SetCommands(t.Context(), h.id, []string{"ping-1", "shell-1"}); err != nil {
		t.Fatal(err)
	}
	setCaps(t, db, store.Caps{Commands: map[string]int{"ping-1": 5}, Clusters: map[string]int{"local-1": 2}})
	var first, second, third []*job.Job
	for i := range 30 {
		first = append(first, onCluster(i, "ping-1", "local-1", "ann")) // cluster: 2
		second = append(second, onCluster(100+i, "ping-1", "local-2", "bob"))
		third = append(third, onCluster(200+i, "shell-1", "local-1", "cat"))
	}
	h.wait(t, first...)
	h.wait(t, second...)
	h.wait(t, third...)
	counts := map[string]int{}
	for _, c := range h.claimAll(t) {
		counts[c.Job.Pair.CommandID]++
		counts[c.Job.Pair.ClusterID]++
	}
	if counts["ping-1"] != 5 || counts["local-1"] != 2 {
		t.Errorf("claimed: got %v, want 5 of ping-1 and 2 on local-1", counts)
	}
}

// testCapsRace has two hosts submit, claim and end at once, each through many
// callers. No look at what runs ever shows more than the caps let run, and all
// jobs run in the end.
func testCapsRace(t *testing.T, db Store) {
	const callers, each = 6, 12
	caps := store.Caps{Commands: map[string]int{"ping-1": 3}, Clusters: map[string]int{"local-1": 4}, User: 2}
	setCaps(t, db, caps)
	hosts := []host{register(t, db, "a"), register(t, db, "b")}
	var (
		done  atomic.Int64
		work  []func()
		stop  = make(chan struct{})
		watch sync.WaitGroup
	)
	finish := func(l job.Lease) {
		end(t, db, ended(l, job.Succeeded))
		done.Add(1)
	}
	claim := func(h host, n int) {
		for _, c := range h.claim(t, n) {
			finish(c.Lease)
		}
	}
	for i := range hosts {
		h := hosts[i]
		h.lanes = true
		if err := db.SetCommands(t.Context(), h.id, []string{"ping-1", "shell-1"}); err != nil {
			t.Fatal(err)
		}
		for range callers {
			work = append(work, func() {
				for i := range each {
					j := onCluster(i, pickOne("ping-1", "shell-1"), pickOne("local-1", "local-2"), pickOne("ann", "bob", "cat"))
					if l := h.submit(t, j, rand.IntN(2) == 0); l != nil {
						finish(*l)
					}
					claim(h, 1+rand.IntN(4))
				}
			})
		}
	}
	watch.Go(func() {
		for {
			wantCaps(t, db, caps)
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond): // looks are not to take all the time
			}
		}
	})
	together(work...)
	for before := int64(-1); before != done.Load(); { // what the last callers left
		before = done.Load()
		claim(host{db, "a", hosts[0].epoch, true}, 16)
	}
	close(stop)
	watch.Wait()
	if got, want := done.Load(), int64(2*callers*each); got != want {
		t.Errorf("jobs that ran: got %d, want %d", got, want)
	}
}

func pickOne(of ...string) string { return of[rand.IntN(len(of))] }

// wantCaps looks once at all that runs.
func wantCaps(t testing.TB, db Store, caps store.Caps) {
	t.Helper()
	page, err := db.Jobs(t.Context(), job.Filter{Limit: 1000, Statuses: []job.Status{job.Accepted, job.Running, job.Canceling}})
	if err != nil {
		t.Errorf("list: %v", err)
		return
	}
	counts := map[string]int{}
	for _, j := range page.Jobs {
		counts["command "+j.Pair.CommandID]++
		counts["cluster "+j.Pair.ClusterID]++
		counts["user "+j.User]++
	}
	check := func(what string, most int) {
		if got := counts[what]; got > most {
			t.Errorf("running of %s: got %d, want at most %d", what, got, most)
		}
	}
	for id, most := range caps.Commands {
		check(fmt.Sprintf("command %s", id), most)
	}
	for id, most := range caps.Clusters {
		check(fmt.Sprintf("cluster %s", id), most)
	}
	for _, user := range []string{"ann", "bob", "cat"} {
		check("user "+user, caps.User)
	}
}
