// Package storetest checks that a database keeps the promises of the store. The
// same checks run on each database.
package storetest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/heimdall-run/heimdall/host/internal/bell"
	"github.com/heimdall-run/heimdall/host/internal/cleanup"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
	"github.com/heimdall-run/heimdall/host/internal/presence"
	"github.com/heimdall-run/heimdall/host/internal/queue"
	"github.com/heimdall-run/heimdall/host/internal/retention"
	"github.com/heimdall-run/heimdall/host/internal/store"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// Store is all that the parts of a host ask of a store.
type Store interface {
	queue.Store
	jobs.Store
	SaveRevision(ctx context.Context, revision string, content []byte) error
	SetCaps(ctx context.Context, c store.Caps) error
	presence.Store
	cleanup.Store
	retention.Store
	Checkpoint(ctx context.Context, l job.Lease, c *job.Checkpoint) error
	Waiting(ctx context.Context, id job.ID) (*job.Wait, error)
	Attempts(ctx context.Context, id job.ID) ([]job.Attempt, error)
	Keyed(ctx context.Context, user string, k store.Key) (job.ID, error)
	RegisterHost(ctx context.Context, h store.Host, ttl time.Duration) (epoch int64, err error)
	Check(ctx context.Context) error
	Hosts(ctx context.Context) ([]store.Host, time.Time, error)
	Clock(ctx context.Context) (time.Time, error)
	bell.Store
}

// Run runs the suite. Each call of open gives an empty store, closed by the
// test's cleanup.
func Run(t *testing.T, open func(t *testing.T) Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Store)
	}{
		{"every transition happens", testTransitions},
		{"a full record comes back", testFullRecord},
		{"odd values come back", testOddValues},
		{"bad values are refused", testBadValues},
		{"unknown jobs are not found", testUnknown},
		{"many readers get what each asked for", testReads},
		{"a free host leases at submit only when nothing waits", testSubmitClaim},
		{"waiting jobs are claimed in the order they came", testClaimOrder},
		{"jobs given back keep their place", testGiveBack},
		{"a canceled job that is given back ends", testGiveBackCanceled},
		{"a zombie ends nothing", testZombie},
		{"an end may be repeated", testRepeatedEnd},
		{"a superseded epoch gets nothing", testFenced},
		{"the leases of earlier epochs are adopted", testAdopt},
		{"the leases of a host are known", testLeases},
		{"a heartbeat keeps the right to run", testHeartbeat},
		{"the jobs of a lost host are settled", testReap},
		{"a lost job resumes elsewhere", testReapResume},
		{"jobs wait for their owner for a time", testOwnerGone},
		{"a host that is back keeps what is left", testBack},
		{"many jobs are reaped in steps", testReapSteps},
		{"two reapers and a host that is back agree", testReapRace},
		{"a host that has stopped is reaped later", testStopped},
		{"the hosts of a store are known", testHosts},
		{"what a lost host left is cleaned up by others", testTakeCleanups},
		{"hosts tell each other", testNotices},
		{"a checkpoint is replaced, fenced and adopted", testCheckpoint},
		{"no checkpoint comes after its lease was adopted", testCheckpointRace},
		{"a lost attempt is followed by one that resumes", testResume},
		{"a canceled job is not resumed", testResumeCanceled},
		{"what may be left is known until it is cleaned up", testCleanup},
		{"each attempt is cleaned up after", testCleanupOfEach},
		{"cancel is first come first served", testCancel},
		{"it is known which jobs have ended", testEnded},
		{"each waiting job is claimed once", testConcurrentClaims},
		{"a cancel that races has one outcome", testCancelRaces},
		{"no lease of an earlier epoch is left behind", testAdoptRace},
		{"many submit and end at once", testCombined},
		{"a bad member of a batch fails alone", testBadMember},
		{"a caller may stop waiting", testCallerLeaves},
		{"lists are filtered", testFilters},
		{"patterns match as LIKE does", testPatterns},
		{"lists are paged in every order", testPages},
		{"pages are stable under inserts", testStablePages},
		{"a revision is kept once", testRevision},
		{"caps of commands, clusters and users hold", testCaps},
		{"what caps leave free is used", testCapsAreUsed},
		{"caps hold however many claim", testCapsRace},
		{"it is known why a job waits", testWaiting},
		{"the place in the queue is known", testAhead},
		{"waiting jobs are counted by user", testBacklog},
		{"ended attempts are known", testAttempts},
		{"jobs wait until they are due", testDue},
		{"jobs that are due at once take turns", testDueTurns},
		{"waiting jobs end at their deadline", testExpire},
		{"an attempt is followed by another", testRetry},
		{"a canceled job is not retried", testRetryCanceled},
		{"a cancel that races with a retry is heeded", testRetryRace},
		{"an idempotency key stands for one job", testKeys},
		{"the same request at once is one job", testSameKey},
		{"a unique key is held until the end", testUniqueKey},
		{"holders of a unique key follow each other", testUniqueRace},
		{"any history is that of the store in memory", testHistories},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, open(t))
		})
	}
	for _, c := range []struct {
		name string
		test func(t *testing.T, db Store, lanes bool)
	}{
		{"priority comes before all", testPriority},
		{"users take turns", testTurns},
		{"users take turns also in a batch", testTurnsOfBatch},
		{"what a host cannot run is in nobody's way", testForeign},
		{"a host whose lease is over gets nothing", testNotLive},
		{"jobs given back are soon claimed again", testGiveBackTurn},
	} {
		for lanes, name := range map[bool]string{false: c.name, true: c.name + ", by lanes"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c.test(t, open(t), lanes)
			})
		}
	}
}

