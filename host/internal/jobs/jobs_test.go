package jobs_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
	"github.com/heimdall-run/heimdall/host/internal/selector"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// The repeat of a submission is known before anything else is looked at: the
// catalog may have changed, and the time for it be over.
func TestRepeatedSubmission(t *testing.T) {
	w := &world{}
	s := service(w)
	request := func(change func(*job.Request)) job.Request {
		r := job.Request{
			Name: "n", CommandCriteria: tag.New("t"), Context: json.RawMessage(`{"a": 1}`),
			Deadline: time.Now().Add(time.Hour).Truncate(time.Second),
		}
		change(&r)
		return r
	}
	first, err := s.Submit(t.Context(), "alice", request(func(*job.Request) {}), jobs.WaitNever, "order 17")
	if err != nil {
		t.Fatal(err)
	}
	w.put(ended(first))
	selected := w.selected
	again, err := s.Submit(t.Context(), "alice", request(func(r *job.Request) { r.Context = json.RawMessage(`{"a":1}`) }), jobs.WaitIfSync, "order 17")
	if err != nil || again.ID != first.ID || again.Status != job.Succeeded || w.selected != selected {
		t.Errorf("repeat: got %+v and error %v, want job %s as it is, and no pair to be chosen", again, err, first.ID)
	}
	if j, err := s.Wait(t.Context(), again.ID); err != nil || j.Status != job.Succeeded {
		t.Errorf("wait for the repeat: got %+v and error %v", j, err)
	}
	for what, change := range map[string]func(*job.Request){
		"another input":    func(r *job.Request) { r.Context = json.RawMessage(`{"a":2}`) },
		"another priority": func(r *job.Request) { r.Priority = 1 },
		"another deadline": func(r *job.Request) { r.Deadline = r.Deadline.Add(time.Second) },
		"another retry":    func(r *job.Request) { r.Retry = &job.Retry{Attempts: 2} },
	} {
		if _, err := s.Submit(t.Context(), "alice", request(change), jobs.WaitNever, "order 17"); !errs.Is(err, errs.Conflict) {
			t.Errorf("%s with the key: got error %v, want a conflict", what, err)
		}
	}
}

func TestDeadlineThatIsOver(t *testing.T) {
	_, err := service(&world{}).Submit(t.Context(), "alice", job.Request{
		CommandCriteria: tag.New("t"), Deadline: time.Now().Add(-time.Second),
	}, jobs.WaitNever, "")
	e, ok := errors.AsType[*errs.Error](err)
	if !ok || e.Kind != errs.Invalid || len(e.Fields) != 1 || e.Fields[0].Pointer != "/deadline" {
		t.Errorf("got error %v, want that the deadline is over", err)
	}
}

// What bounds callers bounds those who say nothing.
func TestPriorityOfWhoSaysNothing(t *testing.T) {
	for most, want := range map[int]int{-5: -5, 5: 0} {
		w := &world{bounds: catalog.Bounds{Priority: &most}}
		j, err := service(w).Submit(t.Context(), "alice", job.Request{CommandCriteria: tag.New("t")}, jobs.WaitNever, "")
		if err != nil || j.Priority != want {
			t.Errorf("max_priority %d: got %+v and error %v, want priority %d", most, j, err, want)
		}
	}
	most := 5
	_, err := service(&world{bounds: catalog.Bounds{Priority: &most}}).Submit(t.Context(), "alice",
		job.Request{CommandCriteria: tag.New("t"), Priority: 6}, jobs.WaitNever, "")
	if !errs.Is(err, errs.Invalid) {
		t.Errorf("priority 6 of at most 5: got error %v, want invalid", err)
	}
}

func TestSubmitRecordsTheChoice(t *testing.T) {
	w := &world{}
	j, err := service(w).Submit(t.Context(), "alice", job.Request{
		Name: "n", Version: "v", CommandCriteria: tag.New("t"), Tags: tag.New("team:a"),
	}, jobs.WaitNever, "")
	if err != nil {
		t.Fatal(err)
	}
	if j.Pair != (job.Pair{CommandID: "c", CommandName: "c", ClusterID: "k", ClusterName: "k"}) || !j.Sync || j.User != "alice" {
		t.Errorf("job = %+v", j)
	}
	if want := tag.New("_id:"+string(j.ID), "_name:n", "_version:v", "team:a"); !tagsEqual(j.Tags, want) {
		t.Errorf("tags = %v, want %v", j.Tags, want)
	}
	var record selector.Record
	if err := json.Unmarshal(j.Resolution, &record); err != nil || record.Command != "c" || record.Cluster != "k" || record.Revision == "" || record.Pairs != 1 {
		t.Errorf("record = %s, %v", j.Resolution, err)
	}
	if len(w.kept) != 1 || w.kept[0] != record.Revision {
		t.Errorf("catalogs that were kept = %v, want that of the record, %s", w.kept, record.Revision)
	}
	if _, err := service(w).Submit(t.Context(), "alice", job.Request{CommandCriteria: tag.New("none")}, jobs.WaitNever, ""); !errs.Is(err, errs.Invalid) {
		t.Errorf("Submit = %v, want invalid", err)
	}
	if len(w.jobs) != 1 {
		t.Errorf("%d jobs recorded, want 1: nothing is when no pair matches", len(w.jobs))
	}
}

func tagsEqual(a, b tag.Set) bool { return len(a.Missing(b)) == 0 && len(b.Missing(a)) == 0 }
