package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/selector"
)

// Explained is how a pair was chosen.
type Explained struct {
	Pair   job.Pair // zero: none
	Record selector.Record
	selector.Explanation
	// Forgotten says that the catalog of that time is not kept any more: there is the
	// record of the choice, but no verdicts.
	Forgotten bool
}

// choose finds the pair for a request, and holds the request against what its
// command allows.
func (s *Service) choose(selector *selector.Selector, r *job.Request, now time.Time) (selector.Choice, selector.Record, error) {
	choice, record, err := selector.Select(wanted(*r), s.Plugins, rand.Uint64())
	if err != nil {
		return choice, record, err
	}
	return choice, record, bound(r, choice.Command, now)
}

// wanted returns what a request asks the selector for.
func wanted(r job.Request) selector.Request {
	return selector.Request{Command: r.CommandCriteria, Clusters: r.ClusterCriteria}
}

func pairOf(c selector.Choice) job.Pair {
	return job.Pair{
		CommandID: c.Command.ID, CommandName: c.Command.Name,
		ClusterID: c.Cluster.ID, ClusterName: c.Cluster.Name,
	}
}

// Resolve says which pair a request would get now and why. It records nothing and
// runs nothing. The error is the one that Submit would give; when that is about
// the pair, what is returned beside it says why there is none.
func (s *Service) Resolve(r job.Request) (*Explained, error) {
	current := s.Catalog.Selector()
	choice, record, err := s.choose(current, &r, time.Now())
	if err != nil && choice.Command != nil {
		return nil, err // there is a pair, and it does not allow this
	}
	e := &Explained{Record: record}
	if choice.Command != nil {
		e.Pair = pairOf(choice)
	}
	e.Explanation = current.Explain(wanted(r), s.Plugins, e.Pair.CommandID, e.Pair.ClusterID)
	return e, err
}

// Explain says why a job has its pair, from the catalog of the time when that was
// chosen.
func (s *Service) Explain(ctx context.Context, id job.ID) (*Explained, error) {
	j, err := s.Store.Job(ctx, id)
	if err != nil {
		return nil, err
	}
	e := &Explained{Pair: j.Pair}
	if err := json.Unmarshal(j.Resolution, &e.Record); err != nil {
		return nil, fmt.Errorf("read how the pair of job %s was chosen: %w", id, err)
	}
	then := s.Catalog.Selector()
	if then.Snapshot().Revision != e.Record.Revision {
		content, err := s.Store.Revision(ctx, e.Record.Revision)
		if errs.Is(err, errs.NotFound) {
			e.Forgotten = true
			e.Commands, e.NotChosen = e.Record.Commands, []selector.Candidate{}
			return e, nil
		}
		if err != nil {
			return nil, err
		}
		snapshot, err := catalog.ParseContent(e.Record.Revision, content)
		if err != nil {
			return nil, err
		}
		then = selector.New(snapshot)
	}
	e.Explanation = then.Explain(wanted(j.Request), e.Record.Plugins, e.Pair.CommandID, e.Pair.ClusterID)
	return e, nil
}
