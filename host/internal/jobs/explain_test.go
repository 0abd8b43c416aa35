package jobs_test

import (
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
	"github.com/heimdall-run/heimdall/host/internal/selector"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// A job is explained by the catalog that it was chosen from, whatever the catalog
// is by now.
func TestExplain(t *testing.T) {
	w := &world{commands: []string{"d"}}
	s := service(w)
	j, err := s.Submit(t.Context(), "ann", job.Request{CommandCriteria: tag.New("_id:c")}, jobs.WaitNever, "")
	if err != nil {
		t.Fatal(err)
	}
	lacking := func(e *jobs.Explained) int { return e.Commands[selector.LacksTags] }
	got, err := s.Explain(t.Context(), j.ID)
	if err != nil || got.Pair != j.Pair || lacking(got) != 1 || len(got.NotChosen) != 1 || got.NotChosen[0].Command != "d" {
		t.Fatalf("got %+v and error %v, want the job's pair, and d to lack a tag", got, err)
	}
	then, err := s.Catalog.Selector().Snapshot().Content()
	if err != nil {
		t.Fatal(err)
	}
	w.commands = []string{"d", "e", "f"}
	if got, err = s.Explain(t.Context(), j.ID); err != nil || !got.Forgotten || lacking(got) != 1 || len(got.NotChosen) != 0 {
		t.Errorf("got %+v and error %v, want that the catalog is forgotten, and the counts of the record", got, err)
	}
	w.revisions = map[string][]byte{got.Record.Revision: then}
	if got, err = s.Explain(t.Context(), j.ID); err != nil || got.Forgotten || lacking(got) != 1 || len(got.NotChosen) != 1 {
		t.Errorf("got %+v and error %v, want what was said at first", got, err)
	}
	if _, err := s.Explain(t.Context(), job.NewID()); !errs.Is(err, errs.NotFound) {
		t.Errorf("unknown job: got %v, want not found", err)
	}
}

func TestResolve(t *testing.T) {
	w := &world{commands: []string{"d"}}
	s := service(w)
	got, err := s.Resolve(job.Request{CommandCriteria: tag.New("_id:c")})
	if err != nil || got.Pair.CommandID != "c" || got.Pair.ClusterID != "k" || got.Record.Pairs != 1 {
		t.Errorf("got %+v and error %v, want c on k", got, err)
	}
	got, err = s.Resolve(job.Request{CommandCriteria: tag.New("nobody has this")})
	if !errs.Is(err, errs.Invalid) || got == nil || len(got.NotChosen) != 2 || got.Pair != (job.Pair{}) {
		t.Errorf("got %+v and error %v, want no pair, and why of both commands", got, err)
	}
	if got, err := s.Resolve(job.Request{CommandCriteria: tag.New("t"), Deadline: time.Unix(1, 0)}); !errs.Is(err, errs.Invalid) || got != nil {
		t.Errorf("got %+v and error %v, want that the deadline is over, and nothing about the pair", got, err)
	}
	if len(w.jobs) != 0 {
		t.Errorf("recorded %d jobs, want none", len(w.jobs))
	}
}
