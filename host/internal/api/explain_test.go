package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
	"github.com/heimdall-run/heimdall/host/internal/selector"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// twoPairs is a choice between two clusters.
func twoPairs() *jobs.Explained {
	return &jobs.Explained{
		Pair:   job.Pair{CommandID: "c", CommandName: "the c", ClusterID: "k", ClusterName: "the k"},
		Record: selector.Record{Revision: "r1", Seed: 18446744073709551615, Pairs: 2},
		Explanation: selector.Explanation{
			Commands: map[selector.Verdict]int{selector.Fits: 1, selector.LacksTags: 1},
			Pairs:    map[selector.Verdict]uint64{selector.Fits: 2},
			NotChosen: []selector.Candidate{
				{Command: "c", Cluster: "l", Verdict: selector.Fits, Detail: "fits as well"},
				{Command: "d", Verdict: selector.LacksTags, Lacks: tag.New("a"), Detail: "the command lacks a"},
			},
		},
	}
}

// unpaired is why there is no pair.
func unpaired() *jobs.Explained {
	e := twoPairs()
	e.Pair, e.Record.Pairs = job.Pair{}, 0
	return e
}

func TestExplain(t *testing.T) {
	f := newFake()
	f.explained = twoPairs()
	s := serve(t, f)
	id := job.NewID()
	f.add(&job.Job{ID: id, Status: job.New})
	want := map[string]any{
		"id": string(id), "summary": `command "c" on cluster "k": drawn by chance from the 2 pairs that fit best`,
		"chosen":  map[string]any{"command_id": "c", "command_name": "the c", "cluster_id": "k", "cluster_name": "the k"},
		"choices": float64(2), "revision": "r1", "seed": "18446744073709551615",
		"counts": map[string]any{"commands": map[string]any{"fits": 1.0, "lacks_tags": 1.0}, "pairs": map[string]any{"fits": 2.0}},
		"not_chosen": []any{
			map[string]any{"command_id": "c", "cluster_id": "l", "verdict": "fits", "detail": "fits as well"},
			map[string]any{"command_id": "d", "verdict": "lacks_tags", "lacks": []any{"a"}, "detail": "the command lacks a"},
		},
		"not_listed": 0.0,
	}
	if diff := cmp.Diff(want, s.do(t, "GET", "/api/v1/job/"+string(id)+"/explain", "").json(t)); diff != "" {
		t.Errorf("explanation of a job differs (-want +got):\n%s", diff)
	}
	delete(want, "id")
	a := s.do(t, "POST", "/api/v1/resolve", ping)
	if diff := cmp.Diff(want, a.json(t)); diff != "" || a.StatusCode != http.StatusOK {
		t.Errorf("status = %d, want 200; explanation of a body differs (-want +got):\n%s", a.StatusCode, diff)
	}
	if len(f.submitted) != 0 || len(f.jobs) != 1 {
		t.Errorf("resolve submitted %v", f.submitted)
	}
}

func TestResolveRefusesAsSubmitDoes(t *testing.T) {
	for name, c := range map[string]struct {
		body      string
		err       error
		explained *jobs.Explained
		status    int
		sentence  string
	}{
		"no pair": {
			ping, errs.Errorf(errs.Invalid, "no command and cluster fit"),
			unpaired(), 422, "no command and cluster",
		},
		"its plugin starts":      {ping, &errs.Error{Kind: errs.Unavailable, Message: "it starts"}, unpaired(), 503, "it starts"},
		"a bound of the command": {ping, errs.Errorf(errs.Invalid, "priority is 7"), nil, 422, "priority is 7"},
		"no criteria":            {`{}`, nil, nil, 422, "command_criteria is empty"},
		"no JSON":                {`{`, nil, nil, 400, "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.err, f.explained = c.err, c.explained
			a := serve(t, f).do(t, "POST", "/api/v1/resolve", c.body)
			checkProblem(t, a, c.status, c.sentence)
			if _, told := a.json(t)["counts"]; told != (c.explained != nil) {
				t.Errorf("body = %s, want verdicts exactly when it is about the pair", a.text)
			}
			if (a.Header.Get("Retry-After") != "") != (c.status == 503) {
				t.Errorf("Retry-After = %q with %d", a.Header.Get("Retry-After"), c.status)
			}
		})
	}
}

func TestExplainWithoutTheCatalogOfThen(t *testing.T) {
	f := newFake()
	f.explained = twoPairs()
	f.explained.Forgotten, f.explained.Pairs, f.explained.NotChosen = true, nil, []selector.Candidate{}
	id := job.NewID()
	f.add(&job.Job{ID: id, Status: job.New})
	a := serve(t, f).do(t, "GET", "/api/v1/job/"+string(id)+"/explain", "")
	if !strings.Contains(a.json(t)["summary"].(string), "not kept any more") || !strings.Contains(a.text, `"pairs":{}`) {
		t.Errorf("body = %s, want that the catalog is not kept, and no pairs", a.text)
	}
}
