// Package selector chooses the command and the cluster of a job. The choice is
// a pure function: the same snapshot, request, state of plugins and seed give
// the same pair.
package selector

import (
	"math/rand/v2"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// Selector chooses pairs from one snapshot of the catalog.
type Selector struct {
	snapshot *catalog.Snapshot
	commands *index
	clusters *index
}

// New returns the selector of a snapshot.
func New(s *catalog.Snapshot) *Selector {
	commands := make([]*catalog.Object, len(s.Commands))
	for i, c := range s.Commands {
		commands[i] = &c.Object
	}
	clusters := make([]*catalog.Object, len(s.Clusters))
	for i, c := range s.Clusters {
		clusters[i] = &c.Object
	}
	return &Selector{snapshot: s, commands: newIndex(commands), clusters: newIndex(clusters)}
}

// Snapshot returns what is chosen from.
func (s *Selector) Snapshot() *catalog.Snapshot { return s.snapshot }

// Request is what a caller asks for.
type Request struct {
	Command  tag.Set   // tags that the command must have; at least one
	Clusters []tag.Set // ordered preference of tags that the cluster must have; empty: any
}

// Plugins says why the plugin of a command cannot be used now; nil when it can.
type Plugins func(c *catalog.Command) error

// Choice is a command and a cluster that fit a request and each other.
type Choice struct {
	Command *catalog.Command
	Cluster *catalog.Cluster
}

// option is a command with the clusters that it may run on.
type option struct {
	command  int
	clusters bitset
}

// Select chooses one pair, all that fit having even chances. The caller's
// preference of clusters is heard first, then that of each command. Without a
// pair the error is errs.Invalid and says what came nearest; the record is of
// use either way.
func (s *Selector) Select(r Request, plugins Plugins, seed uint64) (Choice, Record, error) {
	record := Record{Revision: s.snapshot.Revision, Seed: seed}
	if len(r.Command) == 0 {
		return Choice{}, record, &errs.Error{
			Kind:    errs.Invalid,
			Message: "a job needs at least one command criterion",
			Fields:  []errs.Field{{Pointer: "/command_criteria", Detail: "name at least one tag of a command"}},
		}
	}
	commands, unusable := s.fitting(r.Command, plugins, &record)
	wishes := r.Clusters
	if len(wishes) == 0 {
		wishes = []tag.Set{nil}
	}
	for _, wish := range wishes {
		options, total := s.options(commands, wish)
		if total == 0 {
			continue
		}
		choice := s.pick(options, rand.New(rand.NewPCG(seed, 0)).Uint64N(total))
		record.Pairs = total
		record.Command, record.Cluster = choice.Command.ID, choice.Cluster.ID
		return choice, record, nil
	}
	return Choice{}, record, s.explain(r, wishes, commands, unusable, &record)
}

// fitting returns the positions of the active commands that have the tags and a
// usable plugin, and why the plugins of others, by command id, are not usable.
// It counts the verdicts on all.
func (s *Selector) fitting(tags tag.Set, plugins Plugins, record *Record) (fit []int, unusable map[string]error) {
	tagged := s.commands.with(tags)
	record.Commands = map[Verdict]int{}
	if n := len(s.commands.objects) - int(tagged.count()); n > 0 {
		record.Commands[LacksTags] = n
	}
	for i := range tagged.all {
		c := s.snapshot.Commands[i]
		if !s.commands.active.has(i) {
			record.Commands[NotActive]++
			continue
		}
		if err := plugins(c); err != nil {
			record.Commands[NoPlugin]++
			if unusable == nil {
				unusable = map[string]error{}
			}
			unusable[c.ID] = err
			if len(record.Unusable) < mostUnusable {
				record.Unusable = append(record.Unusable, c.ID)
			}
			continue
		}
		record.Commands[Fits]++
		fit = append(fit, i)
	}
	return fit, unusable
}

// options returns for each command the clusters of its first preference that
// yields any together with the caller's wish, and the number of pairs in all.
func (s *Selector) options(commands []int, wish tag.Set) (options []option, total uint64) {
	for _, i := range commands {
		for _, preferred := range preferences(s.snapshot.Commands[i]) {
			clusters := s.clusters.with(preferred, wish)
			clusters.keep(s.clusters.active)
			if n := clusters.count(); n > 0 {
				options = append(options, option{command: i, clusters: clusters})
				total += n
				break
			}
		}
	}
	return options, total
}

func (s *Selector) pick(options []option, k uint64) Choice {
	for _, o := range options {
		n := o.clusters.count()
		if k < n {
			return Choice{s.snapshot.Commands[o.command], s.snapshot.Clusters[o.clusters.at(k)]}
		}
		k -= n
	}
	panic("selector: the number of pairs has changed while one was picked")
}

func preferences(c *catalog.Command) []tag.Set {
	if len(c.ClusterTags) == 0 {
		return []tag.Set{nil}
	}
	return c.ClusterTags
}