// host is a registered host.
type host struct {
	db    Store
	id    string
	epoch int64
	lanes bool // it claims by lanes
}

func register(t testing.TB, db Store, id string) host {
	t.Helper()
	epoch, err := db.RegisterHost(t.Context(), store.Host{ID: id, Name: id + ".example"}, time.Hour)
	if err == nil {
		err = db.SetCommands(t.Context(), id, []string{"ping-1"})
	}
	if err != nil {
		t.Fatalf("register %s: %v", id, err)
	}
	return host{db: db, id: id, epoch: epoch}
}

// newJob returns a job that was created at the given minute of a day, with an id
// of that time.
func newJob(minute int) *job.Job {
	created := time.Date(2026, 5, 17, 9, 0, 0, 123000000, time.UTC).Add(time.Duration(minute) * time.Minute)
	return &job.Job{
		ID:   idAt(created),
		User: "analyst",
		Request: job.Request{
			Name:            "report",
			Version:         "1.2.3",
			Context:         json.RawMessage(`{"query": "SELECT 1"}`),
			CommandCriteria: tag.New("type:ping"),
			Attachments:     []job.Attachment{{Name: "a b", ContentType: "text/csv", Bytes: 7, SHA256: "ba78", Host: "h"}, {Name: "c", SHA256: "16bf"}},
			Trace:           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		},
		Pair:      job.Pair{CommandID: "ping-1", CommandName: "ping", ClusterID: "local-1", ClusterName: "local"},
		CreatedAt: created,
	}
}

// idAt returns an id as job.NewID makes it at a full millisecond.
func idAt(t time.Time) job.ID {
	id := uuid.New()
	binary.BigEndian.PutUint64(id[:8], uint64(t.UnixMilli())<<16|7<<12)
	return job.ID(id.String())
}

// submit records a job that waits, unless the host is free.
func (h host) submit(t testing.TB, j *job.Job, free bool) *job.Lease {
	t.Helper()
	lease, err := h.db.Submit(t.Context(), store.Submission{Job: j, Host: h.id, Epoch: h.epoch, Claim: free, Lanes: h.lanes})
	if err != nil {
		t.Fatalf("submit %s: %v", j.ID, err)
	}
	return lease
}

// lease records a job and leases it to the host.
func (h host) lease(t testing.TB, j *job.Job) job.Lease {
	t.Helper()
	lease := h.submit(t, j, true)
	if lease == nil {
		t.Fatalf("job %s was not leased at submit", j.ID)
	}
	return *lease
}

func (h host) claim(t testing.TB, n int) []job.Claimed {
	t.Helper()
	claimed, err := h.db.Claim(t.Context(), store.Claim{Host: h.id, Epoch: h.epoch, Most: n, Lanes: h.lanes})
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	return claimed
}

// ended returns the plainest end of a lease with a status.
func ended(l job.Lease, status job.Status) job.End {
	e := job.End{Lease: l, Outcome: job.Outcome{Status: status, EndedAt: time.Date(2026, 5, 17, 10, 0, 0, 0, time.UTC)}}
	if status != job.Succeeded {
		e.Error = &job.Error{Class: job.WorkFailed, Message: "exit status 3", ExitCode: new(3)}
	}
	return e
}

func end(t testing.TB, db Store, e job.End) {
	t.Helper()
	if err := db.End(t.Context(), e); err != nil {
		t.Fatalf("end %s: %v", e.JobID, err)
	}
}

func get(t testing.TB, db Store, id job.ID) *job.Job {
	t.Helper()
	j, err := db.Job(t.Context(), id)
	if err != nil {
		t.Fatalf("read %s: %v", id, err)
	}
	return j
}

func wantStatus(t testing.TB, db Store, id job.ID, want job.Status) {
	t.Helper()
	if got := get(t, db, id).Status; got != want {
		t.Errorf("status of %s: got %s, want %s", id, got, want)
	}
}

func wantKind(t testing.TB, what string, err error, want errs.Kind) {
	t.Helper()
	if got := errs.KindOf(err); got != want {
		t.Errorf("%s: got error %v of kind %q, want kind %q", what, err, got, want)
	}
}

func wantError(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

func wantSame(t testing.TB, what string, got, want any) {
	t.Helper()
	if reflect.DeepEqual(got, want) { // cmp is slow on long values
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: want -, got +\n%s", what, diff)
	}
}

// ids names jobs, in order.
func ids(jobs []*job.Job) []job.ID {
	var ids []job.ID
	for _, j := range jobs {
		ids = append(ids, j.ID)
	}
	return ids
}

func claimedIDs(claimed []job.Claimed) []job.ID {
	var ids []job.ID
	for _, c := range claimed {
		ids = append(ids, c.Job.ID)
	}
	return ids
}
