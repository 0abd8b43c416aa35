package storetest

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// testTransitions brings a job into each state that a transition starts from, by
// the shortest way, and makes the transition.
func testTransitions(t *testing.T, db Store) {
	for _, tr := range job.Transitions() {
		t.Run(string(tr.From)+" to "+string(tr.To), func(t *testing.T) {
			h := register(t, db, "transitions")
			j := newJob(0)
			if tr.Guard == job.HostLost {
				j.Retry = &job.Retry{Attempts: 2, On: []job.Class{job.Lost}}
			}
			var l job.Lease
			switch tr.From {
			case "":
				if leased := h.submit(t, j, tr.To == job.Accepted); (leased != nil) != (tr.To == job.Accepted) {
					t.Fatalf("submit: got lease %v for a job that becomes %s", leased, tr.To)
				}
			case job.New:
				if tr.Guard == job.DeadlinePassed {
					j.Deadline = j.CreatedAt
				}
				h.submit(t, j, false)
			default:
				l = h.lease(t, j)
				reach(t, db, l, tr.From)
			}
			if tr.From != "" {
				wantStatus(t, db, j.ID, tr.From)
				move(t, h, j.ID, l, tr)
			}
			wantStatus(t, db, j.ID, tr.To)
			if _, err := db.Cancel(t.Context(), j.ID, "cleaner"); err != nil { // nothing is to wait for the next case
				t.Error(err)
			}
		})
	}
}

func reach(t *testing.T, db Store, l job.Lease, state job.Status) {
	t.Helper()
	switch state {
	case job.Running:
		if err := db.Started(t.Context(), []job.Lease{l}, time.Now()); err != nil {
			t.Fatal(err)
		}
	case job.Canceling:
		if _, err := db.Cancel(t.Context(), l.JobID, "operator"); err != nil {
			t.Fatal(err)
		}
	}
}

func move(t *testing.T, h host, id job.ID, l job.Lease, tr job.Transition) {
	t.Helper()
	to := tr.To
	switch {
	case tr.Guard == job.HostLost:
		h.lapse(t)
		h.reap(t, time.Hour)
	case tr.Guard == job.OwnerGone:
		h.lapse(t)
		h.reap(t, -time.Second)
	case l.JobID == "" && to == job.Killed:
		expired, err := h.db.Expire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, "expired", expired, []job.ID{id})
	case l.JobID == "" && to == job.Accepted:
		h.claim(t, 1)
	case l.JobID == "" && to == job.Canceled, to == job.Canceling:
		if _, err := h.db.Cancel(t.Context(), id, "operator"); err != nil {
			t.Fatal(err)
		}
	case to == job.New && get(t, h.db, id).Status == job.Running:
		if _, err := h.db.Retry(t.Context(), ended(l, job.Failed), time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
	case to == job.New:
		if err := h.db.GiveBack(t.Context(), []job.Lease{l}); err != nil {
			t.Fatal(err)
		}
	case to == job.Running:
		reach(t, h.db, l, job.Running)
	default:
		end(t, h.db, ended(l, to))
	}
}

// full returns a job with every field of a request, and an end with every field.
func full() (*job.Job, job.Outcome) {
	j := newJob(0)
	j.Sync = true
	j.Description = "the daily report"
	j.ClusterCriteria = []tag.Set{tag.New("type:trino", "size:large"), tag.New("type:local")}
	j.Tags = tag.New("team:a", "cost:12")
	j.Timeout = 90*time.Second + 1
	j.Resolution = json.RawMessage(`{"seed":7,"chosen":["ping-1","local-1"]}`)
	return j, job.Outcome{
		Status:    job.Succeeded,
		Result:    &job.Result{ContentType: job.TableType, Rows: 1, Bytes: 6, Inline: []byte("{\x00\xff}\n ")},
		Outputs:   []job.Output{{Key: "Link", Value: "https://example.org/1", Kind: "link"}},
		Usage:     map[string]float64{"bytes": 1.5e9},
		Logs:      job.Logs{Stdout: "jobs/1/stdout", Stderr: "jobs/1/stderr", StdoutBytes: 12, StderrBytes: 1 << 40},
		Build:     strings.Repeat("ab", 32),
		StartedAt: time.Date(2026, 5, 17, 9, 30, 0, 1000, time.UTC),
		EndedAt:   time.Date(2026, 5, 17, 9, 31, 59, 999999000, time.UTC),
	}
}

