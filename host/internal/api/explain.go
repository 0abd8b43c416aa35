package api

import (
	"net/http"
	"strconv"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/jobs"
	"github.com/heimdall-run/heimdall/host/internal/selector"
)

// wireExplained is how a pair was, or would be, chosen.
type wireExplained struct {
	ID        job.ID      `json:"id,omitempty"` // of the job
	Summary   string      `json:"summary"`      // one sentence
	Chosen    *wirePair   `json:"chosen,omitempty"`
	Choices   uint64      `json:"choices"` // pairs that the chosen one was drawn from, with even chances
	Revision  string      `json:"revision"`
	Seed      string      `json:"seed"`
	Counts    *wireCounts `json:"counts"`
	NotChosen []candidate `json:"not_chosen"`
	NotListed uint64      `json:"not_listed"`
}

// candidate is a command, or a pair of one that fits, that was not chosen.
type candidate = selector.Candidate

// wirePair is a command and a cluster.
type wirePair struct {
	CommandID   string `json:"command_id"`
	CommandName string `json:"command_name"`
	ClusterID   string `json:"cluster_id"`
	ClusterName string `json:"cluster_name"`
}

// wireCounts counts candidates by verdict.
type wireCounts struct {
	Commands map[selector.Verdict]int    `json:"commands"`
	Pairs    map[selector.Verdict]uint64 `json:"pairs"` // of commands that fit with every cluster
}

// explainJob serves GET /job/{id}/explain.
func (h *Handler) explainJob(x *exchange) error {
	id, err := x.jobID()
	if err != nil {
		return err
	}
	e, err := h.jobs.Explain(x.r.Context(), id)
	if err != nil {
		return err
	}
	w := wireExplanation(e)
	w.ID = id
	return h.writeJSON(x, http.StatusOK, w)
}

// resolve serves POST /resolve: what a submit of the body would choose, or what it
// would be refused for. Why there is no pair is told with the refusal.
func (h *Handler) resolve(x *exchange) error {
	var s submission
	if err := h.readObject(x, &s); err != nil {
		return err
	}
	ask, err := s.read(h.limits.Context)
	if err != nil {
		return err
	}
	e, err := h.jobs.Resolve(ask.request)
	if err != nil && (e == nil || errs.Is(err, errs.Internal)) {
		return err
	}
	if err == nil {
		return h.writeJSON(x, http.StatusOK, wireExplanation(e))
	}
	w := wireExplanation(e)
	w.Summary = err.Error()
	refusal := struct {
		problem
		*wireExplained
	}{h.problem(x, err), w}
	if n := refusal.retryAfter(); n > 0 {
		x.Header().Set("Retry-After", strconv.FormatInt(n, 10))
	}
	h.writeJSONAs(x, problemType, refusal.Status, refusal)
	return nil
}

func wireExplanation(e *jobs.Explained) *wireExplained {
	w := &wireExplained{
		Choices: e.Record.Pairs, Revision: e.Record.Revision, Seed: strconv.FormatUint(e.Record.Seed, 10),
		Counts: &wireCounts{e.Commands, e.Pairs}, NotChosen: e.NotChosen, NotListed: e.NotListed,
	}
	if w.Counts.Pairs == nil {
		w.Counts.Pairs = map[selector.Verdict]uint64{}
	}
	if e.Pair != (job.Pair{}) {
		pair := wirePair(e.Pair)
		w.Chosen = &pair
		w.Summary = summary(e)
	}
	return w
}

// summary says in a sentence why the pair was chosen.
func summary(e *jobs.Explained) string {
	text := "command " + strconv.Quote(e.Pair.CommandID) + " on cluster " + strconv.Quote(e.Pair.ClusterID)
	if e.Record.Pairs > 1 {
		text += ": drawn by chance from the " + strconv.FormatUint(e.Record.Pairs, 10) + " pairs that fit best"
	} else {
		text += ": no other pair fits as well"
	}
	if e.Forgotten {
		text += "; the catalog of that time is not kept any more, so there are no verdicts"
	}
	return text
}
