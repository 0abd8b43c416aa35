package selector

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// MostCandidates is how many candidates an explanation lists.
const MostCandidates = 100

// mostExplained is how many commands that fit have their clusters listed one by
// one.
const mostExplained = 10

// Candidate is a command, or a pair of a command that fits, and why it was not
// taken.
type Candidate struct {
	Command string  `json:"command_id"`
	Cluster string  `json:"cluster_id,omitempty"` // "": the verdict is on the command, whatever the cluster
	Verdict Verdict `json:"verdict"`
	Lacks   tag.Set `json:"lacks,omitempty"`
	Detail  string  `json:"detail"` // the verdict in words
}

// Explanation is the verdict on all candidates of a choice.
type Explanation struct {
	Commands  map[Verdict]int    // number of commands
	Pairs     map[Verdict]uint64 // number of pairs, of the commands that fit with every cluster
	NotChosen []Candidate        // at most MostCandidates, what came nearest first
	NotListed uint64             // others that were not chosen
}

// Explain gives the verdict on every candidate of a request, of which the pair of
// these ids, if any, was chosen. It is what Select did, told at length: the same
// snapshot, request and state of plugins give the same.
func (s *Selector) Explain(r Request, plugins Plugins, command, cluster string) Explanation {
	var record Record
	fit, unusable := s.fitting(r.Command, plugins, &record)
	e := Explanation{Commands: record.Commands, Pairs: map[Verdict]uint64{}, NotChosen: []Candidate{}}
	wishes := r.Clusters
	if len(wishes) == 0 {
		wishes = []tag.Set{nil}
	}
	taken := s.taken(fit, wishes)
	wished := s.clusters.any(wishes)
	// The chosen command's clusters are listed before those of others.
	slices.SortStableFunc(fit, func(a, b int) int {
		return cmp.Compare(s.rank(a, command), s.rank(b, command))
	})
	var lists [][]Candidate
	var pairs [4][]Candidate
	for n, i := range fit {
		v := s.verdicts(i, taken[i], wished)
		for verdict, set := range v {
			if count := set.count(); count > 0 {
				e.Pairs[pairVerdicts[verdict]] += count
			}
			if n < mostExplained {
				pairs[verdict] = append(pairs[verdict], s.pairs(i, pairVerdicts[verdict], set, wishes, cluster, command)...)
			}
		}
	}
	for _, list := range pairs {
		lists = append(lists, nearestFirst(list))
	}
	lists = append(lists, s.refused(r.Command, unusable)...)
	total := e.total()
	if command != "" && total > 0 {
		total-- // the chosen one
	}
	e.NotChosen = shared(lists, MostCandidates)
	e.NotListed = total - min(total, uint64(len(e.NotChosen)))
	return e
}

// total is the number of candidates: commands that do not fit, and pairs of those
// that do.
func (e *Explanation) total() (n uint64) {
	for verdict, count := range e.Commands {
		if verdict != Fits {
			n += uint64(count)
		}
	}
	for _, count := range e.Pairs {
		n += count
	}
	return n
}

// rank puts the command of an id before all others.
func (s *Selector) rank(i int, id string) int {
	if s.snapshot.Commands[i].ID == id {
		return 0
	}
	return 1
}

// taken returns, by command, the clusters that the pair is drawn from.
func (s *Selector) taken(fit []int, wishes []tag.Set) map[int]bitset {
	taken := map[int]bitset{}
	for _, wish := range wishes {
		options, total := s.options(fit, wish)
		if total == 0 {
			continue
		}
		for _, o := range options {
			taken[o.command] = o.clusters
		}
		break
	}
	return taken
}

// pairVerdicts are the verdicts on pairs, the nearest first.
var pairVerdicts = [4]Verdict{Fits, LessPreferred, NotActive, LacksTags}

