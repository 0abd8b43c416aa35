package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/store/memstore"
)

// fewHistories are made unless RAPID_CHECKS asks for a number: each is dozens of
// commits.
const fewHistories = 24

// testHistories makes random histories on the store and on the one in memory. After
// each step their answers and all their jobs must be the same.
func testHistories(t *testing.T, db Store) {
	most := fewHistories
	if os.Getenv("RAPID_CHECKS") != "" {
		most = math.MaxInt
	}
	rounds, failed := 0, false
	rapid.Check(t, func(rt *rapid.T) {
		rounds++
		if rounds > most && !failed { // one that failed is made again, to find a shorter one
			return
		}
		fine := false
		defer func() { failed = failed || !fine }()
		h := &history{t: t, db: db, model: memstore.New(), round: rounds, epochs: map[string]int64{}, asked: map[job.ID]*job.Job{}}
		defer h.clear()
		for _, name := range []string{"a", "b"} {
			h.register(rt, h.name(name))
		}
		rt.Repeat(h.actions())
		for range h.hosts {
			h.look(rt)
		}
		fine = true
	})
}

// actions are what may happen; what happens often has several names.
func (h *history) actions() map[string]func(*rapid.T) {
	all := map[string]func(*rapid.T){"": h.check}
	for _, a := range []struct {
		name  string
		often int
		do    func(*rapid.T)
	}{
		{"submit", 4, h.submit},
		{"submit keyed", 2, h.submitKeyed},
		{"claim", 4, h.claim},
		{"start", 1, h.start},
		{"end", 2, h.end},
		{"end again", 1, h.endAgain},
		{"retry", 2, h.retry},
		{"give back", 1, h.giveBack},
		{"save", 2, h.save},
		{"resume", 1, h.resume},
		{"cancel", 1, h.cancel},
		{"due", 2, h.due},
		{"expire", 1, h.expire},
		{"caps", 1, h.setCaps},
		{"commands", 1, h.setCommands},
		{"beat", 1, h.beat},
		{"reap", 2, h.reap},
		{"stop", 1, h.stopHost},
		{"restart", 1, h.restart},
		{"clean up", 1, h.cleanUp},
		{"look", 1, h.look},
	} {
		for i := range a.often {
			all[fmt.Sprintf("%s %d", a.name, i+1)] = a.do
		}
	}
	return all
}

// history is a random one on two stores.
type history struct {
	t      *testing.T
	db     Store
	model  *memstore.Store
	round  int
	hosts  []string
	epochs map[string]int64
	asked  map[job.ID]*job.Job
	ids    []job.ID    // of all jobs
	leases []job.Lease // that were ever given
	ends   []job.End   // that were ever sent
	caps   store.Caps
}

// name keeps the names of histories apart.
func (h *history) name(s string) string { return fmt.Sprintf("%s-%d", s, h.round) }

func (h *history) draw(rt *rapid.T, what string, from ...string) string {
	return h.name(rapid.SampledFrom(from).Draw(rt, what))
}

func (h *history) host(rt *rapid.T) string { return rapid.SampledFrom(h.hosts).Draw(rt, "host") }

// newJob draws a job. Its id and its age follow from its number.
func (h *history) newJob(rt *rapid.T) *job.Job {
	n := len(h.asked)
	j := newJob(n)
	j.ID = job.ID(fmt.Sprintf("%08x-0000-7000-8000-%012x", h.round, n))
	j.Name = h.name("report")
	j.User = h.draw(rt, "user", "ann", "bob")
	j.Pair.CommandID = h.draw(rt, "command", "ping", "shell")
	j.Pair.ClusterID = h.draw(rt, "cluster", "small", "large")
	j.Priority = rapid.SampledFrom([]int{0, 0, 0, 5, -5}).Draw(rt, "priority")
	j.StartAfter = moment(rt, "start after", 8)
	j.Deadline = moment(rt, "deadline", 8)
	if rapid.Bool().Draw(rt, "retry") {
		j.Retry = &job.Retry{Attempts: 3, On: []job.Class{job.WorkFailed}}
	}
	h.asked[j.ID] = j
	h.ids = append(h.ids, j.ID)
	return j
}

// rarely draws true one time in so many.
func rarely(rt *rapid.T, what string, in int) bool {
	of := make([]bool, in)
	of[in-1] = true
	return rapid.SampledFrom(of).Draw(rt, what)
}

// past is a time that is over.
func past() time.Time { return time.Date(2026, 5, 17, 9, 0, 0, 0, time.UTC) }

// moment draws a time that is over or far away, one time in so many each.
func moment(rt *rapid.T, what string, in int) time.Time {
	switch {
	case rarely(rt, what+" is over", in):
		return past().Add(time.Duration(rapid.IntRange(0, 2).Draw(rt, what)) * time.Minute)
	case rarely(rt, what+" is far away", in):
		return time.Date(2126, 5, 17, 9, 0, 0, 0, time.UTC)
	}
	return time.Time{}
}

// lease draws a lease that was once given; most of the time one that is there.
func (h *history) lease(rt *rapid.T) (job.Lease, bool) {
	leases := h.leases
	if !rarely(rt, "stale", 5) {
		leases = nil
		for _, host := range h.hosts {
			held, _ := h.model.Leases(h.t.Context(), host, h.epochs[host])
			leases = append(leases, held...)
		}
	}
	if len(leases) == 0 {
		return job.Lease{}, false
	}
	return rapid.SampledFrom(leases).Draw(rt, "lease"), true
}