func testFullRecord(t *testing.T, db Store) {
	h := register(t, db, "full")
	j, o := full()
	l := h.lease(t, j)
	wantSame(t, "lease", l, job.Lease{JobID: j.ID, Attempt: 1, HostID: h.id, Epoch: h.epoch})

	want := *j
	want.Status, want.Attempt, want.HostID, want.UpdatedAt = job.Accepted, 1, h.id, j.CreatedAt
	wantSame(t, "the leased job", get(t, db, j.ID), &want)

	end(t, db, job.End{Lease: l, Outcome: o})
	want.Status, want.Outputs, want.Result, want.Logs = o.Status, o.Outputs, o.Result, o.Logs
	want.StartedAt, want.EndedAt, want.UpdatedAt = o.StartedAt, o.EndedAt, o.EndedAt
	wantSame(t, "the ended job", get(t, db, j.ID), &want)

	page, err := db.Jobs(t.Context(), job.Filter{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	light := *o.Result
	light.Inline = nil
	want.Result = &light
	wantSame(t, "the listed job", page, job.Page{Jobs: []*job.Job{&want}})

	failed := newJob(1)
	l = h.lease(t, failed)
	e := ended(l, job.Failed)
	e.Error = &job.Error{Class: job.Transient, Message: "try again", ExitCode: new(0), Signal: "terminated", RetryAfter: time.Minute, RetrySafe: true}
	e.Result = &job.Result{ContentType: "text/csv", Bytes: 1 << 33, Object: "jobs/2/result"}
	end(t, db, e)
	got := get(t, db, failed.ID)
	wantSame(t, "error", got.Error, e.Error)
	wantSame(t, "result", got.Result, e.Result)
}

func testOddValues(t *testing.T, db Store) {
	h := register(t, db, "odd")
	big := json.RawMessage(`{"text":"` + strings.Repeat("x", 128<<10) + `"}`)
	for name, odd := range map[string]func(*job.Job){
		"nothing but an id": func(j *job.Job) { *j = job.Job{ID: j.ID, CreatedAt: j.CreatedAt} },
		"unicode": func(j *job.Job) {
			j.Name, j.User = "größe \u202e ☃ 👩‍💻", "ユーザー"
			j.Tags = tag.New("名:前", "a'b\"c\\d")
		},
		"a big context": func(j *job.Job) { j.Context = big },
		"a context as it was written": func(j *job.Job) {
			j.Context = json.RawMessage(`{ "b":1.0, "a":1e400, "a":"\u0000\ud800", "n":123456789012345678901234567890 }`)
		},
		"SQL": func(j *job.Job) { j.Name = `'); DROP TABLE job; -- $1 ? :x @y` },
		"long words": func(j *job.Job) {
			long := make([]byte, 500) // that nothing can make shorter
			_, _ = rand.Read(long)
			j.Name = hex.EncodeToString(long)
			j.User, j.Pair.CommandID, j.Pair.ClusterName, j.Tags = j.Name, j.Name, j.Name, tag.Set{j.Name}
		},
		"a long description": func(j *job.Job) { j.Description = strings.Repeat("n", 1<<16) },
		"an old time":        func(j *job.Job) { j.CreatedAt = time.Date(1969, 12, 31, 23, 59, 59, 999999000, time.UTC) },
		"an empty context":   func(j *job.Job) { j.Context = json.RawMessage(`{}`) },
	} {
		t.Run(name, func(t *testing.T) {
			j := newJob(0)
			odd(j)
			l := h.lease(t, j)
			want := *j
			want.Status, want.Attempt, want.HostID, want.UpdatedAt = job.Accepted, 1, h.id, j.CreatedAt
			wantSame(t, "job", get(t, db, j.ID), &want)

			e := ended(l, job.Failed)
			e.Error = &job.Error{Class: "odd", Message: "NUL \x00 and " + j.Name}
			e.Outputs = []job.Output{{Key: j.Name, Value: "\x00\u2028", Kind: "text"}}
			e.Result = &job.Result{ContentType: "text/plain", Inline: bytes.Repeat([]byte{0, 255}, 1<<17), Bytes: 1 << 18}
			end(t, db, e)
			got := get(t, db, j.ID)
			wantSame(t, "error", got.Error, e.Error)
			wantSame(t, "outputs", got.Outputs, e.Outputs)
			wantSame(t, "result", got.Result, e.Result)
		})
	}

	t.Run("finer than a microsecond", func(t *testing.T) {
		j := newJob(0)
		j.CreatedAt = time.Date(2026, 5, 17, 9, 0, 0, 123456789, time.FixedZone("east", 3600))
		h.submit(t, j, false)
		if got, want := get(t, db, j.ID).CreatedAt, time.Date(2026, 5, 17, 8, 0, 0, 123456000, time.UTC); got != want {
			t.Errorf("created at: got %v, want %v", got, want)
		}
	})
}

func testBadValues(t *testing.T, db Store) {
	h := register(t, db, "bad")
	for name, bad := range map[string]func(*job.Job){
		"id that is none":         func(j *job.Job) { j.ID = "1" },
		"id in upper case":        func(j *job.Job) { j.ID = job.ID(strings.ToUpper(string(j.ID))) },
		"name too long to find":   func(j *job.Job) { j.Name = strings.Repeat("n", 1001) },
		"tag too long to find":    func(j *job.Job) { j.Tags = tag.New(strings.Repeat("t", 1001)) },
		"NUL in the name":         func(j *job.Job) { j.Name = "a\x00b" },
		"user not UTF-8":          func(j *job.Job) { j.User = "\xff" },
		"NUL in a tag":            func(j *job.Job) { j.Tags = tag.Set{"\x00"} },
		"criterion not UTF-8":     func(j *job.Job) { j.ClusterCriteria = []tag.Set{{"a"}, {"\xc3\x28"}} },
		"context not JSON":        func(j *job.Job) { j.Context = json.RawMessage(`{`) },
		"context not UTF-8":       func(j *job.Job) { j.Context = json.RawMessage("{\"a\":\"\xff\"}") },
		"resolution not JSON":     func(j *job.Job) { j.Resolution = json.RawMessage(`]`) },
		"cluster name with a NUL": func(j *job.Job) { j.Pair.ClusterName = "\x00" },
	} {
		t.Run(name, func(t *testing.T) {
			j := newJob(0)
			bad(j)
			_, err := db.Submit(t.Context(), store.Submission{Job: j, Host: h.id, Epoch: h.epoch})
			wantKind(t, "submit", err, errs.Invalid)
		})
	}
	if page, err := db.Jobs(t.Context(), job.Filter{Limit: 1}); err != nil || len(page.Jobs) > 0 {
		t.Errorf("after refused submissions: got %d jobs and error %v, want none", len(page.Jobs), err)
	}

	l := h.lease(t, newJob(0))
	e := ended(l, job.Succeeded)
	e.Logs.Stdout = "a\x00"
	wantKind(t, "end with a NUL in a key", db.End(t.Context(), e), errs.Invalid)
	wantKind(t, "end that is not final", db.End(t.Context(), ended(l, job.Running)), errs.Internal)
	_, err := db.Cancel(t.Context(), l.JobID, "\xff")
	wantKind(t, "cancel by nobody", err, errs.Invalid)
	wantStatus(t, db, l.JobID, job.Accepted)
}

func testUnknown(t *testing.T, db Store) {
	for _, id := range []job.ID{job.NewID(), "", "x", "../../etc/passwd", "\x00", job.ID(strings.Repeat("0", 10000)), "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8"} {
		_, err := db.Job(t.Context(), id)
		wantKind(t, "job", err, errs.NotFound)
		_, err = db.Cancel(t.Context(), id, "operator")
		wantKind(t, "cancel", err, errs.NotFound)
	}
	id := job.NewID()
	if _, err := db.Job(t.Context(), id); err == nil || !strings.Contains(err.Error(), string(id)) {
		t.Errorf("error for an unknown job: got %v, want one that names %s", err, id)
	}
	l := job.Lease{JobID: id, Attempt: 1, HostID: "h", Epoch: 1}
	wantError(t, "end", db.End(t.Context(), ended(l, job.Succeeded)), store.ErrLeaseLost)
	for what, err := range map[string]error{
		"started":   db.Started(t.Context(), []job.Lease{l}, time.Now()),
		"give back": db.GiveBack(t.Context(), []job.Lease{l}),
		"none":      db.GiveBack(t.Context(), nil),
		"check":     db.Check(t.Context()),
	} {
		if err != nil {
			t.Errorf("%s: got error %v, want none", what, err)
		}
	}
}

func testRevision(t *testing.T, db Store) {
	for _, content := range [][]byte{[]byte("{}"), []byte("other"), nil} {
		if err := db.SaveRevision(t.Context(), "rev-1", content); err != nil {
			t.Errorf("save %q: %v", content, err)
		}
	}
	if err := db.SaveRevision(t.Context(), "rev-2", nil); err != nil {
		t.Errorf("save nothing: %v", err)
	}
	for revision, want := range map[string]string{"rev-1": "{}", "rev-2": ""} {
		if got, err := db.Revision(t.Context(), revision); err != nil || string(got) != want {
			t.Errorf("%s: got %q and error %v, want %q", revision, got, err, want)
		}
	}
	_, err := db.Revision(t.Context(), "rev-3")
	wantKind(t, "a revision that is not kept", err, errs.NotFound)
}

func testEnded(t *testing.T, db Store) {
	h := register(t, db, "a")
	done, running := h.lease(t, newJob(0)), h.lease(t, newJob(1))
	waiting, canceled := newJob(2), newJob(3)
	h.submit(t, waiting, false)
	h.submit(t, canceled, false)
	end(t, db, ended(done, job.Succeeded))
	if _, err := db.Cancel(t.Context(), canceled.ID, "ann"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ asked, want []job.ID }{
		{nil, nil},
		{[]job.ID{running.JobID, waiting.ID, job.NewID()}, nil},
		{[]job.ID{done.JobID, running.JobID, waiting.ID, canceled.ID}, []job.ID{done.JobID, canceled.ID}},
	} {
		got, err := db.Ended(t.Context(), c.asked)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		wantSame(t, "ended", got, c.want)
	}
	_, err := db.Ended(t.Context(), []job.ID{"nonsense"})
	wantKind(t, "a bad id", err, errs.Invalid)
}
