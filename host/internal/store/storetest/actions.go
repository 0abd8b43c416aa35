package storetest

import (
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

func (h *history) submission(rt *rapid.T, j *job.Job) store.Submission {
	host := h.host(rt)
	s := store.Submission{Job: j, Host: host, Epoch: h.epochs[host], Claim: rapid.Bool().Draw(rt, "free"), Lanes: rapid.Bool().Draw(rt, "lanes")}
	if rarely(rt, "earlier life", 10) {
		s.Epoch--
	}
	return s
}

func (h *history) submit(rt *rapid.T) {
	var j *job.Job
	if len(h.ids) > 0 && rarely(rt, "known", 20) {
		j = h.asked[rapid.SampledFrom(h.ids).Draw(rt, "job")]
	} else {
		j = h.newJob(rt)
	}
	s := h.submission(rt, j)
	got, gotErr := h.db.Submit(h.t.Context(), s)
	want, wantErr := h.model.Submit(h.t.Context(), s)
	h.same(rt, "submit", got, want, gotErr, wantErr)
	if got != nil {
		h.leases = append(h.leases, *got)
	}
}

func (h *history) submitKeyed(rt *rapid.T) {
	j := h.newJob(rt)
	j.UniqueKey = rapid.SampledFrom([]string{"", "unique"}).Draw(rt, "unique key")
	s := h.submission(rt, j)
	k := store.Key{
		Text:   rapid.SampledFrom([]string{"", "first", "second"}).Draw(rt, "key"),
		Digest: []byte{byte(rapid.IntRange(1, 2).Draw(rt, "digest"))},
	}
	got, gotErr := h.db.SubmitKeyed(h.t.Context(), s, k)
	want, wantErr := h.model.SubmitKeyed(h.t.Context(), s, k)
	h.same(rt, "submit with keys", got, want, gotErr, wantErr)
}

func (h *history) claim(rt *rapid.T) {
	host := h.host(rt)
	c := store.Claim{Host: host, Epoch: h.epochs[host], Most: rapid.IntRange(1, 4).Draw(rt, "most"), Lanes: rapid.Bool().Draw(rt, "lanes")}
	if rarely(rt, "earlier life", 10) {
		c.Epoch--
	}
	could := h.model.Could(c)
	got, gotErr := h.db.Claim(h.t.Context(), c)
	capped := len(h.caps.Commands)+len(h.caps.Clusters)+h.caps.User > 0
	var want []job.Claimed
	var wantErr error
	if c.Lanes && capped && c.Most > 1 && c.Epoch == h.epochs[host] {
		// Where several caps hold jobs back, one claim may leave some for the next.
		want = h.follow(rt, c, could, got)
	} else {
		want, wantErr = h.model.Claim(h.t.Context(), c)
	}
	for _, all := range [][]job.Claimed{got, want} {
		for i, c := range all {
			c.Job.UpdatedAt = time.Time{}
			switch saved := c.Checkpoint; {
			case !c.Resume:
				all[i].Checkpoint = nil // it is read where one of them resumes
			case saved != nil && len(saved.Data) == 0:
				saved.Data = nil
			}
		}
	}
	h.same(rt, "claim", got, want, gotErr, wantErr)
	for _, c := range got {
		h.leases = append(h.leases, c.Lease)
	}
}

// follow has the model claim what the store has claimed, if it could.
func (h *history) follow(rt *rapid.T, c store.Claim, could []job.ID, got []job.Claimed) (want []job.Claimed) {
	if len(got) > c.Most || (len(got) == 0) != (len(could) == 0) {
		rt.Fatalf("claim of %d: got %d, want some of %v", c.Most, len(got), could)
	}
	last := -1
	for i, claimed := range got {
		id := claimed.Job.ID
		place := slices.Index(could, id)
		if i == 0 && place != 0 || place <= last || !slices.Contains(h.model.Could(c), id) {
			rt.Fatalf("claim: got %v, of which %s is out of its place or held back by a cap; want some of %v, the first at least", claimedIDs(got), id, could)
		}
		last = place
		want = append(want, h.model.Take(c, id))
	}
	return want
}

func (h *history) start(rt *rapid.T) {
	l, some := h.lease(rt)
	if !some {
		return
	}
	at := time.Date(2026, 5, 17, 9, 59, 0, 0, time.UTC)
	h.same(rt, "started", nil, nil, h.db.Started(h.t.Context(), []job.Lease{l}, at), h.model.Started(h.t.Context(), []job.Lease{l}, at))
}

// outcome draws the end of an attempt, as a runner reports it.
func (h *history) outcome(rt *rapid.T, l job.Lease) job.End {
	e := ended(l, rapid.SampledFrom([]job.Status{job.Succeeded, job.Failed, job.Killed, job.Canceled}).Draw(rt, "status"))
	e.Checkpoint = &job.Checkpoint{} // there may be one
	e.Unique = h.asked[l.JobID].UniqueKey != ""
	e.Remains = rapid.SampledFrom([]string{"", "", "it crashed"}).Draw(rt, "remains")
	if rapid.Bool().Draw(rt, "with all") {
		e.Result = &job.Result{ContentType: "text/plain", Inline: []byte("x"), Bytes: 1}
		e.Outputs = []job.Output{{Key: "k", Value: "v", Kind: "text"}}
		e.Logs = job.Logs{Stdout: "out", StdoutBytes: 3}
		e.StartedAt = time.Date(2026, 5, 17, 9, 58, 0, 0, time.UTC)
	}
	h.ends = append(h.ends, e)
	return e
}

func (h *history) end(rt *rapid.T) {
	if l, some := h.lease(rt); some {
		e := h.outcome(rt, l)
		h.same(rt, "end", nil, nil, h.db.End(h.t.Context(), e), h.model.End(h.t.Context(), e))
	}
}

// endAgain sends again what was sent before, also what was no end.
func (h *history) endAgain(rt *rapid.T) {
	if len(h.ends) == 0 {
		return
	}
	e := rapid.SampledFrom(h.ends).Draw(rt, "end")
	h.same(rt, "repeated end", nil, nil, h.db.End(h.t.Context(), e), h.model.End(h.t.Context(), e))
}

func (h *history) retry(rt *rapid.T) {
	l, some := h.lease(rt)
	if !some {
		return
	}
	e, due := h.outcome(rt, l), moment(rt, "due", 4)
	if due.IsZero() {
		due = past()
	}
	got, gotErr := h.db.Retry(h.t.Context(), e, due)
	want, wantErr := h.model.Retry(h.t.Context(), e, due)
	h.same(rt, "retry", got, want, gotErr, wantErr)
}

func (h *history) giveBack(rt *rapid.T) {
	var leases []job.Lease
	for range rapid.IntRange(1, 3).Draw(rt, "leases") {
		if l, some := h.lease(rt); some {
			leases = append(leases, l)
		}
	}
	h.same(rt, "give back", nil, nil, h.db.GiveBack(h.t.Context(), leases), h.model.GiveBack(h.t.Context(), leases))
}

func (h *history) save(rt *rapid.T) {
	l, some := h.lease(rt)
	if !some {
		return
	}
	c := &job.Checkpoint{Format: 1, Data: rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(rt, "data")}
	h.same(rt, "checkpoint", nil, nil, h.db.Checkpoint(h.t.Context(), l, c), h.model.Checkpoint(h.t.Context(), l, c))
}

func (h *history) resume(rt *rapid.T) {
	l, some := h.lease(rt)
	if !some {
		return
	}
	e := h.outcome(rt, l)
	got, by, gotErr := h.db.Resume(h.t.Context(), e)
	want, wantBy, wantErr := h.model.Resume(h.t.Context(), e)
	h.same(rt, "resume", got, want, gotErr, wantErr)
	h.same(rt, "resume of a job that is to be canceled", by, wantBy, nil, nil)
	if gotErr == nil && by == "" {
		h.leases = append(h.leases, got)
	}
}

func (h *history) cancel(rt *rapid.T) {
	id := job.ID("00000000-0000-7000-8000-000000000000")
	if len(h.ids) > 0 {
		id = rapid.SampledFrom(h.ids).Draw(rt, "job")
	}
	by := rapid.SampledFrom([]string{"ann", "bob"}).Draw(rt, "by")
	got, gotErr := h.db.Cancel(h.t.Context(), id, by)
	want, wantErr := h.model.Cancel(h.t.Context(), id, by)
	h.same(rt, "cancel", got, want, gotErr, wantErr)
}

func (h *history) due(rt *rapid.T) {
	got, gotErr := h.db.Due(h.t.Context())
	want, wantErr := h.model.Due(h.t.Context())
	h.same(rt, "due", got, want, gotErr, wantErr)
}

func (h *history) expire(rt *rapid.T) {
	got, gotErr := h.db.Expire(h.t.Context())
	want, wantErr := h.model.Expire(h.t.Context())
	slices.Sort(got)
	slices.Sort(want)
	h.same(rt, "expire", got, want, gotErr, wantErr)
}

func (h *history) setCaps(rt *rapid.T) {
	h.caps = store.Caps{Commands: map[string]int{}, Clusters: map[string]int{}}
	if most := rapid.IntRange(-2, 3).Draw(rt, "of a command"); most > 0 {
		h.caps.Commands[h.name("ping")] = most
	}
	if most := rapid.IntRange(-2, 3).Draw(rt, "of a cluster"); most > 0 {
		h.caps.Clusters[h.name("small")] = most
	}
	h.caps.User = max(0, rapid.IntRange(-2, 3).Draw(rt, "of a user"))
	h.same(rt, "caps", nil, nil, h.db.SetCaps(h.t.Context(), h.caps), h.model.SetCaps(h.t.Context(), h.caps))
}

func (h *history) setCommands(rt *rapid.T) {
	host := h.host(rt)
	some := []string{h.name("ping"), h.name("shell")}
	if rarely(rt, "fewer", 2) {
		some = some[rapid.IntRange(0, 2).Draw(rt, "commands"):]
	}
	h.same(rt, "commands", nil, nil, h.db.SetCommands(h.t.Context(), host, some), h.model.SetCommands(h.t.Context(), host, some))
}

// beat renews the right of a host to run, or lets it be over.
func (h *history) beat(rt *rapid.T) {
	host := h.host(rt)
	epoch, ttl := h.epochs[host], time.Hour
	if rarely(rt, "earlier life", 4) {
		epoch--
	}
	if rarely(rt, "over", 3) {
		ttl = -time.Hour
	}
	state := rapid.SampledFrom([]store.HostState{store.Live, store.Live, store.Full, store.Draining}).Draw(rt, "state")
	_, gotErr := h.db.Heartbeat(h.t.Context(), host, epoch, ttl, state)
	_, wantErr := h.model.Heartbeat(h.t.Context(), host, epoch, ttl, state)
	h.same(rt, "heartbeat", nil, nil, gotErr, wantErr)
}

// reap has a host reap another one, or itself, for which jobs may have waited long
// enough.
func (h *history) reap(rt *rapid.T) {
	by, host := h.host(rt), h.host(rt)
	if rapid.Bool().Draw(rt, "its right is over") {
		h.same(rt, "heartbeat", nil, nil, second(h.db.Heartbeat(h.t.Context(), host, h.epochs[host], -time.Hour, store.Live)),
			second(h.model.Heartbeat(h.t.Context(), host, h.epochs[host], -time.Hour, store.Live)))
	}
	lostAfter := rapid.SampledFrom([]time.Duration{time.Hour, -time.Hour}).Draw(rt, "lost after")
	got, gotErr := h.db.Reap(h.t.Context(), by, host, "", lostAfter)
	want, wantErr := h.model.Reap(h.t.Context(), by, host, "", lostAfter)
	h.same(rt, "reap", got, want, gotErr, wantErr)
	taken, gotErr := h.db.TakeCleanups(h.t.Context(), by, h.epochs[by], lostAfter)
	wantTaken, wantErr := h.model.TakeCleanups(h.t.Context(), by, h.epochs[by], lostAfter)
	h.same(rt, "cleanups taken over", taken, wantTaken, gotErr, wantErr)
}

// stopHost ends a host in good order.
func (h *history) stopHost(rt *rapid.T) {
	host := h.host(rt)
	epoch := h.epochs[host]
	if rarely(rt, "this life", 3) {
		epoch++
	}
	epoch--
	h.same(rt, "stop", nil, nil, h.db.StopHost(h.t.Context(), host, epoch), h.model.StopHost(h.t.Context(), host, epoch))
}

func second[T any](_ T, err error) error { return err }

// restart starts a host again, unless it is an earlier life that is late: it adopts
// its leases.
func (h *history) restart(rt *rapid.T) {
	host := h.host(rt)
	if rarely(rt, "earlier life", 4) {
		h.adopt(rt, host, h.epochs[host]-1)
		return
	}
	h.register(rt, host)
	h.adopt(rt, host, h.epochs[host])
}

func (h *history) adopt(rt *rapid.T, host string, epoch int64) {
	got, gotErr := adopt(h.t.Context(), h.db, host, epoch)
	want, wantErr := adopt(h.t.Context(), h.model, host, epoch)
	for _, all := range [][]job.Claimed{got, want} {
		for i := range all {
			all[i].Job = plain(all[i].Job)
			if c := all[i].Checkpoint; c != nil && len(c.Data) == 0 {
				c.Data = nil
			}
		}
	}
	h.same(rt, "adopt", got, want, gotErr, wantErr)
	for _, c := range got {
		h.leases = append(h.leases, c.Lease)
	}
}

// cleanUp looks for what is left, and forgets one of it or puts it off.
func (h *history) cleanUp(rt *rapid.T) {
	host := h.host(rt)
	epoch := h.epochs[host]
	got, gotErr := h.db.Cleanups(h.t.Context(), host, epoch, 100)
	want, wantErr := h.model.Cleanups(h.t.Context(), host, epoch, 100)
	for _, all := range [][]job.Cleanup{got, want} {
		slices.SortFunc(all, byJob)
		for i, c := range all {
			if c.Checkpoint != nil && len(c.Checkpoint.Data) == 0 {
				c.Checkpoint.Data = nil
			}
			if time.Since(c.Since) < time.Hour { // it was reaped, on each store at a time of its own
				all[i].Since = time.Time{}
			}
		}
	}
	h.same(rt, "cleanups", got, want, gotErr, wantErr)
	if len(got) == 0 {
		return
	}
	c := rapid.SampledFrom(got).Draw(rt, "cleanup")
	if rarely(rt, "earlier life", 4) {
		epoch--
	}
	if rapid.Bool().Draw(rt, "done") {
		h.same(rt, "cleaned", nil, nil, h.db.Cleaned(h.t.Context(), host, epoch, c), h.model.Cleaned(h.t.Context(), host, epoch, c))
		return
	}
	c.Tries++
	h.same(rt, "postpone", nil, nil, h.db.Postpone(h.t.Context(), host, epoch, c, past()), h.model.Postpone(h.t.Context(), host, epoch, c, past()))
}