// register starts a host once more.
func (h *history) register(rt *rapid.T, id string) {
	for _, s := range []Store{h.db, h.model} {
		epoch, err := s.RegisterHost(h.t.Context(), store.Host{ID: id, Name: id}, time.Hour)
		if err != nil {
			rt.Fatalf("register: %v", err)
		}
		h.epochs[id] = max(h.epochs[id], epoch)
		if epoch != h.epochs[id] {
			rt.Fatalf("epoch of %s: the stores say %d and %d", id, h.epochs[id], epoch)
		}
		if slices.Contains(h.hosts, id) {
			continue
		}
		if err := s.SetCommands(h.t.Context(), id, []string{h.name("ping"), h.name("shell")}); err != nil {
			rt.Fatalf("commands: %v", err)
		}
	}
	if !slices.Contains(h.hosts, id) {
		h.hosts = append(h.hosts, id)
	}
}

// same compares what the two stores answered. Errors are the same when callers can
// tell no difference.
func (h *history) same(rt *rapid.T, what string, got, want any, gotErr, wantErr error) {
	if g, w := nature(gotErr), nature(wantErr); g != w {
		rt.Fatalf("%s: got error %v, which is %q, want one like %v, %q", what, gotErr, g, wantErr, w)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		rt.Fatalf("%s: want -, got +\n%s", what, diff)
	}
}

func nature(err error) string {
	switch {
	case errors.Is(err, store.ErrFenced):
		return "fenced"
	case errors.Is(err, store.ErrLeaseLost):
		return "lease lost"
	}
	if e, ok := errors.AsType[*errs.Error](err); ok {
		return string(e.Kind) + " " + e.ID
	}
	return string(errs.KindOf(err))
}

// check compares all jobs.
func (h *history) check(rt *rapid.T) {
	f := job.Filter{Name: h.name("report"), Limit: 10000, Ascending: true}
	got, gotErr := h.db.Jobs(h.t.Context(), f)
	want, wantErr := h.model.Jobs(h.t.Context(), f)
	h.same(rt, "jobs", plainly(got.Jobs), plainly(want.Jobs), gotErr, wantErr)
}

// look compares what else can be read.
func (h *history) look(rt *rapid.T) {
	host := h.host(rt)
	wishes, gotErr := h.db.Canceling(h.t.Context(), host, h.epochs[host])
	wantWishes, wantErr := h.model.Canceling(h.t.Context(), host, h.epochs[host])
	h.same(rt, "wishes of "+host, wishes, wantWishes, gotErr, wantErr)
	leases, gotErr := h.db.Leases(h.t.Context(), host, h.epochs[host])
	wantLeases, wantErr := h.model.Leases(h.t.Context(), host, h.epochs[host])
	h.same(rt, "leases of "+host, leases, wantLeases, gotErr, wantErr)
	lanes, gotErr := h.db.MustUseLanes(h.t.Context(), host)
	wantLanes, wantErr := h.model.MustUseLanes(h.t.Context(), host)
	h.same(rt, host+" must use lanes", lanes, wantLanes, gotErr, wantErr)
	_, some, gotErr := h.db.NextDue(h.t.Context())
	_, wantSome, wantErr := h.model.NextDue(h.t.Context())
	h.same(rt, "some wait for their time", some, wantSome, gotErr, wantErr)
	ended, gotErr := h.db.Ended(h.t.Context(), h.ids)
	wantEnded, wantErr := h.model.Ended(h.t.Context(), h.ids)
	slices.Sort(ended)
	slices.Sort(wantEnded)
	h.same(rt, "ended", ended, wantEnded, gotErr, wantErr)
	for _, id := range h.ids {
		got, gotErr := h.db.Job(h.t.Context(), id)
		want, wantErr := h.model.Job(h.t.Context(), id)
		h.same(rt, "job "+string(id), plain(got), plain(want), gotErr, wantErr)
	}
}

func plainly(jobs []*job.Job) (all []*job.Job) {
	for _, j := range jobs {
		all = append(all, plain(j))
	}
	return all
}

// plain returns a job without the times that the clocks of the stores gave it.
func plain(j *job.Job) *job.Job {
	if j == nil {
		return nil
	}
	p := *j
	p.UpdatedAt = time.Time{}
	for _, at := range []*time.Time{&p.StartedAt, &p.EndedAt} {
		if time.Since(*at) < time.Hour {
			*at = time.Time{}
		}
	}
	return &p
}

// clear ends all that the history has left, and forgets it: the next one begins
// with an empty store.
func (h *history) clear() {
	ctx := h.t.Context()
	check := func(err error) {
		if err != nil {
			h.t.Errorf("clear: %v", err)
		}
	}
	check(h.db.SetCaps(ctx, store.Caps{}))
	for _, host := range h.hosts {
		leases, err := h.db.Leases(ctx, host, h.epochs[host])
		check(err)
		for _, l := range leases {
			check(h.db.End(ctx, job.End{Lease: l, Unique: true, Outcome: job.Outcome{Status: job.Succeeded}}))
		}
		due, err := h.db.Cleanups(ctx, host, h.epochs[host], 1000)
		check(err)
		for _, c := range due {
			check(h.db.Cleaned(ctx, host, h.epochs[host], c))
		}
		check(h.db.SetCommands(ctx, host, nil))
	}
	for _, id := range h.ids {
		if _, err := h.db.Cancel(ctx, id, "clear"); !errs.Is(err, errs.NotFound) {
			check(err)
		}
	}
	if _, err := h.db.Remove(ctx, h.ids); err != nil {
		h.t.Errorf("clear: %v", err)
	}
}

func byJob(a, b job.Cleanup) int {
	return cmp.Or(cmp.Compare(a.Job.ID, b.Job.ID), cmp.Compare(a.Attempt, b.Attempt))
}