// verdicts returns the clusters of each of pairVerdicts for a command that fits.
func (s *Selector) verdicts(i int, taken, wished bitset) [4]bitset {
	if taken == nil {
		taken = newBitset(len(s.clusters.objects))
	}
	tagged := s.clusters.any(preferences(s.snapshot.Commands[i]))
	tagged.keep(wished)
	less := slices.Clone(tagged)
	less.keep(s.clusters.active)
	less.drop(taken)
	idle := slices.Clone(tagged)
	idle.drop(s.clusters.active)
	lacks := slices.Clone(s.clusters.every)
	lacks.drop(tagged)
	return [4]bitset{taken, less, idle, lacks}
}

// pairs lists the pairs of a command with clusters that got one verdict, but not
// the chosen one.
func (s *Selector) pairs(i int, verdict Verdict, clusters bitset, wishes []tag.Set, chosen, by string) (list []Candidate) {
	c := s.snapshot.Commands[i]
	for k := range clusters.all {
		o := s.clusters.objects[k]
		if c.ID == by && o.ID == chosen {
			continue
		}
		candidate := Candidate{Command: c.ID, Cluster: o.ID, Verdict: verdict}
		switch verdict {
		case Fits:
			candidate.Detail = "fits as well: the choice was by chance"
			if by == "" {
				candidate.Detail = "fits"
			}
		case LessPreferred:
			candidate.Detail = "fits, but only what is preferred less"
		case NotActive:
			candidate.Detail = fmt.Sprintf("the cluster is %s", strings.ToLower(string(o.Status)))
		case LacksTags:
			candidate.Lacks = fewest(o.Tags, wishes).With(fewest(o.Tags, preferences(c))...)
			candidate.Detail = "the cluster lacks " + words(candidate.Lacks)
		}
		list = append(list, candidate)
		if verdict != LacksTags && len(list) == MostCandidates {
			break // of those all are equally near
		}
	}
	return list
}

// fewest returns what is missing of that wish which is missed least.
func fewest(tags tag.Set, wishes []tag.Set) (least tag.Set) {
	best := math.MaxInt
	for _, wish := range wishes {
		if missing := tags.Missing(wish); len(missing) < best {
			best, least = len(missing), missing
		}
	}
	return least
}

// refused lists the commands that do not fit, by verdict.
func (s *Selector) refused(want tag.Set, unusable map[string]error) [][]Candidate {
	var lists [3][]Candidate
	tagged := s.commands.with(want)
	for i, c := range s.snapshot.Commands {
		candidate := Candidate{Command: c.ID}
		n := 2
		switch cause := unusable[c.ID]; {
		case cause != nil:
			n, candidate.Verdict, candidate.Detail = 0, NoPlugin, fmt.Sprintf("its plugin cannot be used: %v", cause)
		case !tagged.has(i):
			candidate.Verdict, candidate.Lacks = LacksTags, c.Tags.Missing(want)
			candidate.Detail = "the command lacks " + words(candidate.Lacks)
		case c.Status != catalog.Active:
			n, candidate.Verdict, candidate.Detail = 1, NotActive, "the command is "+strings.ToLower(string(c.Status))
		default:
			continue
		}
		lists[n] = append(lists[n], candidate)
	}
	return [][]Candidate{lists[0], lists[1], nearestFirst(lists[2])}
}

// nearestFirst sorts candidates by how much they lack.
func nearestFirst(list []Candidate) []Candidate {
	slices.SortStableFunc(list, func(a, b Candidate) int { return cmp.Compare(len(a.Lacks), len(b.Lacks)) })
	return list
}

// shared takes at most so many candidates from lists, in their order: from each its
// share, and what others leave of theirs.
func shared(lists [][]Candidate, most int) []Candidate {
	take := make([]int, len(lists))
	for left, again := most, true; again && left > 0; {
		again = false
		for i, list := range lists {
			if take[i] < len(list) && left > 0 {
				take[i]++
				left--
				again = true
			}
		}
	}
	all := []Candidate{}
	for i, list := range lists {
		all = append(all, list[:take[i]]...)
	}
	return all
}
